/* A quarantine: freed blocks wait here for a time that nobody can foresee, so that a dangling pointer
 * does not find a new block at once and a second free finds the first.
 *
 * Two stages, after hardened_malloc: a new entry takes a random place among RANDOM ones, and what was
 * there goes to the end of a queue. With blocks of one size the time in the quarantine, counted in
 * frees, is the length of the queue and a geometrically distributed number with the mean RANDOM.
 * How much is kept is counted in bytes: the queue is as long as the limit allows.
 *
 *   bytes = sum of the sizes of all entries,  bytes <= limit  when nothing is left to pop
 *   0 <= waiting <= random,  0 <= queued <= queue;  queued > 0 => waiting was `random` before
 *
 * An entry is a word: the address in units of 16 bytes, below its size in units of 16 bytes; and the difference
 * of that from a secret, if there is one.
 *
 * Nothing here allocates, locks or makes system calls, and all but the initialisation takes constant
 * time. One caller at a time: a quarantine for each thread, or a latch around it. In the child of a
 * fork it is what it was in the parent, if nobody was changing it. */
#ifndef CAL_QUARANTINE_H
#define CAL_QUARANTINE_H

#include "base.h"
#include "random.h"

enum {
    CAL_QUARANTINE_ADDRESS_BITS = CAL_ADDRESS_BITS - 4,
    CAL_QUARANTINE_PLACES_MAX = 65536,
};

/* The largest block that an entry has room for: just less than 16 MiB. */
#define CAL_QUARANTINE_BLOCK_MAX ((((size_t)1 << (64 - CAL_QUARANTINE_ADDRESS_BITS)) - 1) << 4)

struct cal__quarantine {
    size_t bytes;
    size_t limit;
    size_t largest; /* no larger block is taken: it would send all others home */
    uint32_t waiting;
    uint32_t random;
    uint32_t queued;
    uint32_t queue;    /* a power of two */
    uint32_t first;    /* of the queue, modulo its length */
    uint64_t *entries; /* `random` places, then `queue` */
    uint64_t secret;   /* 0 at first; to be set before anything is pushed */
};

struct cal__quarantined {
    void *block;
    size_t size;
};

/* Bytes of memory for so many places. */
CAL_INLINE size_t cal__quarantine_memory(uint32_t random, uint32_t queue)
{
    return sizeof(uint64_t) * ((size_t)random + queue);
}

/* MEMORY has cal__quarantine_memory() bytes, aligned to 8, and stays the caller's; what is in it does not
 * matter. LIMIT in bytes. RANDOM is 1 to CAL_QUARANTINE_PLACES_MAX, QUEUE a power of two up to that.
 * False, and nothing has changed, if they are not. */
bool cal__quarantine_initialize(struct cal__quarantine *quarantine, void *memory, uint32_t random,
                                uint32_t queue, size_t limit);

CAL_INLINE uint64_t cal__quarantine_entry(const void *block, size_t size)
{
    return (uintptr_t)block >> 4 | (uint64_t)(size >> 4) << CAL_QUARANTINE_ADDRESS_BITS;
}

CAL_INLINE size_t cal__quarantine_size_of(uint64_t entry)
{
    return (size_t)(entry >> CAL_QUARANTINE_ADDRESS_BITS) << 4;
}

/* A block of SIZE bytes, both multiples of 16, SIZE not 0. False if it is not taken because it is larger
 * than an eighth of the limit, or CAL_QUARANTINE_BLOCK_MAX: then it is the caller's to release. After
 * each call cal__quarantine_pop() has to be called until it has no more. */
CAL_INLINE bool cal__quarantine_push(struct cal__quarantine *quarantine, struct cal__random *random,
                                     void *block, size_t size)
{
    if (CAL_UNLIKELY(size > quarantine->largest))
        return false;
    uint64_t *waiting = quarantine->entries;
    uint64_t entry = cal__quarantine_entry(block, size) ^ quarantine->secret;
    quarantine->bytes += size;
    if (CAL_UNLIKELY(quarantine->waiting < quarantine->random)) {
        waiting[quarantine->waiting++] = entry;
        return true;
    }
    uint64_t *place = &waiting[cal__random_below_small(random, quarantine->random)];
    uint64_t *queue = waiting + quarantine->random;
    queue[(quarantine->first + quarantine->queued++) & (quarantine->queue - 1)] = *place;
    *place = entry;
    return true;
}

CAL_INLINE bool cal__quarantine_leave(struct cal__quarantine *quarantine, uint64_t entry,
                                      struct cal__quarantined *out)
{
    entry ^= quarantine->secret;
    uint64_t units = entry & ((UINT64_C(1) << CAL_QUARANTINE_ADDRESS_BITS) - 1);
    out->block = (void *)(uintptr_t)(units << 4);
    out->size = cal__quarantine_size_of(entry);
    quarantine->bytes -= out->size;
    return true;
}

CAL_INLINE bool cal__quarantine_pop_queue(struct cal__quarantine *quarantine,
                                          struct cal__quarantined *out)
{
    uint64_t *place = &quarantine->entries[quarantine->random + quarantine->first];
    quarantine->first = (quarantine->first + 1) & (quarantine->queue - 1);
    quarantine->queued--;
    return cal__quarantine_leave(quarantine, *place, out);
}

/* One of those that wait, but what was pushed last only where that is alone; there is one. */
bool cal__quarantine_pop_waiting(struct cal__quarantine *quarantine, struct cal__random *random,
                                 struct cal__quarantined *out);

/* Whether the time of a block has come: there are more bytes than the limit, or the queue is full. */
CAL_INLINE bool cal__quarantine_is_due(const struct cal__quarantine *quarantine)
{
    /* A push finds room for one more. */
    return quarantine->bytes > quarantine->limit || quarantine->queued >= quarantine->queue;
}

/* The next block whose time has come, if there is one. With blocks of one size that is one for each push; after a
 * large one it may be many. */
CAL_INLINE bool cal__quarantine_pop(struct cal__quarantine *quarantine, struct cal__random *random,
                                    struct cal__quarantined *out)
{
    if (!cal__quarantine_is_due(quarantine))
        return false;
    if (CAL_LIKELY(quarantine->queued != 0))
        return cal__quarantine_pop_queue(quarantine, out);
    return cal__quarantine_pop_waiting(quarantine, random, out);
}

/* Of the first block in the queue, which is not empty. */
CAL_INLINE size_t cal__quarantine_first_size(const struct cal__quarantine *quarantine)
{
    return cal__quarantine_size_of(quarantine->entries[quarantine->random + quarantine->first] ^
                                   quarantine->secret);
}

/* Any block, until there is none: when a thread ends, memory is short, or all is to be looked at. */
bool cal__quarantine_drain(struct cal__quarantine *quarantine, struct cal__quarantined *out);

#endif
