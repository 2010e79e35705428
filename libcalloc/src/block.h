/* What the malloc family and the native API are made of: blocks by address, wherever they live.
 *
 * The fast paths are here, inline; what they cost is stated where they are. All else is out of
 * line and cold. None of these functions touches errno. */
#ifndef CAL_BLOCK_H
#define CAL_BLOCK_H

#include <calloc/hooks.h>
#include <string.h>

#include "heap.h"
#include "map.h"
#include "os.h"

/* How a block is asked for or given back: one of the kinds, and for a request the SIZE bytes may have to read
 * as zeros. */
enum {
    CAL_HOW_ZERO = CAL_SLOT_ZERO,
    CAL_HOW_NOTHING =
        2, /* of SIZE the caller asked for nothing; only cal__block_allocate() says so */
    CAL_HOW_KIND_SHIFT = CAL_SLOT_KIND_SHIFT,

    CAL_HOW_MALLOC = CAL_CALL_MALLOC << CAL_HOW_KIND_SHIFT,
    CAL_HOW_NEW = CAL_CALL_NEW << CAL_HOW_KIND_SHIFT,
    CAL_HOW_NEW_ARRAY = CAL_CALL_NEW_ARRAY << CAL_HOW_KIND_SHIFT,
    CAL_HOW_NATIVE = CAL_CALL_NATIVE << CAL_HOW_KIND_SHIFT,
};

/* The same in the words of add-ons; a call that gives a block back says what the caller said of it. */
CAL_INLINE struct cal_call cal__call_of(size_t size, size_t alignment, unsigned how)
{
    return (struct cal_call){
        .size = sizeof(struct cal_call),
        .kind = (enum cal_call_kind)(how >> CAL_HOW_KIND_SHIFT),
        .zero = (how & CAL_HOW_ZERO) != 0,
        .bytes = (how & CAL_HOW_NOTHING) != 0 ? 0 : size,
        .alignment = alignment,
    };
}

/* Everything that the fast paths do not do. NULL when out of memory or SIZE is impossible.
 * ALIGNMENT is a power of two. */
void *cal__block_allocate(size_t size, size_t alignment, unsigned how);
void cal__block_free(void *block);
/* The same with what the caller says of the block: CAL_CALL_UNKNOWN and 0 for nothing. */
void cal__block_free_as(void *block, unsigned how, size_t size, size_t alignment);

/* Between the two: blocks of all slabs that the thread has at hand or freed itself, and slots of an add-on's
 * (slots.h) for a request made in the way that HOW says. What is not there comes from SLOW, a tail call. */
typedef void *cal__allocate(size_t size);
void *cal__block_allocate_or(size_t size, cal__allocate *slow, unsigned how);
void *cal__block_zeroed_or(size_t size, cal__allocate *slow, unsigned how);
/* The first for a size that no list at hand has: zero, or more than CAL_SMALL_MAX. Slots are SLOW's business. */
void *cal__block_larger_or(size_t size, cal__allocate *slow);

/* Bytes that the program may use. A pointer that is not a live block's start is fatal, named by
 * WHAT ("invalid free"). BLOCK is not NULL. */
size_t cal__block_usable(const void *block, const char *what);
/* Resizes without changing the address; false and unchanged when that is not possible. SIZE > 0. */
bool cal__block_resize(void *block, size_t size, const char *what);
/* Resizes, moving if need be; NULL and unchanged when out of memory. SIZE > 0. */
void *cal__block_reallocate(void *block, size_t size, unsigned how);

/* For hooked.c. The page of a block; when BLOCK does not start one that is fatal, or NULL if the add-on
 * that plays the role slots says so. */
struct cal__page *cal__block_page(const void *block, const char *what);
/* Bytes from the block's start to its end, the redzone of annotations included. */
size_t cal__block_capacity(const struct cal__page *page, const void *block);
/* SIZE bytes, which is more than CALL asks for, from HEAP; with memory that is free in another shape, if
 * there is no other. *ZEROED in: prefer memory that reads as zeros; out: whether it does. */
void *cal__block_obtain(struct cal__heap *heap, size_t size, const struct cal_call *call,
                        bool *zeroed);
/* Brings together what is free, as far as this thread can reach it: what add-ons keep back, its own empty pages,
 * and those that nobody owns. Without locks held. True: add-ons gave something up. */
bool cal__block_collect(void);
/* Gives a block back that nobody else has a say in. */
void cal__block_release(struct cal__page *page, void *block);
/* For a block of PAGE that the thread owns and whose block cannot stay as a matter of course: copies
 * it where it is small and a block is at hand; SLOW has all else. */
typedef void *cal__reallocate(void *block, size_t size);
void *cal__block_copy_or(void *block, size_t size, struct cal__page *page, cal__reallocate *slow);

/* A block shrinks in place, wasting nothing it is charged for, until less than half is needed. */
#define CAL_SHRINK_SHARE 2
#define CAL_SHRINK_MIN   64

/* For functions that are little but a fast path, so that it lies in as few cache lines as it can. */
#define CAL_HOT __attribute__((aligned(64)))

