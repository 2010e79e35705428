/* The command `calloc report`. */
#ifndef CAL_REPORT_REPORT_H
#define CAL_REPORT_REPORT_H

/* What --help prints below the usage line. */
extern const char report_help[];

/* Runs it with the words behind "report". Its exit status: 0; 1 when the file was broken, and the report is of what
 * could be read; 2 when the words are wrong; 125 when there is no report. */
int report(int count, char **words);

#endif
