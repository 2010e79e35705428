/* Start of the process, start and end of threads, fork. */
#ifndef CAL_THREAD_H
#define CAL_THREAD_H

#include "heap.h"

/* The registry: all heaps that a thread has or had, linked by `next`, while the lock is held. */
void cal__thread_lock(void);
void cal__thread_unlock(void);
struct cal__heap *cal__thread_first_heap(void);

/* Raises cal__heap_mode so that it is odd (DIRECT) or even; threads follow at their next slow
 * path, and from then on no allocation or free of theirs takes the fast path while it is odd. AGAIN:
 * they follow also where that changes nothing, because something else is new to them. */
void cal__thread_set_direct(bool direct, bool again);

#endif
