/* Page descriptors: what is known about a range of granules, kept apart from the memory itself.
 *
 * Slabs: blocks of one size. With
 *     used      = countdown + target      blocks not in `free`
 *     carved    = used + |free|           blocks ever cut; the rest of the page is untouched
 * a block that counts as used is live, in the owner's free list in its heap, or in `remote`.
 * A free decrements `countdown`; what happens at zero is decided by `target`:
 *     full pages     target = capacity - threshold: enough came back to allocate from it again
 *     current page   target = -1: never, it stays however empty it is
 *     other pages    target = 0: the page is empty; higher while blocks lie in `remote`, whose
 *                    return is counted there (cal__remote_settle)
 * so one counter serves both and the fast path has one decrement.
 *
 * Slabs of CAL_PAGE_SLOTS count in the same way; their free slots are bits in cal__slots, where `remote`
 * has its links too, and `carved` are those that were ever handed out. */
#ifndef CAL_PAGE_H
#define CAL_PAGE_H

#include <stdatomic.h>

#include "link.h"

struct cal__heap;
struct cal__slots;

enum cal__page_kind {
    CAL_PAGE_NONE, /* descriptor not in use, or its run is in nobody's hands */
    CAL_PAGE_FREE, /* free run in the span layer */
    CAL_PAGE_SLAB,
    CAL_PAGE_RUN,   /* one large block */
    CAL_PAGE_HUGE,  /* one of more than CAL_RUN_MAX, or aligned to more */
    CAL_PAGE_SLOTS, /* a slab whose free slots are known apart from them (slots.h) */
    CAL_PAGE_RANGE, /* an add-on's (owner.h) */
};

enum cal__page_list {
    CAL_LIST_NONE,
    CAL_LIST_REFUSED,   /* FREE: the kernel refused to take its memory back */
    CAL_LIST_CURRENT,   /* the owner's heap allocates from it */
    CAL_LIST_PARTIAL,   /* queued: has free blocks */
    CAL_LIST_FULL,      /* set aside until enough came back, to `target` or remotely */
    CAL_LIST_ABANDONED, /* its thread has ended and it has room; those without are in no list */
};

/* `remote` is the newest remotely freed block, with a flag below and a counter above its address. The
 * counter begins at page->asked and is raised by one for each slot that comes back. The push that
 * takes it to half of its range tells the owner, who chooses the beginning accordingly. */
#define CAL_REMOTE_ABANDONED ((uintptr_t)1) /* nobody owns the page: free under the lock */
#define CAL_REMOTE_SHIFT     48
#define CAL_REMOTE_TOLD      ((uintptr_t)1 << 63) /* the counter has got there */
/* An empty list whose next COUNT slots are to be told of when they are complete. */
#define CAL_REMOTE_ASK(count) (CAL_REMOTE_TOLD - ((uintptr_t)(count) << CAL_REMOTE_SHIFT))

/* The `origin` of a page whose frees all take the slow path: no address is near above it, nor NULL. */
#define CAL_ORIGIN_NOBODY ((uint64_t)1 << 48)

struct cal__page {
    /* First line: all that a free by the owner touches. */
    _Atomic uint64_t tag; /* number of the first granule */
    /* The page's start plus the key of the thread whose frees may take the fast path. */
    _Atomic uint64_t origin;
    /* Blocks freed by the owner, linked through their first word; SLOTS: NULL; RANGE: the add-on's, encoded
     * as links are. */
    void *free;
    /* See above. A new target is one store of both, so that a fork between two cannot tear them. */
    union {
        struct {
            uint32_t countdown;
            uint32_t target;
        };
        uint64_t counts;
    };
    /* With `limit`: which offsets start a block (size_class.h). RANGE: a sum of `free`. */
    uint64_t factor;
    _Atomic uint64_t limit;
    uint32_t block_size; /* bytes */
    _Atomic uint32_t granules;
    _Atomic uint16_t carved; /* blocks cut so far; written by the owner */
    uint16_t capacity;       /* blocks that fit */
    uint8_t kind;            /* enum cal__page_kind */
    uint8_t size_class;
    uint8_t list; /* enum cal__page_list */
    bool zeroed;  /* FREE: reads as zeros and costs no memory; SLAB: the uncarved part does */

