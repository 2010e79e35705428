/* All events of a trace, in the order in which they happened. */
#ifndef CAL_PROFILE_EVENT_LIST_H
#define CAL_PROFILE_EVENT_LIST_H

#include "events.h"
#include "profile.h"

/* All zeros but `limit` begins. */
struct cal__event_list {
    struct cal__event *all;
    size_t count, capacity;
    uint64_t limit; /* events that are taken at the most; fewer than 2^32 */
    bool full;      /* there were more */
    char *wrong;    /* a sentence on a part that could not be read, or NULL */
};

/* For the options of cal__profile_read(): takes the events of a section; `list` is the context. */
void cal__event_list_take(void *list, const struct cal__profile *profile,
                          const struct cal__section *section);
/* Those of each thread are in their order, and in all by their ticks: after this they are in one. */
void cal__event_list_sort(struct cal__event_list *list);
void cal__event_list_free(struct cal__event_list *list);

#endif
