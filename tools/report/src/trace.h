/* A trace as a profile: the counters that the library would have kept, counted from the events. */
#ifndef CAL_REPORT_TRACE_H
#define CAL_REPORT_TRACE_H

#include <event_list.h>

/* Fills in the sites' and threads' counters, the time line and the sums of the process of a profile that was
 * read from a trace. The list is sorted by it. */
void cal__trace_count(struct cal__profile *profile, struct cal__event_list *events);

#endif
