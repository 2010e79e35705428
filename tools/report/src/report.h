/* The command `calloc report`. */
#ifndef CAL_REPORT_REPORT_H
#define CAL_REPORT_REPORT_H

/* Runs it with arguments from "report" on; its exit status: 0, 1 when there is no report, 2 when the arguments
 * are wrong, 3 when the file was broken and the report says what could be read. */
int cal_tool_report_main(int argc, char **argv);

#endif
