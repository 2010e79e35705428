/* The events of a trace, out of its EVENTS sections. */
#ifndef CAL_PROFILE_EVENTS_H
#define CAL_PROFILE_EVENTS_H

#include "sections.h"

struct cal__event {
    uint64_t ticks;
    uint64_t address; /* ALLOCATE, FREE, RESIZE */
    uint64_t size;    /* ALLOCATE, RESIZE */
    uint32_t site;    /* ALLOCATE */
    uint32_t thread;  /* number in THREADS, not checked */
    uint32_t kind;    /* enum cal__event_kind */
    uint32_t number;  /* left to who takes it */
};

typedef void cal__events_take(void *context, const struct cal__event *event);

/* Hands out the events of a section in their order. NULL, or what is wrong with the section, in words that
 * continue a sentence on it; the events before that were handed out. */
const char *cal__events_decode(const struct cal__section *section, cal__events_take *take,
                               void *context);

#endif
