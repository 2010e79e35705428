/* Blocks of more than CAL_RUN_MAX bytes, or aligned to more than runs are: runs that grow by moving
 * their pages, not their bytes, when there is no room where they are. */
#ifndef CAL_HUGE_H
#define CAL_HUGE_H

#include "page.h"

/* SIZE bytes aligned to ALIGNMENT. *ZEROED in: prefer memory that reads as zeros; out: whether it
 * does. NULL: no memory. */
void *cal__huge_allocate(size_t size, size_t alignment, bool *zeroed);
void cal__huge_free(struct cal__page *page);
/* Grows or shrinks without a change of address: 0, or -ENOMEM when there is no room to grow. */
int cal__huge_resize(struct cal__page *page, size_t size);
/* Grows by moving the pages. NULL and unchanged when that is not possible. */
void *cal__huge_move(struct cal__page *page, size_t size);

struct cal__huge_statistics {
    size_t allocations; /* so far */
    size_t live;
    size_t live_bytes;
    size_t allocated_bytes; /* so far */
};
struct cal__huge_statistics cal__huge_statistics(void);

#endif
