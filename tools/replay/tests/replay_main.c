/* `calloc replay` without the rest of `calloc`: for tests, also in builds that have no `calloc`. */
#include <replay.h>

int main(int argc, char **argv)
{
    return cal_tool_replay_main(argc, argv);
}
