/* Slots between guard pages: ranges of address space that fault as a whole, of which a part is opened while
 * a block lives there.
 *
 *   | guard | slot 0 | guard | slot 1 | guard | …       slots of 1, 2, 4, … 64 pages
 *   | slot 0 | slot 1 | …                               slots of 16 to 65536 bytes, never opened
 *
 * What is known of slots and ranges is in memory of its own, with guard pages around it, and never in the
 * ranges. Slots of one size are one pool: first those that were never used are handed out, then the one
 * that was freed longest ago, if at least `rest` others were freed after it; else there is a new range. So
 * ranges stay for ever: their address space costs page tables and a record of 16 bytes for each slot.
 *
 * A pool has a latch, which is held for some instructions, or while a range is mapped. What becomes of
 * a slot between take and give is the business of who holds it: see its state. */
#ifndef CAL_POOL_H
#define CAL_POOL_H

#include <stdatomic.h>

#include <calloc/hooks.h>

#include "base.h"
#include "canary.h"
#include "guard.h"
#include "latch.h"
#include "report.h"

/* Who changes the state from LIVE to BUSY ends the life of a block; from LIVE to HELD, keeps it alive for a
 * moment. */
enum cal__slot_state {
    CAL_SLOT_STATE_FRESH = 0, /* never used */
    CAL_SLOT_STATE_LIVE,
    CAL_SLOT_STATE_HELD, /* live, and somebody looks at its canary */
    CAL_SLOT_STATE_BUSY, /* on its way between live and freed */
    CAL_SLOT_STATE_FREED,
};

struct cal__slot {
    uint32_t next; /* in the queue of the pool, encoded */
    _Atomic uint32_t requested;
    _Atomic uint32_t offset; /* of the block, from the start of the slot */
    _Atomic uint8_t state;
    uint8_t kind;
    uint16_t unused;
};

_Static_assert(sizeof(struct cal__slot) == 16, "four in a cache line");

struct cal__traces {
    struct cal__frames allocated, freed;
};

enum cal__pool_use {
    CAL_POOL_EMPTY,   /* blocks of size 0 */
    CAL_POOL_OWN,     /* each block */
    CAL_POOL_SAMPLED, /* and those with traces */
};

struct cal__pool;

struct cal__pool_range {
    char *address;
    size_t length;
    char *first;   /* slot 0 */
    size_t stride; /* bytes from one slot to the next */
    size_t room;   /* bytes of a slot; 0 where they are never opened */
    uint32_t slots;
    uint32_t number;
    _Atomic uint32_t used; /* slots that were ever handed out: the first ones */
    enum cal__guard guard;
    struct cal__pool *pool;
    struct cal__slot *records;
    struct cal__traces *traces; /* or NULL */
    struct cal__pool_range *next_empty;
    struct cal__canary_key key;
    uint64_t sum; /* of all of the above but `used` and `next_empty` */
    _Atomic size_t live, live_bytes, allocations, allocated_bytes;
};

/* Bytes of the kernel's page; after cal__pool_start(). */
extern size_t cal__pool_page;

void cal__pool_start(void);

/* A pool for blocks of size 0 of an alignment, a power of two; NULL where there is none for it. */
struct cal__pool *cal__pool_empty(size_t alignment);
/* A pool for slots of BYTES, or NULL. One and the same for all from half of that on. GUARD is how its
 * ranges are guarded. */
struct cal__pool *cal__pool_pages(size_t bytes, bool sampled, enum cal__guard guard);

/* A slot that is the caller's, in no state or in CAL_SLOT_STATE_FREED; NULL, if there is no memory or the
 * budget of guards does not allow one. It reads as zeros once it is opened. Thread-safe. */
struct cal__slot *cal__pool_take(struct cal__pool *pool, struct cal__pool_range **range);

/* Ends the process if what is known of a range is not what it was. */
void cal__pool_check(const struct cal__pool_range *range);

/* Puts it at the end of the queue. Thread-safe. */
void cal__pool_give(struct cal__pool_range *range, struct cal__slot *slot);

CAL_INLINE uint32_t cal__pool_index(const struct cal__pool_range *range,
                                    const struct cal__slot *slot)
{
    return (uint32_t)(slot - range->records);
}

CAL_INLINE char *cal__pool_slot(const struct cal__pool_range *range, uint32_t index)
{
    return range->first + index * range->stride;
}

/* The range that an address lies in, guard pages included, or NULL. Takes no lock. */
struct cal__pool_range *cal__pool_find(const void *address);

/* The ranges there are, by their number; NULL from the last on. Takes no lock. */
struct cal__pool_range *cal__pool_number(uint32_t number);

/* 0 to LIMIT - 1, unforeseeable. Thread-safe. */
uint64_t cal__pool_random(uint64_t limit);

/* Around a fork, in the parent and, with IN_CHILD, in the child. */
void cal__pool_lock(void);
void cal__pool_unlock(bool in_child);

#endif
