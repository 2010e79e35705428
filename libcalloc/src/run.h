/* Large blocks that are runs of granules inside segments. */
#ifndef CAL_RUN_H
#define CAL_RUN_H

#include "page.h"

/* SIZE bytes, at most a few times CAL_RUN_MAX, aligned to ALIGNMENT. *ZEROED in: prefer memory that
 * reads as zeros to memory that is backed already; out: whether it does. NULL when out of memory. */
void *cal__run_allocate(size_t size, size_t alignment, bool *zeroed);
void cal__run_free(struct cal__page *page);
/* Grows or shrinks in place to hold SIZE bytes; false and unchanged when that is not possible. */
bool cal__run_resize(struct cal__page *page, size_t size);

struct cal__run_statistics {
    size_t allocations; /* so far */
    size_t live;
    size_t live_bytes;
    size_t allocated_bytes; /* so far */
};
struct cal__run_statistics cal__run_statistics(void);

#endif
