/* What the malloc family and the native API are made of: blocks by address, wherever they live.
 *
 * The fast paths are here, inline; what they cost is stated where they are. All else is out of
 * line and cold. None of these functions touches errno. */
#ifndef CAL_BLOCK_H
#define CAL_BLOCK_H

#include "heap.h"
#include "map.h"
#include "os.h"

/* Everything that the fast paths do not do. NULL when out of memory or SIZE is impossible.
 * ALIGNMENT is a power of two. ZERO: the SIZE bytes read as zeros. */
void *cal__block_allocate(size_t size, size_t alignment, bool zero);
void cal__block_free(void *block);

/* Bytes that the program may use. A pointer that is not a live block's start is fatal, named by
 * WHAT ("invalid free"). BLOCK is not NULL. */
size_t cal__block_usable(const void *block, const char *what);
/* Resizes without changing the address; false and unchanged when that is not possible. SIZE > 0. */
bool cal__block_resize(void *block, size_t size, const char *what);
/* Resizes, moving if need be; NULL and unchanged when out of memory. SIZE > 0. */
void *cal__block_reallocate(void *block, size_t size);

/* A block that the thread has at hand, or NULL. Twelve instructions on x86-64: two for the thread's
 * heap, four for the class, six to pop. SIZE may be anything. */
CAL_INLINE void *cal__at_hand(size_t size)
{
    struct cal__heap *heap = cal__thread_heap;
    size_t last = size - 1;
    if (CAL_UNLIKELY(last >= CAL_SMALL_MAX))
        return NULL;
    size_t index = last >> 4;
#if defined(__x86_64__)
    /* Anywhere but in the register of the result, which saves moving that. */
    __asm__("" : "+d"(index));
#endif
    void *block = heap->free[index];
    if (CAL_LIKELY(block != NULL))
        heap->free[index] = cal__block_next(block);
    return block;
}

/* What the lists do not have comes from SLOW, a tail call. */
CAL_INLINE void *cal__allocate_or(size_t size, void *(*slow)(size_t size))
{
    void *block = cal__at_hand(size);
    return CAL_LIKELY(block != NULL) ? block : slow(size);
}

/* True when PAGE, the map's candidate, contains BLOCK and is this thread's, nothing about it is
 * special, and BLOCK starts a block that was cut: all in one comparison. An address in another page,
 * or another thread's key, make the difference one that no offset is (size_class.h, heap.h). */
CAL_INLINE bool cal__is_own_start(const struct cal__page *page, const void *block)
{
    uint64_t offset = (uintptr_t)block - CAL_PLAIN_LOAD(page->origin);
    /* In this order: gcc would load the key into one register and add in another. */
    __asm__("" : "+r"(offset));
    offset += cal__thread_key;
    return cal__is_start(offset, page->factor, page->limit);
}

/* Eighteen instructions with the return: five to find the page, seven that prove that BLOCK starts
 * a block that was cut from it and that it is this thread's, five to push and count. */
CAL_INLINE void cal__free(void *block)
{
    struct cal__page *page = cal__map_candidate(block);
    if (CAL_LIKELY(cal__is_own_start(page, block))) {
        cal__block_set_next(block, page->free);
        page->free = block;
        if (CAL_UNLIKELY(--page->countdown == 0))
            cal__heap_page_event(page);
        return;
    }
    cal__block_free(block);
}

#endif
