#include "observed.h"

#include <errno.h>
#include <string.h>

#include "hooked.h"
#include "hooks.h"

/* About 40 instructions and those of the observer. */
void *cal__observed_allocate(size_t size, cal__allocate *slow, unsigned how)
{
    struct cal__heap *heap = cal__thread_heap;
    if (CAL_UNLIKELY(!cal__hooks_is_alone(size) || heap->direct != CAL_DIRECT ||
                     heap->mode != atomic_load_explicit(&cal__heap_mode, memory_order_relaxed)))
        return slow(size);
    size_t size_class = cal__size_class(size);
    struct cal__page *page = heap->bins[size_class].current;
    /* As often as on the fast path, the slow one looks after other memory. */
    if (CAL_UNLIKELY(page == NULL || page->free == NULL || --heap->ticks < 0))
        return slow(size);
    void *block = page->free;
    page->free = cal__block_next(block);
    page->countdown++;
    heap->taken[size_class]++;
    cal__hooks_alone_allocated(block, size, page->block_size);
    return CAL_UNLIKELY((how & CAL_HOW_ZERO) != 0) ? memset(block, 0, size) : block;
}

/* A plain block of the calling thread's, that was not freed just now: the page, or NULL. */
CAL_INLINE struct cal__page *page_of_own(const void *block)
{
    struct cal__page *page = cal__map_candidate(block);
    uint64_t offset = (uintptr_t)block - (uintptr_t)cal__page_start(page);
    /* The owner first: what follows changes while it is somebody else. */
    bool plain = cal__page_heap(page) == cal__thread_heap && page->kind == CAL_PAGE_SLAB &&
                 page->size == 0 &&
                 cal__is_start(offset, page->factor, CAL_PLAIN_LOAD(page->limit));
    return CAL_LIKELY(plain && page->free != block && cal__page_used(page) != 0) ? page : NULL;
}

/* About 45 instructions and those of the observer. */
void cal__observed_free(void *block, const struct cal_call *call)
{
    struct cal__page *page = page_of_own(block);
    if (CAL_UNLIKELY(page == NULL || !cal__hooks_is_alone(1))) {
        cal__hooked_free(block, call);
        return;
    }
    /* free() preserves it, observers need not. */
    int *error = &errno, saved = *error;
    cal__hooks_alone_freeing(block, page->block_size);
    *error = saved;
    cal__block_set_next(block, page->free);
    page->free = block;
    if (CAL_UNLIKELY(--page->countdown == 0))
        cal__heap_page_event(page);
}