/* A block that the thread has at hand, or NULL. Thirteen instructions on x86-64: two for the thread's
 * heap, four for the class, seven to pop. SIZE may be anything. */
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
        cal__block_pop(&heap->free[index]);
    return block;
}

/* What the lists do not have comes from SLOW, a tail call. */
CAL_INLINE void *cal__allocate_or(size_t size, cal__allocate *slow, unsigned how)
{
    if (CAL_UNLIKELY(size - 1 >= CAL_SMALL_MAX))
        return cal__block_larger_or(size, slow);
    void *block = cal__at_hand(size);
    return CAL_LIKELY(block != NULL) ? block : cal__block_allocate_or(size, slow, how);
}

/* Small classes are all the multiples of 16 bytes, and slabs start at granules: when the size is a
 * multiple of the alignment, so is the address. */
CAL_INLINE void *cal__at_hand_aligned(size_t size, size_t alignment)
{
    return cal__at_hand(cal__round_up(size, alignment));
}

/* Zeros, up to 64 bytes in stores that overlap in the middle: their number depends on two branches and
 * not on a loop. The first may go beyond SIZE, but not beyond the 16 bytes that all blocks have. */
CAL_INLINE void *cal__zero(void *block, size_t size)
{
    char *start = block;
    if (size > 32) {
        if (size > 64)
            return memset(block, 0, size);
        memset(start, 0, 32);
        memset(start + size - 32, 0, 32);
    } else {
        memset(start, 0, 16);
        if (size > 16)
            memset(start + size - 16, 0, 16);
    }
    return block;
}

CAL_INLINE void *cal__zeroed_or(size_t size, cal__allocate *slow, unsigned how)
{
    void *block = cal__at_hand(size);
    return CAL_LIKELY(block != NULL) ? cal__zero(block, size)
                                     : cal__block_zeroed_or(size, slow, how);
}

/* True when the page of this distance, the map's candidate, contains BLOCK and is this thread's,
 * nothing about it is special, and BLOCK starts a block that was cut: all in one comparison. An
 * address in another page, or another thread's key, make the difference one that no offset is
 * (size_class.h, heap.h). */
CAL_INLINE bool cal__is_own_start(intptr_t *distance, const void *block)
{
    uint64_t number = (uintptr_t)block - CAL_PLAIN_LOAD(cal__map_page_once(distance)->origin);
    /* In this order, one after the other: gcc would load the key into one register and add in another,
     * and copy the distance. The last two steps are cal__is_start(). */
    __asm__("" : "+r"(number));
    number += cal__thread_key;
    __asm__("" : "+r"(number), "+r"(*distance));
    number *= cal__map_page(*distance)->factor;
    __asm__("" : "+r"(number), "+r"(*distance));
    return number < CAL_PLAIN_LOAD(cal__map_page(*distance)->limit);
}

/* One block of PAGE less counts as used; true when that is an event. */
CAL_INLINE bool cal__count_down(struct cal__page *page)
{
#if defined(__x86_64__)
    /* As the compiler does it, but for one thing: it would first add up the address of the page. */
    bool zero;
    __asm__("subl $1, %0" : "+m"(page->countdown), "=@ccz"(zero));
    return zero;
#else
    return --page->countdown == 0;
#endif
}

/* Seventeen instructions with the return: four to find the page, seven that prove that BLOCK starts
 * a block that was cut from it and that it is this thread's, five to push and count. False when it is
 * not an ordinary block of this thread's. */
CAL_INLINE bool cal__free_own(void *block)
{
    intptr_t distance = cal__map_distance(block);
    if (CAL_LIKELY(cal__is_own_start(&distance, block))) {
        cal__block_set_next(block, cal__map_page_once(&distance)->free);
        cal__map_page_once(&distance)->free = block;
        if (CAL_UNLIKELY(cal__count_down(cal__map_page_once(&distance))))
            cal__heap_page_event(cal__map_page_once(&distance));
        return true;
    }
    return false;
}

CAL_INLINE void cal__free(void *block)
{
    if (!cal__free_own(block))
        cal__block_free(block);
}

/* The same with what the caller says of the block, which costs nothing on the fast path. */
CAL_INLINE void cal__free_as(void *block, unsigned how, size_t size, size_t alignment)
{
    if (!cal__free_own(block))
        cal__block_free_as(block, how, size, alignment);
}

/* BLOCK may be anything and SIZE zero: neither is an ordinary block that stays, so both are SLOW's. */
CAL_INLINE void *cal__reallocate_or(void *block, size_t size, cal__reallocate *slow)
{
    intptr_t distance = cal__map_distance(block);
    if (CAL_UNLIKELY(!cal__is_own_start(&distance, block)))
        return slow(block, size);
    size_t usable = cal__map_page_once(&distance)->block_size;
    if (size - 1 < usable && size * CAL_SHRINK_SHARE >= usable)
        return block;
    return cal__block_copy_or(block, size, cal__map_page_once(&distance), slow);
}

#endif
