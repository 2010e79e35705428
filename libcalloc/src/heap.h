/* Thread heaps: for each size class the free blocks at hand and the pages they come from.
 *
 * A thread without a heap points at cal__heap_empty, whose lists are empty; so does every list of
 * a heap in direct mode. "Not initialised", "list empty" and "somebody observes" are therefore
 * the same branch of the fast path.
 *
 *   malloc  pops heap->free[class]                                        block.h
 *   free    pushes page->free, decrements page->countdown                 block.h
 *   refill  moves page->free (or remote frees, or freshly cut blocks) to heap->free[class]
 *
 * Everything in a heap belongs to its thread, but `lock` and `returned`, and `next`, `next_unused`,
 * `in_use` and `thread`, which are under the lock of the registry. */
#ifndef CAL_HEAP_H
#define CAL_HEAP_H

#include "lock.h"
#include "page.h"
#include "size_class.h"

/* Keys are further apart than any offset into a page, and all of them together are less than the
 * window of the map: adding one to an address never makes it look like another page's. */
#define CAL_HEAP_KEY  (CAL_SLAB_LARGE_GRANULES * CAL_GRANULE)
#define CAL_HEAP_KEYS (((uint64_t)1 << 32) / CAL_HEAP_KEY)

/* A refill looks for memory whose purge delay is over when the pages refilled from since had so many
 * blocks together, which is about as many allocations at most. */
#define CAL_TICKS 16384

/* Random bytes that a heap has at hand, each for the choice of one slot (slots.h). */
#define CAL_HEAP_CHOICES 192

struct cal__bin {
    struct cal__page *current; /* heap->free[class] holds blocks of this page only */
    struct cal__link partial_first;
    struct cal__link partial_last;
    struct cal__link full;
};

struct cal__heap {
    void *free[CAL_CLASSES];
    struct cal__bin bins[CAL_CLASSES];
    /* Blocks ever moved to free[class]; less those still there, the allocations so far. */
    uint64_t taken[CAL_CLASSES];
    uint64_t grown; /* bytes that blocks grew by in place */
    /* Bytes that another class lent to this one, up to a limit; UINT32_MAX with pages of its own. */
    uint32_t borrowed[CAL_CLASSES];
    uint16_t borrowed_from[CAL_CLASSES]; /* of the last one's page a few bits of the address */

    uintptr_t thread; /* its thread pointer; 0 while nobody's */
    /* What this heap's pages have in their `origin`: multiples of CAL_HEAP_KEY, different for each
     * heap; 0 for those that there are no keys for, whose frees all take the slow path. */
    uint64_t key;
    union {
        struct {
            unsigned mode; /* the value of cal__heap_mode that `direct` was set for */
            /* Direct mode, when not 0: free[] stays empty and no page names its owner, so that every
             * allocation and every free takes the slow path, where add-ons and annotations are. */
            unsigned direct;
        };
        uint64_t plain; /* both: equal to cal__heap_mode where lists may be handed out */
    };
    int ticks; /* until expired memory is looked for again */

    struct cal__lock lock; /* guards `returned` and page->heap of its pages */
    /* Pages that had a remote free after asking for notice; a link. */
    _Atomic uint64_t returned;

    /* Those not used yet are the first; what was used is zero. */
    uint32_t choices_left;
    uint8_t choices[CAL_HEAP_CHOICES];

    struct cal__gather *_Atomic gather; /* what is on the way to other heaps' pages, or NULL */
    unsigned strays;                    /* remote frees before there was `gather` */

    struct cal__link self; /* leads here: what has none is no heap */
    struct cal__link next; /* all heaps ever made, newest first */
    struct cal__link next_unused;
    bool in_use;
};

/* Values of `direct`. */
enum {
    CAL_DIRECT = 1,
    CAL_DIRECT_SLOTS = 2, /* and the heap's pages are of CAL_PAGE_SLOTS, all of them */
};

extern struct cal__heap cal__heap_empty;
extern __thread struct cal__heap *cal__thread_heap __attribute__((tls_model("initial-exec")));
/* The key of the thread's heap; 0 without one, which matches no page. */
extern __thread uint64_t cal__thread_key __attribute__((tls_model("initial-exec")));

