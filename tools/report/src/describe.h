/* What the outputs have in common to say of a profile. */
#ifndef CAL_REPORT_DESCRIBE_H
#define CAL_REPORT_DESCRIBE_H

#include <profile.h>

/* Words for numbers of the format: "at exit", "by a signal" … "". */
const char *cal__reason_text(uint32_t reason);
/* "slab", "large block", "mapping", "free", "owner's range". */
const char *cal__region_text(uint32_t kind);
/* "direct", "indirect", "not freed" */
const char *cal__leak_text(uint32_t kind);

/* Whether its counts and sums are estimates from samples. */
bool cal__is_estimate(const struct cal__profile *profile);

/* What of a profile limits what it says: the flags of PROCESS, what was lost. Sentences, in new
 * memory, one for each call from `which` = 0 on; NULL: no more. */
char *cal__caveat(const struct cal__profile *profile, unsigned which);

/* Blocks and bytes that are leaked, without those that are suppressed; these; and what is merely not freed,
 * suppressed or not. */
struct cal__leak_sums {
    uint64_t direct_blocks, direct_bytes;
    uint64_t indirect_blocks, indirect_bytes;
    uint64_t not_freed_blocks, not_freed_bytes;
    uint64_t suppressed_blocks, suppressed_bytes;
};

void cal__leak_sum(const struct cal__profile *profile, struct cal__leak_sums *sums);

/* What became of the search for leaks where it found none to tell of: one line, in new memory, such as
 * "No leaks but suppressed ones: 3.0 KiB in 1 block". NULL: there are leaks, or none were looked for. */
char *cal__no_leaks_text(const struct cal__profile *profile);

/* Of the memory that blocks are cut from, what the live ones do not use. */
struct cal__fragmentation {
    uint64_t live_bytes; /* usable bytes of live blocks */
    uint64_t mapped;     /* bytes of the regions they are in */
    uint64_t free_dirty; /* bytes of free regions that still take memory */
};

void cal__fragmentation(const struct cal__profile *profile, struct cal__fragmentation *sums);

#endif
