/* Slabs whose free slots are known apart from them, for the add-on that plays the role slots.
 *
 * While there is one, heaps make pages of CAL_PAGE_SLOTS where they made slabs with lists. The pages go
 * the same ways (heap.c, remote.c); what differs is in `struct cal__slots`, in metadata: the bitmap of
 * free slots, which is the owner's, and a mark for each slot, which says what the slot is, has bits of the
 * add-on's while the slot is live or kept, and links it while it is in page->remote.
 *
 *     NEVER ──┬─▶ LIVE ──▶ KEPT ──┬──────────────────────▶ FREED ─▶ LIVE …
 *     FREED ──┘  take     claim   │ own thread: put          ▲
 *                                 └─▶ linked, in `remote` ───┘ owner collects
 *
 * A claim is a compare-and-swap, so of two frees of a slot one is found out, whoever makes them. The
 * marks alone say what is free: a forked child makes the bitmap
 * of pages without an owner anew.
 *
 * What is freed rests in a second bitmap until the slots at hand are used up, so that no block is used
 * again at once, and of a slab that is hardly used only the first part, `reach`, is cut: memory that was
 * never handed out costs nothing.
 *
 * A large block that was asked for while the role is played has a record of one slot in its page. */
#ifndef CAL_SLOTS_H
#define CAL_SLOTS_H

#include <calloc/hooks.h>
#include <sys/single_threaded.h>

#include "heap.h"

/* Marks below CAL_MARK_KEPT, the first three of <calloc/hooks.h>. */
enum cal__slot_mark {
    CAL_SLOT_FREED = CAL_MARK_FREED,
    CAL_SLOT_LAST, /* in page->remote, the last there ... */
    CAL_SLOT_LINK, /* ... or this plus the number of the next */
};

struct cal__slots {
    struct cal_slab slab; /* what the add-on sees */
    /* What is used for each block, in the second line with the end of the first. */
    uint64_t factor; /* which offsets start a slot (size_class.h) */
    uint32_t
        next; /* the next choice, already made, or CAL_SLOT_ANY; its bit is still in free_slots */
    uint32_t word;       /* of free_slots: where random choices are made */
    uint32_t at_hand;    /* bits in free_slots */
    uint32_t few;        /* when there are no more at hand, others are let in */
    uint64_t *resting;   /* free again, and not at hand yet */
    uint32_t rest;       /* bits in `resting` */
    uint32_t last_freed; /* the slot that rests longest, if it rests */
    uint32_t reach;      /* slots from the first on that were at hand ever */
    uint32_t first_word; /* of free_slots: those before it are zero */

    struct cal__link page;
    struct cal__link next_unused;
    uint64_t sum;    /* of all that does not change while the page is open: cal__slots_check() */
    unsigned shelf;  /* where it waits for its next use */
    bool withholds;  /* some slots are, maybe beyond the reach */
    uint64_t expiry; /* of one that rests (slots_large.c), in milliseconds */
} __attribute__((aligned(64)));

_Static_assert(offsetof(struct cal__slots, page) == 128,
               "what is used for each block is in two lines");
_Static_assert(offsetof(struct cal__slots, slab) == 0, "one pointer for both");
_Static_assert(CAL_SLOT_LINK + CAL_SLAB_LARGE_GRANULES * CAL_GRANULE / CAL_ALIGNMENT <
                   CAL_MARK_KEPT,
               "a mark holds any link");

/* What is played; all NULL while nothing is. */
#define cal__slots_played (cal__sealed.slots)

/* Records: one for COUNT slots, all free, or NULL without memory; the role sees it, and what it withholds is marked:
 * false without memory, and then the page is released, else *USABLE are those that it leaves; and it is used no more. They wait for their next use on a
 * shelf of their class; those of large blocks have one too. */
#define CAL_SLOTS_LARGE_SHELF CAL_CLASSES
struct cal__slots *cal__slots_record_new(struct cal__page *page, unsigned shelf, uint32_t count);
bool cal__slots_record_open(struct cal__slots *slots, uint32_t *usable);
void cal__slots_record_delete(struct cal__slots *slots);
/* Bytes of a block that are not a tool's. */
size_t cal__slots_room(size_t block_size);

/* The role, complete but for NULLs; NULL while nobody plays it. */
const struct cal_slots *cal__slots_role(void);
/* Bytes that a block of a slab needs on top, as a table says that may be older; 0 for NULL. */
#define CAL_SLOTS_EXTRA_MAX 4096
size_t cal__slots_extra_of(const struct cal_slots *role);
/* From now on ROLE is played, see link.h; for ever. */
void cal__slots_play(const struct cal_slots *role, bool early);