/* Heaps that belong to a thread; changes under the lock of the registry. */
extern _Atomic unsigned cal__heaps_used __attribute__((visibility("hidden")));

/* Odd while allocations must take the slow path; raised by one at each change. */
extern _Atomic unsigned cal__heap_mode __attribute__((visibility("hidden")));

/* The calling thread's heap, made if need be; NULL when out of memory. A thread whose heap was
 * handed over, and which still runs destructors, gets &cal__heap_late, which it may use between
 * cal__heap_late_enter() and cal__heap_late_leave() only. */
struct cal__heap *cal__heap_get(void);
extern struct cal__heap cal__heap_late;
struct cal__heap *cal__heap_late_enter(void);
void cal__heap_late_leave(void);

/* A block that a larger class has at hand, for a class without pages of its own; or NULL. */
void *cal__heap_borrow(struct cal__heap *heap, unsigned size_class);
/* One block of a class. *ZEROED becomes whether it reads as zeros. NULL when out of memory. */
void *cal__heap_allocate(struct cal__heap *heap, unsigned size_class, bool *zeroed);
/* Gives a block back to a page that HEAP owns. */
void cal__heap_free(struct cal__page *page, void *block);
/* The countdown of a page reached zero. */
void cal__heap_page_event(struct cal__page *page);
/* Brings the heap into the mode that cal__heap_mode asks for. */
void cal__heap_follow_mode(struct cal__heap *heap);
/* From now on the heap makes pages of CAL_PAGE_SLOTS, where an add-on plays the role slots; those it has
 * are left to whoever frees their blocks. */
void cal__heap_follow_slots(struct cal__heap *heap);
/* A page that is empty and in nobody's hands goes back to the span layer. */
void cal__heap_release_page(struct cal__page *page);
/* Looks after the remote frees of pages that are not allocated from. */
void cal__heap_drain_returned(struct cal__heap *heap);
/* Releases empty pages; HEAP is the calling thread's. */
void cal__heap_collect(struct cal__heap *heap);

/* Ends the process if a block was freed twice in a row; for the end of the process, where the free
 * lists are looked at one last time. */
void cal__heap_check(struct cal__heap *heap);

/* Page lists, used when pages change hands. */
void cal__heap_take_page(struct cal__heap *heap, struct cal__page *page);
void cal__heap_drop_page(struct cal__heap *heap, struct cal__page *page);
/* Moves the blocks at hand back to their page. */
void cal__heap_flush(struct cal__heap *heap, unsigned size_class);
/* A full page is allocated from again when an eighth of it came back: fewer events per free than
 * at the first block, and at most that share of it lies idle meanwhile. */
CAL_INLINE uint32_t cal__page_threshold(const struct cal__page *page)
{
    return 1 + page->capacity / 8;
}

/* BLOCKS blocks are cut from the page now; only by the owner. */
void cal__page_set_carved(struct cal__page *page, uint32_t blocks);
/* Lets HEAP's thread free on the fast path; nobody in direct mode, while the page has merged blocks,
 * and when HEAP is NULL. */
void cal__page_set_owner(struct cal__page *page, const struct cal__heap *heap);
/* Changes `target` and keeps `used`. */
void cal__page_set_target(struct cal__page *page, uint32_t target);

/* remote.c: frees by other threads, and pages without an owner. */
void cal__remote_free(struct cal__page *page, void *block);
/* The same for a chain of blocks from FIRST to LAST, which are SLOTS slots. */
void cal__remote_push(struct cal__page *page, void *first, void *last, uint32_t slots);
/* The same for one block of a page of CAL_PAGE_SLOTS. */
void cal__remote_push_slot(struct cal__page *page, void *block);
/* Moves remotely freed blocks to page->free and leaves EMPTY behind: 0 for a page that is allocated
 * from, else CAL_REMOTE_ASK(1) or CAL_REMOTE_ABANDONED. True when there were any. */
bool cal__remote_collect(struct cal__page *page, uintptr_t empty);
/* For a page in the partial queue, some of whose blocks came back. True when that is all of them;
 * otherwise sees to it that the owner hears of the page in time: by an event or by notice. */
