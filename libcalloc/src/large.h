/* Large blocks: runs of granules that are a block each.
 *
 * Those of CAL_PAGE_HUGE, which are of more than CAL_RUN_MAX bytes or aligned to more than runs are,
 * grow by moving their pages, not their bytes, when there is no room where they are. */
#ifndef CAL_LARGE_H
#define CAL_LARGE_H

#include "page.h"

/* SIZE bytes aligned to ALIGNMENT, as a page of KIND (RUN or HUGE). *ZEROED in: prefer memory that
 * reads as zeros; out: whether it does. NULL: no memory. */
void *cal__large_allocate(size_t size, size_t alignment, enum cal__page_kind kind, bool *zeroed);
void cal__large_free(struct cal__page *page);
/* What is counted of both: a block of SIZE bytes begins to live in a page, and ends to. */
void cal__large_begin(struct cal__page *page, size_t size);
void cal__large_end(struct cal__page *page);
/* Grows or shrinks without a change of address; false and unchanged when there is no room to grow. */
bool cal__large_resize(struct cal__page *page, size_t size);
/* Grows a HUGE one by moving the pages. NULL and unchanged when that is not possible. */
void *cal__large_move(struct cal__page *page, size_t size);

struct cal__large_statistics {
    size_t allocations; /* so far */
    size_t live;
    size_t live_bytes;
    size_t allocated_bytes; /* so far */
};
struct cal__large_statistics cal__large_statistics(enum cal__page_kind kind);

#endif