/* What must not change any more is in place: after open(), and where that is not so any more; and the page gets it. */
void cal__slots_seal(struct cal__slots *slots);
void cal__slots_publish(struct cal__page *page, struct cal__slots *slots);
/* Ends the process if the record of a page that has one is not what it was made, or not the page's. About 40
 * instructions. */
void cal__slots_check(const struct cal__page *page);

/* Makes a fresh page of SLOTS, whose block size is set, one with free slots. False without memory, and then
 * the page is released. */
bool cal__slots_open(struct cal__page *page);
/* Gives a page with slots, or for some, back to the span layer, unless the role says that it faults still. */
void cal__slots_release(struct cal__page *page);
/* Asks the role once more for all pages of which it said so. */
void cal__slots_retry(void);

/* A block of HEAP's current page; NULL when it has none. *SLOT: which of the page's. Its mark is what it was. */
void *cal__slots_take(struct cal__heap *heap, struct cal__page *page, uint32_t *slot);
/* The slot is free; the counts are the caller's business. Only by the owner, or for a page without
 * one under the lock for those. */
CAL_INLINE void cal__slots_put(struct cal__slots *slots, uint32_t slot)
{
    cal_slot_set_mark(&slots->slab, slot, CAL_SLOT_FREED);
    slots->resting[slot / 64] |= (uint64_t)1 << slot % 64;
    slots->last_freed = slot;
    slots->rest++;
}
/* The same for one that comes out of page->remote, where it must not be free already. */
void cal__slots_put_remote(struct cal__slots *slots, uint32_t slot);

/* For lists of slots outside their pages: what follows BLOCK, or NULL. */
void *cal__slots_next(const struct cal__page *page, const void *block);
void cal__slots_set_next(struct cal__page *page, void *block, const void *next);

/* A block by itself for CALL, of SIZE bytes with what the role adds. *ZEROED as in large.h. */
void *cal__slots_large(size_t size, const struct cal_call *call, bool *zeroed);
/* It is free. */
void cal__slots_large_give(struct cal__page *page);
/* Releases those that have rested long enough, or ALL that rest. */
void cal__slots_large_purge(bool all);
/* Granules of the longest range of one so far. */
size_t cal__slots_longest(void);

/* Whether the role keeps the slot, or is about to decide on it. */
CAL_INLINE bool cal__mark_is_kept(uint32_t mark)
{
    return (mark & (CAL_MARK_LIVE | CAL_MARK_KEPT)) == CAL_MARK_KEPT;
}

/* Ends the life of a slot: returns its mark, which is KEPT now if it was live and else has not changed. Of two
 * frees in two threads one finds the slot live. A process with one thread need not pay for that. */
