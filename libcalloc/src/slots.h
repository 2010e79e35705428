/* Slabs whose free slots are known apart from them, for the add-on that plays the role slots.
 *
 * While there is one, heaps make pages of CAL_PAGE_SLOTS where they made slabs with lists. The pages go
 * the same ways (heap.c, remote.c); what differs is in `struct cal__slots`, in metadata: the bitmap of
 * free slots, which is the owner's, and an entry for each slot, which says what the slot is and links
 * it while it is in page->remote.
 *
 *     NEVER ──┬─▶ LIVE ──▶ KEPT ──┬──────────────────────▶ FREED ─▶ LIVE …
 *     FREED ──┘  take     claim   │ own thread: put          ▲
 *                                 └─▶ linked, in `remote` ───┘ owner collects
 *
 * A claim is a compare-and-swap, so of two frees of a slot one is found out, whoever makes them. The
 * entries alone say what is free: a forked child makes the bitmap of pages without an owner anew.
 *
 * What is freed rests in a second bitmap until the slots at hand are used up, so that no block is used
 * again at once, and of a slab that is hardly used only the first part, `reach`, is cut: memory that was
 * never handed out costs nothing.
 *
 * A large block that was asked for while the role is played has a record of one slot in its page. */
#ifndef CAL_SLOTS_H
#define CAL_SLOTS_H

#include <calloc/hooks.h>

#include "heap.h"

enum cal__slot_entry {
    CAL_SLOT_NEVER, /* was never handed out */
    CAL_SLOT_FREED,
    CAL_SLOT_LIVE,
    CAL_SLOT_KEPT,     /* freed, and the add-on may keep it */
    CAL_SLOT_WITHHELD, /* the add-on never wants it handed out */
    CAL_SLOT_LAST,     /* in page->remote, the last there ... */
    CAL_SLOT_LINK,     /* ... or this plus the number of the next */
};

struct cal__slots {
    struct cal_slab slab; /* what the add-on sees */
    struct cal__page *page;
    struct cal__slots *next_unused;
    unsigned shelf;      /* where it waits for its next use */
    uint32_t first_word; /* of free_slots: those before it are zero */
    uint32_t at_hand;    /* bits in free_slots */
    uint32_t few;        /* when there are no more at hand, others are let in */
    uint32_t rest;       /* bits in `resting` */
    uint32_t last_freed; /* the slot that rests longest, if it rests */
    uint32_t reach;      /* slots from the first on that were at hand ever */
    uint32_t word;       /* of free_slots: where random choices are made */
    uint64_t choices;    /* random bits, to be used from the lowest */
    uint32_t choices_left;
    uint64_t *resting; /* free again, and not at hand yet */
    uint64_t factor;   /* which offsets start a slot (size_class.h) */
    _Atomic uint16_t *entry;
};

_Static_assert(offsetof(struct cal__slots, slab) == 0, "one pointer for both");
_Static_assert(CAL_SLOT_LINK + CAL_GRANULE / CAL_ALIGNMENT <= UINT16_MAX,
               "an entry holds any link");

/* The role, complete but for NULLs; NULL while nobody plays it. */
const struct cal_slots *cal__slots_role(void);
/* Bytes that a block of a slab needs on top, as a table says that may be older; 0 for NULL. */
#define CAL_SLOTS_EXTRA_MAX 4096
size_t cal__slots_extra_of(const struct cal_slots *role);
/* From now on ROLE is played, of which only so much is read as its size says; for ever. */
void cal__slots_play(const struct cal_slots *role);

/* Makes a fresh page of SLOTS, whose block size is set, one with free slots. False without memory. */
bool cal__slots_open(struct cal__page *page);
/* The page is about to be released. */
void cal__slots_close(struct cal__page *page);

/* A block of HEAP's current page; NULL when it has none. *SLOT: which of the page's. */
void *cal__slots_take(struct cal__heap *heap, struct cal__page *page, uint32_t *slot);
/* The slot is free; the counts are the caller's business. Only by the owner, or for a page without
 * one under the lock for those. */
void cal__slots_put(struct cal__slots *slots, uint32_t slot);

/* For lists of slots outside their pages: what follows BLOCK, or NULL. */
void *cal__slots_next(const struct cal__page *page, const void *block);
void cal__slots_set_next(struct cal__page *page, void *block, const void *next);

/* A block by itself for CALL, of SIZE bytes with what the role adds. *ZEROED as in large.h. */
void *cal__slots_large(size_t size, const struct cal_call *call, bool *zeroed);

CAL_INLINE unsigned cal__slots_entry(const struct cal__slots *slots, uint32_t slot)
{
    return atomic_load_explicit(&slots->entry[slot], memory_order_acquire);
}

/* Changes an entry from what it must be; else returns what it was instead. */
CAL_INLINE unsigned cal__slots_claim(struct cal__slots *slots, uint32_t slot, unsigned from,
                                     unsigned to)
{
    uint16_t expected = (uint16_t)from;
    atomic_compare_exchange_strong_explicit(&slots->entry[slot], &expected, (uint16_t)to,
                                            memory_order_acq_rel, memory_order_acquire);
    return expected;
}

/* A claimed slot is free: it goes back to its page, and that to whom it belongs. */
void cal__slots_give(struct cal__slots *slots, uint32_t slot);

/* In the child of a fork, for a page whose owner does not exist there: free is what its entries say.
 * Returns how many slots are not. */
uint32_t cal__slots_rebuild(struct cal__page *page);

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
