/* Start of the process, start and end of threads, fork. */
#ifndef CAL_THREAD_H
#define CAL_THREAD_H

#include "heap.h"

/* Calls VISIT with every heap that a thread has or had, under the registry lock. */
void cal__thread_visit_heaps(void (*visit)(struct cal__heap *heap, void *argument), void *argument);
/* The same without the lock, for a caller that holds it by cal__thread_lock(). */
void cal__thread_lock(void);
void cal__thread_unlock(void);
struct cal__heap *cal__thread_first_heap(void);

/* Raises cal__heap_mode so that it is odd (DIRECT) or even; threads follow at their next slow
 * path, and from then on no allocation or free of theirs takes the fast path while it is odd. */
void cal__thread_set_direct(bool direct);

#endif
