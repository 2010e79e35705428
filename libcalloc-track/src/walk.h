/* The stack of the calling thread as a node, by way of its last one. */
#ifndef CAL_TRACK_WALK_H
#define CAL_TRACK_WALK_H

#include "base.h"

struct cal__walk_entry;
struct cal__walk_word;

/* Nodes that were found, by hash: looking them up in the table of all is a miss of the cache or two each. */
enum { CAL_WALK_FOUND = 4096 };

struct cal__walk_found {
    uint64_t node; /* parent << 32 | frame */
    uint64_t number;
};

/* A thread's last stack. All zeros to begin with. */
struct cal__walk {
    struct cal__walk_entry *kept;  /* the outermost first */
    struct cal__walk_entry *fresh; /* of a walk under way, the innermost first */
    struct cal__walk_word *words;  /* what makes the kept frames those they are, in their order */
    struct cal__walk_found *found; /* NULL: no memory */
    const struct cal__walk_entry *innermost; /* of the kept ones; NULL: there are none */
    uint32_t kept_count;
    uint32_t capacity; /* of each */
    uint32_t limit;    /* frames that are walked at most; the outer ones are left out then */
    uint32_t epoch;
    uintptr_t stack_end; /* above the frames of the thread's own stack; 0: not looked at yet */
};

enum { CAL_WALK_DEPTH_MAX = 1 << 16 };

/* Makes libgcc's unwinder ready, which initialises itself at its first use; in a program that is linked statically
 * that is done when constructors run, and stacks are unknown until then. */
void cal__walk_start(void);

/* The node of the caller's stack, which begins at the first frame outside of the allocator; CAL_NODE_UNKNOWN
 * where there is nothing. Takes no lock but to add nodes and rows that are new. */
uint32_t cal__walk_stack(struct cal__walk *walk);

/* The last stack is none of the next one's. */
CAL_INLINE void cal__walk_forget(struct cal__walk *walk)
{
    walk->kept_count = 0;
    walk->innermost = NULL;
}

void cal__walk_end(struct cal__walk *walk);

/* For tests: the return addresses of the caller's stack, without looking at the last one; the count. */
size_t cal__walk_plain(uintptr_t *addresses, size_t count);

#endif
