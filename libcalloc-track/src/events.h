/* The trace: each event, in the order of its thread. An event is a few bytes in a buffer of the thread's own, which
 * goes to the file when it is full. */
#ifndef CAL_TRACK_EVENTS_H
#define CAL_TRACK_EVENTS_H

#include "base.h"
#include "thread.h"

/* Begins the file at PATH. 0, or a negative errno: there will be no trace. */
int cal__events_start(const char *path);
bool cal__events_on(void);

void cal__events_thread_began(struct cal__thread *thread);
void cal__events_thread_ends(struct cal__thread *thread);

/* For a thread with a buffer. */
void cal__events_allocated(struct cal__thread *thread, const void *block, size_t bytes,
                           uint32_t site, uint64_t ticks);
void cal__events_freeing(struct cal__thread *thread, const void *block, uint64_t ticks);
void cal__events_resized(struct cal__thread *thread, const void *block, size_t bytes,
                         uint64_t ticks);

/* Writes what all threads have in hand, and completes the file; what comes later is not in it. In a signal handler
 * that only where nobody is writing. */
void cal__events_finish(bool in_signal);

void cal__events_fork_prepare(void);
void cal__events_fork_done(bool in_child);
/* The child has a trace of its own, at PATH; NULL: none. */
void cal__events_forked(const char *path);

#endif
