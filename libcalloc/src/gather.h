/* Frees of other threads' blocks, gathered by page, so that they go home many at a time.
 *
 * A chain holds blocks of one page. It is begun when two frees in a row met the page in its place of
 * the table, and is sent home when it is long enough, when another page takes its place, now and then
 * when its thread refills a list (CAL_TICKS), and when the thread ends. Its blocks count as used in their page until
 * then, so the page cannot go away.
 *
 * A chain knows its page by where it is and by what its blocks are. `origin` is what the page had in its
 * own when the chain was begun: as long as that has not changed, the page has its owner, none of its
 * blocks is merged and nobody observes. All that is special changes the origin, and goes the way of
 * single blocks. The origin alone would not do: it is a sum, which pages of two owners can share. */
#ifndef CAL_GATHER_H
#define CAL_GATHER_H

#include "heap.h"
#include "map.h"

/* One for each of as many granules that follow each other. */
#define CAL_GATHER_CHAINS 64

struct cal__chain {
    uint64_t granule; /* of the page that is gathered for */
    uint64_t factor;  /* of its blocks */
    uint64_t origin;  /* 0 at first, which no page of blocks has */
    void *_Atomic first;
    void *last;      /* meaningless when there is no first */
    uint32_t room;   /* blocks that still fit, at least one */
    uint32_t length; /* when full */
};

struct cal__gather {
    struct cal__chain chain[CAL_GATHER_CHAINS];
    uint64_t begun; /* bit i: chain i may have blocks */
    /* For each chain the origin of the page that last took the plain way instead. */
    uint64_t turned_away[CAL_GATHER_CHAINS];
};

/* The thread's table; an empty one that nobody writes to until it has its own. */
extern __thread struct cal__gather *cal__thread_gather __attribute__((tls_model("initial-exec")));

/* Sends the chain home, which has blocks. */
void cal__gather_send(struct cal__chain *chain);

/* The plain way was taken for a block of the page: gathers from now on if that is of use. */
void cal__gather_consider(struct cal__page *page);

/* Sends all chains of the heap's thread home. */
void cal__gather_send_all(struct cal__heap *heap);

/* HEAP's thread, the calling one, ends: the same, and it gathers no more. */
void cal__gather_end(struct cal__heap *heap);

/* In the child of a fork, for a thread that did not come along: sends all chains home. */
void cal__gather_inherit(struct cal__heap *heap);

/* The first of the blocks that HEAP's thread has gathered for the page, or NULL. */
void *cal__gather_first(const struct cal__heap *heap, const struct cal__page *page);

CAL_INLINE unsigned cal__gather_place(uint64_t granule)
{
    return granule % CAL_GATHER_CHAINS;
}

/* True when BLOCK starts a block of a page that the thread gathers for, and was taken. Only pages of
 * one granule are gathered for, so where a block is in its granule says where it is in the page. */
CAL_INLINE bool cal__gather_free(void *block)
{
    const struct cal__page *page = cal__map_candidate(block);
    struct cal__gather *gather = cal__thread_gather;
    uint64_t granule = cal__granule_of(block);
    struct cal__chain *chain = &gather->chain[cal__gather_place(granule)];
    if (granule != chain->granule || CAL_PLAIN_LOAD(page->origin) != chain->origin ||
        cal__page_first(page) != granule || page->factor != chain->factor ||
        !cal__is_start((uintptr_t)block % CAL_GRANULE, page->factor, CAL_PLAIN_LOAD(page->limit)))
        return false;
    void *first = atomic_load_explicit(&chain->first, memory_order_relaxed);
    if (CAL_UNLIKELY(first == block))
        cal__heap_same_twice(block);
    cal__block_set_next(block, first);
    if (first == NULL) {
        chain->last = block;
        gather->begun |= (uint64_t)1 << cal__gather_place(granule);
    }
    /* A forked child follows the chain from here, at any moment. */
    atomic_store_explicit(&chain->first, block, memory_order_release);
    if (CAL_UNLIKELY(--chain->room == 0))
        cal__gather_send(chain);
    return true;
}

#endif