CAL_INLINE uint32_t cal__slots_claim(struct cal__slots *slots, uint32_t slot)
{
    uint32_t *place = &slots->slab.marks[slot];
    uint32_t mark = cal_slot_mark(&slots->slab, slot);
    if (CAL_LIKELY(__libc_single_threaded && (mark & CAL_MARK_LIVE) != 0)) {
        __atomic_store_n(place, CAL_MARK_KEPT, __ATOMIC_RELAXED);
        return mark;
    }
    while ((mark & CAL_MARK_LIVE) != 0 &&
           !__atomic_compare_exchange_n(place, &mark, CAL_MARK_KEPT, true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
        ;
    return mark;
}

/* The random byte for the next choice, of heap->choices. From CAL_HEAP_CHOICES on there is none, or what says so was
 * overwritten. */
CAL_INLINE uint32_t cal__slots_choice(const struct cal__heap *heap)
{
    return __atomic_load_n(&heap->choices_left, __ATOMIC_RELAXED) - 1;
}

/* One is used. The handler of a signal may fork before and after this, but not amid it: its child says that there are
 * none, which must not be forgotten again. So what was read before is not what is written; less than none is none. */
CAL_INLINE void cal__slots_count_choice(struct cal__heap *heap)
{
#ifdef __x86_64__
    /* One instruction, though it is not locked. */
    __asm__ volatile("decl %0" : "+m"(heap->choices_left) : : "cc");
#else
    __atomic_fetch_sub(&heap->choices_left, 1, __ATOMIC_RELAXED);
#endif
}

/* Makes one of the slots of `word`, which is that of slots->word, the next, by chance; there is one. A random byte, that
 * AT heap->choices, turns the part of the word that has free slots; the lowest bit that is set then is the choice. That
 * it is known a while before lets its memory be fetched meanwhile: blocks chosen by chance are seldom in the cache. */
CAL_INLINE void cal__slots_choose_next(struct cal__slots *slots, struct cal__heap *heap,
                                       uint64_t word, uint32_t at)
{
    unsigned lowest = (unsigned)__builtin_ctzll(word);
    unsigned length = ((unsigned)__builtin_clzll(word) ^ 63) + 1 - lowest;
    unsigned turn = lowest + heap->choices[at] * length / 256;
    cal__slots_count_choice(heap);
    heap->choices[at] = 0;
    uint64_t turned = word >> turn | word << ((64 - turn) & 63);
    uint32_t next = slots->word * 64 + (((unsigned)__builtin_ctzll(turned) + turn) & 63);
    slots->next = next;
    __builtin_prefetch(&slots->slab.marks[next], 1);
    __builtin_prefetch((char *)slots->slab.first + next * slots->slab.block_size, 1);
}

/* Takes the slot that was chosen last time, and chooses the next one. CAL_SLOT_ANY, and nothing is done, where that is
 * more than to choose among the word's. */
CAL_INLINE uint32_t cal__slots_take_next(struct cal__slots *slots, struct cal__page *page,
                                         struct cal__heap *heap)
{
    uint32_t slot = slots->next, at_hand = slots->at_hand - 1;
    /* Where there is no next any word will do. */
    uint64_t *place = &slots->slab.free_slots[slots->word];
    uint64_t word = *place & ~((uint64_t)1 << slot % 64);
    uint32_t choice = cal__slots_choice(heap);
    if (CAL_UNLIKELY(slot == CAL_SLOT_ANY || at_hand <= slots->few || word == 0 ||
                     choice >= CAL_HEAP_CHOICES))
        return CAL_SLOT_ANY;
    page->countdown++;
    heap->taken[page->size_class]++;
    *place = word;
    slots->at_hand = at_hand;
    cal__slots_choose_next(slots, heap, word, choice);
    return slot;
}

CAL_INLINE struct cal__page *cal__slots_page(const struct cal__slots *slots)
{
    return cal__link_follow(slots->page.word, slots);
}

/* As cal__page_slots() of a page of CAL_PAGE_SLOTS while the role is played, where instructions are counted: what is
 * above CAL_SLOTS_LAST is no record. */
CAL_INLINE uint64_t cal__slots_address(const struct cal__page *page)
{
    return atomic_load_explicit(&page->slots, memory_order_acquire) *
           CAL_PLAIN_LOAD(cal__sealed.decode);
}
#define CAL_SLOTS_LAST (cal__sealed.last)

/* A claimed slot is free: it goes back to its page, and that to whom it belongs. */
void cal__slots_give(struct cal__slots *slots, uint32_t slot);

/* In the child of a fork, for a page whose owner does not exist there: free is what its entries say.
 * Returns how many slots are not. */
uint32_t cal__slots_rebuild(struct cal__page *page);

/* A page of slots that is the calling thread's gets one back. */
CAL_INLINE void cal__slots_put_own(struct cal__slots *slots, struct cal__page *page, uint32_t slot)
{
    cal__slots_put(slots, slot);
    if (CAL_UNLIKELY(--page->countdown == 0))
        cal__heap_page_event(page);
}

/* Slots that the program holds. */
uint32_t cal__slots_live(const struct cal__slots *slots);

void cal__slots_lock(void);
void cal__slots_unlock(bool in_child);

/* The record of a page in use, if there is one. */
CAL_INLINE struct cal__slots *cal__slots_of(const struct cal__page *page)
{
    bool may =
        page->kind == CAL_PAGE_SLOTS || page->kind == CAL_PAGE_RUN || page->kind == CAL_PAGE_HUGE;
    return may ? cal__page_slots(page) : NULL;
}

/* The slot that starts at BLOCK, or CAL_SLOT_ANY when none does: what is above the product of
 * cal__is_start() is the quotient. */
CAL_INLINE uint32_t cal__slots_index(const struct cal__slots *slots, const void *block)
{
    uint64_t offset = (uint64_t)((const char *)block - (const char *)slots->slab.first);
    unsigned __int128 product = (unsigned __int128)offset * slots->factor;
    uint64_t slot = (uint64_t)(product >> 64);
    return slot < slots->slab.slots && (uint64_t)product < slots->factor ? (uint32_t)slot
                                                                         : CAL_SLOT_ANY;
}

CAL_INLINE void *cal__slots_block(const struct cal__slots *slots, uint32_t slot)
{
    return (char *)slots->slab.first + slot * slots->slab.block_size;
}

#endif
