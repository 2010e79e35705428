/* A bar on standard error, when that is a terminal and the work takes longer than a moment. */
#ifndef CAL_REPORT_PROGRESS_H
#define CAL_REPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cal__progress {
    const char *what; /* "symbols" */
    uint64_t total;
    bool terminal, drawn;
    uint64_t begun, last; /* ns of the monotonic clock */
};

void cal__progress_begin(struct cal__progress *progress, const char *what, uint64_t total);
void cal__progress_at(struct cal__progress *progress, uint64_t done);
/* Wipes the bar. */
void cal__progress_end(struct cal__progress *progress);

#endif