bool cal__remote_settle(struct cal__page *page);
/* HEAP, its owner, is about to release the page: no notice of it will be found. */
void cal__remote_disown(struct cal__heap *heap, struct cal__page *page);
/* Asks for notice when what the page's countdown counts came back remotely. */
void cal__remote_request_notice(struct cal__page *page);
/* HEAP's thread leaves: empty pages are released, the others wait for an heir. */
void cal__remote_abandon_all(struct cal__heap *heap);
/* In the child of a fork: the page's owner does not exist there. */
void cal__remote_orphan(struct cal__page *page);
/* A page of that class that its thread left behind, now HEAP's; or NULL. */
struct cal__page *cal__remote_adopt(struct cal__heap *heap, unsigned size_class);
/* Slabs of CAL_PAGE_SLOTS that are kept for an heir though nothing of them is used are released. */
void cal__remote_release_idle(void);
void cal__remote_lock(void);
void cal__remote_unlock(bool in_child);

/* merged.c: blocks that grew over following slots. Slots are counted from the page's start. */
/* Slots of the block that starts at SLOT (1 for an ordinary one). */
uint32_t cal__merged_slots(const struct cal__page *page, uint32_t slot);
/* True when SLOT is the continuation of a block. */
bool cal__merged_inside(const struct cal__page *page, uint32_t slot);
/* The owner gives BLOCK back: ends its merge and returns how many slots it had. */
uint32_t cal__merged_end(struct cal__page *page, void *block);
/* Grows or shrinks to SLOTS slots in place; only by the owner. False when that is not possible. */
bool cal__merged_resize(struct cal__heap *heap, struct cal__page *page, void *block,
                        uint32_t slots);
void cal__merged_release(struct cal__page *page);
void cal__merged_lock(void);
void cal__merged_unlock(bool in_child);

CAL_INLINE uint32_t cal__page_slot(const struct cal__page *page, const void *block)
{
    return (uint32_t)((const char *)block - cal__page_start(page)) / page->block_size;
}

CAL_INLINE void *cal__block_next(void *block)
{
    return *(void **)block;
}

/* Takes the first block off a list. The one behind it is brought into the cache, long before its link
 * is needed where sizes alternate: a list that was freed in any order costs a miss for each block, and
 * the next malloc of the class would wait for it. A prefetch of NULL does nothing. */
CAL_INLINE void cal__block_pop(void **list)
{
    void *next = cal__block_next(*list);
    *list = next;
    __builtin_prefetch(next);
}

CAL_INLINE void cal__block_set_next(void *block, void *next)
{
    *(void **)block = next;
}

_Noreturn CAL_COLD void cal__heap_same_twice(void *block);

/* Hands over LIST, all that was freed to the current page of a class; returns its first block. */
CAL_INLINE void *cal__heap_take_list(struct cal__heap *heap, size_t size_class,
                                     struct cal__page *page, void *list)
{
    void *next = cal__block_next(list);
    if (CAL_UNLIKELY(next == list))
        cal__heap_same_twice(list);
    page->free = NULL;
    /* All that are cut count as used now. */
    uint32_t countdown = cal__page_carved(page) - page->target;
    heap->taken[size_class] += countdown - page->countdown;
    page->countdown = countdown;
    heap->free[size_class] = next;
    return list;
}

/* A block that the heap has at hand or got back to the page it allocates from. NULL otherwise, and
 * in direct mode: then cal__heap_allocate(). */
CAL_INLINE void *cal__heap_quick(struct cal__heap *heap, size_t size_class)
{
    void *block = heap->free[size_class];
    if (block != NULL) {
        cal__block_pop(&heap->free[size_class]);
        return block;
    }
    struct cal__page *page = heap->bins[size_class].current;
    if (page == NULL)
        return NULL;
    void *list = page->free;
    if (list == NULL || (heap->ticks -= page->capacity) < 0 ||
        heap->plain != atomic_load_explicit(&cal__heap_mode, memory_order_relaxed))
        return NULL;
    return cal__heap_take_list(heap, size_class, page, list);
}

#endif
