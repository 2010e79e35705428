/* What happens at each allocation and free. */
#ifndef CAL_TRACK_RECORD_H
#define CAL_TRACK_RECORD_H

#include <stdatomic.h>

#include "base.h"
#include "thread.h"

struct cal__record_settings {
    uint64_t sample_bytes; /* 0: every allocation */
    uint32_t depth;        /* frames of a stack that are kept */
};

/* False: no memory. */
bool cal__record_start(const struct cal__record_settings *settings);
uint64_t cal__record_sample_bytes(void);

/* As those of an observer. */
void cal__record_allocated(void *block, size_t requested, size_t usable);
void cal__record_freeing(void *block, size_t usable);
void cal__record_resized(void *block, size_t old_usable, size_t requested, size_t usable);

/* The calling thread ends. */
void cal__record_thread_ends(void);

/* Now, as the time of a block has it; and waits until that is some microseconds ago. Who looks at the heap then finds all
 * blocks that were recorded before it and are live. */
uint64_t cal__record_time(void);

/* A block that was freed without being told of, unless it was recorded since TIME, one of cal__record_time(). */
void cal__record_overlooked(void *block, uint64_t time);

/* What there is for the calling thread, made if it is not there; NULL: no memory. */
struct cal__thread *cal__record_thread(void);

/* Blocks that one record stands for. */
uint64_t cal__record_weight(const void *address, uint64_t size, uint64_t time);

/* The high-water mark of the process. Exact while there was one thread; with more, each may keep 512 bytes or a small part
 * of its bytes to itself. */
struct cal__record_peak {
    _Atomic int64_t bytes; /* at the mark */
    _Atomic uint64_t mark; /* its number */
    _Atomic uint64_t time; /* ns since the start */
    /* Away from what all threads read all the time. */
    _Atomic int64_t live __attribute__((aligned(64))); /* bytes */
};

extern struct cal__record_peak cal__record_peak;

/* The site's counters are to be as they were when the mark was set. */
CAL_INLINE void cal__record_settle(struct cal__cell *cell, uint64_t mark)
{
    if (CAL_LIKELY(cal__count_get(&cell->mark) == mark))
        return;
    cal__count_set(&cell->peak_blocks,
                   cal__count_get(&cell->allocations) - cal__count_get(&cell->frees));
    cal__count_set(&cell->peak_bytes,
                   cal__count_get(&cell->allocated_bytes) - cal__count_get(&cell->freed_bytes));
    cal__count_set(&cell->mark, mark);
}

/* A block's time is in units of 2^this ticks. */
enum { CAL_TIME_SHIFT = 10 };

#endif
