/* Which live blocks nothing points to. */
#ifndef CAL_TRACK_LEAKS_H
#define CAL_TRACK_LEAKS_H

#include "base.h"
#include "format.h"

/* What was found: blocks of one site, kind and size each. */
struct cal__leaks {
    struct cal__file_leak *leaks;
    size_t count;
    size_t mapped; /* bytes of `leaks` */
    struct cal__file_leak_facts facts;
    uint64_t leaked_blocks; /* direct and indirect, and not suppressed */
    uint64_t leaked_bytes;
    uint64_t suppressed_blocks;
    uint64_t suppressed_bytes;
    uint64_t suppressed_kept_blocks; /* not leaked, with stacks that are suppressed */
    uint64_t suppressed_kept_bytes;
    uint64_t live_blocks; /* all */
    uint64_t live_bytes;
};

/* Looks for leaks, with REACHABILITY by stopping all other threads for that time. 0, or -ENOMEM. The calling
 * thread is `busy`. */
int cal__leaks_find(struct cal__leaks *leaks, bool reachability);
void cal__leaks_free(struct cal__leaks *leaks);

#endif
