/* `calloc report` without the rest of `calloc`: for tests, also in builds that have no `calloc`. */
#include <report.h>

int main(int argc, char **argv)
{
    return cal_tool_report_main(argc, argv);
}
