/* Blocks in a mapping of their own: more than CAL_RUN_MAX bytes, or aligned to more than runs are.
 * A few freed mappings are kept for a while, so that a program that allocates and frees large
 * blocks in turn does not fault all their pages anew. */
#ifndef CAL_HUGE_H
#define CAL_HUGE_H

#include "page.h"

/* SIZE bytes aligned to ALIGNMENT; *ZEROED says whether they read as zeros. NULL: no memory. */
void *cal__huge_allocate(size_t size, size_t alignment, bool *zeroed);
void cal__huge_free(struct cal__page *page);
/* True: already freed, and its mapping kept for re-use. */
bool cal__huge_is_cached(const struct cal__page *page);
/* Grows or shrinks without a change of address: 0; -ENOMEM when there is no room to grow; another
 * negative errno when the kernel refuses for another reason, as it will a move. */
int cal__huge_resize(struct cal__page *page, size_t size);
/* Grows by moving the mapping, not the bytes. NULL and unchanged when that is not possible. */
void *cal__huge_move(struct cal__page *page, size_t size);

/* Unmaps the kept mappings whose delay is over, or all. True when there was one. */
bool cal__huge_purge(bool all);

struct cal__huge_statistics {
    size_t allocations; /* so far */
    size_t live;
    size_t live_bytes;
    size_t allocated_bytes; /* so far */
    size_t cached_bytes;
};
struct cal__huge_statistics cal__huge_statistics(void);

/* For fork. */
void cal__huge_lock(void);
void cal__huge_unlock(bool in_child);

#endif
