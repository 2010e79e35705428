/* Blocks with pages of their own between guard pages, as an owner of the core:
 *
 *   those of size 0 (zero_size_faults), 16 bytes apart, or as far as their alignment, in ranges that
 *   fault;
 *   each (own_pages) of up to 128 KiB;
 *   some of them (sample), with where they were allocated and freed.
 *
 * A block ends at its guard page but for at most 15 bytes of canary, or as many as its alignment asks for;
 * what the pages of a block have before it is to stay zero. A freed block faults as a whole until its
 * slot is used again, see pool.h. In locked memory, where the kernel makes no guards of pages in use, it
 * reads as zeros instead. The pages of a block are given back when it is freed, and no block is
 * ever handed out twice without fresh ones.
 *
 * Errors of the program are reported here, with what the settings say follows: to the core a freed block is
 * fine in any case. What is not served for lack of memory or guards is left to the core. */
#ifndef CAL_PAGES_H
#define CAL_PAGES_H

#include <calloc/hooks.h>

#include "base.h"
#include "hardened.h"
#include "report.h"
#include "settings.h"

/* Before the owner is registered, and after cal__guard_start(). SETTINGS stays. */
void cal__pages_start(const struct cal__settings *settings);

/* Complete once cal__pages_start() has seen the settings. Where none of the three is due, claim() is ten
 * instructions, and a word of the thread's. */
#define cal__pages_owner (cal__hardened.owner)

/* Around a fork: in fork_prepare, and in fork_parent or fork_child. */
void cal__pages_lock(void);
void cal__pages_unlock(bool in_child);

enum cal__pages_place {
    CAL_PAGES_FOREIGN = 0, /* not in a range of these */
    CAL_PAGES_NO_BLOCK,    /* in one, and in no live block; of size 0: not at its start */
    CAL_PAGES_LIVE,
};

struct cal__pages_block {
    const void *block;
    size_t requested;
};

/* Which live block ADDRESS points into, at its start or elsewhere. FOUND, which may be NULL, is filled in if
 * there is one. Thread-safe, takes no lock, safe in signal handlers. */
enum cal__pages_place cal__pages_find(const void *address, struct cal__pages_block *found);

/* Looks at all live blocks; how many are damaged, each of which is reported. Blocks may be allocated and
 * freed meanwhile. */
size_t cal__pages_validate(void);

struct cal__pages_totals {
    struct {
        size_t live;
        size_t live_bytes;
        size_t allocations; /* ever */
        size_t ranges;
        size_t reserved; /* bytes of address space */
    } empty, own, sampled;
};

/* Exact when no other thread allocates. */
void cal__pages_totals(struct cal__pages_totals *totals);

/* For a fault at ADDRESS: fills in the report, and says whether it has to do with a block of these: in one
 * that is free, or in a guard page, and then it is the nearest block. Safe in signal handlers. */
bool cal__pages_explain(const void *address, struct cal__report *report);

#endif
