/* The live blocks by their address: who allocated them, how large, and when. */
#ifndef CAL_TRACK_BLOCKS_H
#define CAL_TRACK_BLOCKS_H

#include "base.h"
#include "nodes.h"

enum { CAL_BLOCK_TIME_BITS = 64 - CAL_SITE_BITS };
#define CAL_BLOCK_TIME_MASK ((UINT64_C(1) << CAL_BLOCK_TIME_BITS) - 1)
#define CAL_BLOCK_SIZE_MAX  ((UINT64_C(1) << 47) - 1)

struct cal__block {
    uint64_t size; /* asked for */
    uint64_t time; /* in the caller's unit, modulo 2^CAL_BLOCK_TIME_BITS */
    uint32_t site;
    bool counted; /* is a block of the program's that is recorded */
    bool watched; /* the caller wants to know of its end */
};

/* A block as it is kept, in two words, for who has one at each allocation and free. */
struct cal__entry {
    uint64_t origin; /* site and time */
    uint64_t facts;  /* 0: there is none */
};

#define CAL_ENTRY_COUNTED (UINT64_C(1) << 62)
#define CAL_ENTRY_WATCHED (UINT64_C(1) << 61)

CAL_INLINE uint64_t cal__entry_origin(uint32_t site, uint64_t time)
{
    return (time & CAL_BLOCK_TIME_MASK) | (uint64_t)site << CAL_BLOCK_TIME_BITS;
}

CAL_INLINE struct cal__block cal__entry_block(struct cal__entry entry)
{
    return (struct cal__block){
        .size = entry.facts & CAL_BLOCK_SIZE_MAX,
        .time = entry.origin & CAL_BLOCK_TIME_MASK,
        .site = (uint32_t)(entry.origin >> CAL_BLOCK_TIME_BITS),
        .counted = (entry.facts & CAL_ENTRY_COUNTED) != 0,
        .watched = (entry.facts & CAL_ENTRY_WATCHED) != 0,
    };
}

enum cal__put { CAL_PUT_NEW, CAL_PUT_OVER, CAL_PUT_FAILED };

/* Whether TIME comes before ANOTHER, as far as numbers that begin anew after days can tell: what is ahead by more than some
 * minutes is behind. */
CAL_INLINE bool cal__time_is_before(uint64_t time, uint64_t another)
{
    return ((time - another) & CAL_BLOCK_TIME_MASK) > CAL_BLOCK_TIME_MASK >> 10;
}

/* From the allocation of a block until it is freed no two threads call these for it at the same time. All are
 * lock-free, but where a block is put in the place of one whose end was overlooked. USABLE is of the block. CAL_PUT_OVER: it was there, and what it was is in OLD. */
enum cal__put cal__blocks_put(const void *address, size_t usable, const struct cal__block *block,
                              struct cal__block *old);

/* The same for a block that is counted and not watched, where nothing has its place, and there is one. False: that is not so,
 * and nothing has happened. */
bool cal__blocks_add(const void *address, size_t usable, uint64_t origin, uint64_t size);

struct cal__entry cal__blocks_take(const void *address);

/* The same for a block that has been freed without being told of, and only if it was recorded before TIME: its address may
 * be given out, and recorded, at this moment. */
struct cal__entry cal__blocks_take_older(const void *address, uint64_t time);

/* False: it is not there. */
bool cal__blocks_get(const void *address, struct cal__block *block);
/* Sets a new size of a block that is there. */
bool cal__blocks_resize(const void *address, size_t size);
/* Has the end of a block watched, whether it is recorded or not. */
void cal__blocks_watch(const void *address);

/* Visits those that are there, by address; others may come and go meanwhile. Until VISIT says false. */
void cal__blocks_each(bool (*visit)(void *address, const struct cal__block *block, void *argument),
                      void *argument);

/* Around a fork. */
void cal__blocks_fork_prepare(void);
void cal__blocks_fork_done(bool in_child);

#endif