    /* Second line: other threads and rare events. */
    _Atomic uintptr_t remote __attribute__((aligned(64)));
    struct cal__heap *_Atomic heap; /* owner; written under the old owner's lock */
    struct cal__link next;          /* in the list that `list` names, or the span layer's */
    struct cal__link previous;
    union {
        struct cal__link returned_next; /* SLAB: in the owner's list of notified pages */
        struct cal__link newer;         /* FREE and dirty: freed after this one */
    };
    union {
        /* SLAB: bit i: slot i continues the block before it; or NULL. */
        _Atomic uint64_t *_Atomic merged;
        /* SLOTS: what is known of the slots; RUN, HUGE: the same if an add-on has a say, or NULL; RANGE: the
         * add-on's table. A link. */
        _Atomic uint64_t slots, owner;
    };
    union {
        uint64_t expiry; /* FREE: when to purge */
        /* RUN, HUGE: usable bytes; SLAB: number of merged blocks; SLOTS: 1, as all is special. */
        size_t size;
    };
    union {
        struct {
            bool queued; /* SLAB, SLOTS: in the owner's list of notified pages, under its lock */
            union {
                uint16_t asked; /* SLAB, SLOTS: where the counter in `remote` began; the owner's */
                uint16_t reach; /* RUN, HUGE: granules that the map knows behind the first */
            };
            /* SLAB, SLOTS, RANGE: granules that take memory, about; all of them where it was dirty. */
            uint16_t touched;
        };
        struct cal__link older; /* FREE and dirty: freed before this one */
    };
} __attribute__((aligned(128)));

_Static_assert(sizeof(struct cal__page) == 128, "two cache lines");
_Static_assert(offsetof(struct cal__page, remote) == 64, "remote frees stay off the first line");
_Static_assert(CAL_GRANULE / CAL_ALIGNMENT <= UINT16_MAX,
               "blocks of a page are counted in 16 bits");

CAL_INLINE uint64_t cal__page_first(const struct cal__page *page)
{
    return atomic_load_explicit(&page->tag, memory_order_relaxed);
}

CAL_INLINE char *cal__page_start(const struct cal__page *page)
{
    return (char *)(atomic_load_explicit(&page->tag, memory_order_relaxed) << CAL_GRANULE_SHIFT);
}

CAL_INLINE size_t cal__page_granules(const struct cal__page *page)
{
    return atomic_load_explicit(&page->granules, memory_order_relaxed);
}

CAL_INLINE size_t cal__page_bytes(const struct cal__page *page)
{
    return cal__page_granules(page) << CAL_GRANULE_SHIFT;
}

CAL_INLINE uint32_t cal__page_carved(const struct cal__page *page)
{
    return atomic_load_explicit(&page->carved, memory_order_relaxed);
}

CAL_INLINE uint32_t cal__page_used(const struct cal__page *page)
{
    return page->countdown + page->target;
}

CAL_INLINE struct cal__heap *cal__page_heap(const struct cal__page *page)
{
    return atomic_load_explicit(&page->heap, memory_order_acquire);
}

/* True for blocks of one size, as many as fit. */
CAL_INLINE bool cal__page_is_slab(const struct cal__page *page)
{
    return page->kind == CAL_PAGE_SLAB || page->kind == CAL_PAGE_SLOTS;
}

/* Not of SLAB and RANGE. */
CAL_INLINE bool cal__page_has_slots(const struct cal__page *page)
{
    return atomic_load_explicit(&page->slots, memory_order_relaxed) != 0;
}

CAL_INLINE struct cal__slots *cal__page_slots(const struct cal__page *page)
{
    return cal__link_load(&page->slots, memory_order_acquire);
}

CAL_INLINE struct cal__page *cal__page_next(const struct cal__page *page)
{
    return cal__link_get(&page->next);
}

CAL_INLINE struct cal__page *cal__page_previous(const struct cal__page *page)
{
    return cal__link_get(&page->previous);
}

CAL_INLINE void cal__page_set_next(struct cal__page *page, const struct cal__page *next)
{
    cal__link_set(&page->next, next);
}

CAL_INLINE void cal__page_set_previous(struct cal__page *page, const struct cal__page *previous)
{
    cal__link_set(&page->previous, previous);
}

/* Lists of pages have links in both directions, `next` and `previous`, from FIRST on. What two neighbours say
 * of each other is compared before it is used. */
void cal__page_list_push(struct cal__link *first, struct cal__page *page);
/* LAST is the other end. */
void cal__page_list_append(struct cal__link *first, struct cal__link *last, struct cal__page *page);
/* LAST may be NULL, for a list that knows only its first. */
void cal__page_list_remove(struct cal__link *first, struct cal__link *last, struct cal__page *page);

CAL_INLINE void *cal__remote_first(uintptr_t remote)
{
    return (void *)(remote & (((uintptr_t)1 << CAL_REMOTE_SHIFT) - 1) & ~CAL_REMOTE_ABANDONED);
}

#endif
