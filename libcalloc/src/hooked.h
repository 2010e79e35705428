/* Allocating and freeing where somebody else has a say in it: an owner, the role slots, observers, a tool.
 *
 * Everything here is off the fast path: a heap in direct mode, or a page that is special. The order is
 * the same everywhere. A new block is made known to the role, the tool and the observers, one that
 * ends in reverse: the observers see a block only while it is the program's. */
#ifndef CAL_HOOKED_H
#define CAL_HOOKED_H

#include <calloc/hooks.h>

#include "heap.h"

/* A page whose blocks are not what block.c takes for granted. */
CAL_INLINE bool cal__page_is_special(const struct cal__page *page)
{
    return page->kind >= CAL_PAGE_SLOTS ||
           (page->kind != CAL_PAGE_SLAB && cal__page_has_slots(page));
}

/* The short way for blocks of slabs where only the role slots has a say, and that of observed.c. The thread's heap is
 * in direct mode; what it does not have at hand comes from SLOW, a tail call. */
void *cal__hooked_allocate_lean(size_t size, void *(*slow)(size_t size), unsigned how);
/* The short way back. PAGE is what the map has for BLOCK: of CAL_PAGE_SLOTS, but the block may be anything. */
void cal__hooked_free_lean(struct cal__page *page, void *block, const struct cal_call *call);

/* As cal__block_allocate(), for HEAP, which is in direct mode or cal__heap_late. */
void *cal__hooked_allocate(struct cal__heap *heap, size_t size, size_t alignment, unsigned how);
/* BLOCK may be anything. */
void cal__hooked_free(void *block, const struct cal_call *call);

/* Of a block in a special page. SIZE_MAX: BLOCK is none, for the owner of its range. */
size_t cal__hooked_usable(const struct cal__page *page, const void *block);
bool cal__hooked_resize(struct cal__page *page, void *block, size_t size, unsigned how);
void *cal__hooked_reallocate(struct cal__page *page, void *block, size_t size, unsigned how);
/* Copies any block of USABLE bytes to a new one. Shrinking never fails: without memory for it the
 * block stays. */
void *cal__hooked_move(void *block, size_t size, size_t usable, unsigned how);

/* Ends the process with WHAT, unless the role slots has this ignored. */
void cal__hooked_error(const char *what, const void *block);

#endif
