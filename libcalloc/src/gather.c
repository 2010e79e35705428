#include "gather.h"

#include "metadata.h"

/* A chain is as long as makes the cost of sending it small, but holds no more than this back. */
#define CHAIN_BLOCKS 32
#define CHAIN_BYTES  4096
/* Blocks above gain little: what their user does with them costs more. */
#define BLOCK_MAX CAL_SMALL_MAX
/* A thread gets a table when it has freed so many blocks of others. */
#define TABLE_AFTER 32

static struct cal__gather none;
__thread struct cal__gather *cal__thread_gather = &none;

void cal__gather_send(struct cal__chain *chain)
{
    void *first = atomic_load_explicit(&chain->first, memory_order_relaxed);
    uint32_t count = chain->length - chain->room;
    chain->room = chain->length;
    /* Before they are sent, not after: a forked child must not find them twice. */
    atomic_store_explicit(&chain->first, NULL, memory_order_relaxed);
    cal__remote_push(cal__map_find(cal__granule_of(first)), first, chain->last, count);
}

/* The calling thread's own table, or NULL. */
static struct cal__gather *table(void)
{
    struct cal__gather *gather = cal__thread_gather;
    if (CAL_LIKELY(gather != &none))
        return gather;
    struct cal__heap *heap = cal__thread_heap;
    if (heap == &cal__heap_empty || ++heap->strays < TABLE_AFTER)
        return NULL;
    if (heap->gather == NULL) {
        gather = cal__metadata_allocate(sizeof *gather);
        atomic_store_explicit(&heap->gather, gather, memory_order_release);
    }
    gather = atomic_load_explicit(&heap->gather, memory_order_relaxed);
    if (gather != NULL)
        cal__thread_gather = gather;
    return gather;
}

static CAL_NOINLINE void begin(struct cal__chain *chain, const struct cal__page *page,
                               uint64_t origin)
{
    if (atomic_load_explicit(&chain->first, memory_order_relaxed) != NULL)
        cal__gather_send(chain);
    uint32_t length = CHAIN_BYTES / page->block_size;
    chain->length = chain->room = length < CHAIN_BLOCKS ? length : CHAIN_BLOCKS;
    chain->granule = cal__page_first(page);
    chain->factor = page->factor;
    chain->origin = origin;
}

void cal__gather_consider(struct cal__page *page)
{
    uint64_t origin = CAL_PLAIN_LOAD(page->origin);
    if (page->block_size > BLOCK_MAX || origin == CAL_ORIGIN_NOBODY)
        return;
    struct cal__gather *gather = table();
    if (gather == NULL)
        return;
    unsigned place = cal__gather_place(cal__granule_of(cal__page_start(page)));
    if (gather->turned_away[place] == origin)
        begin(&gather->chain[place], page, origin);
    gather->turned_away[place] = origin;
}

void cal__gather_send_all(struct cal__heap *heap)
{
    struct cal__gather *gather = atomic_load_explicit(&heap->gather, memory_order_relaxed);
    if (gather == NULL || gather->begun == 0)
        return;
    uint64_t begun = gather->begun;
    gather->begun = 0;
    for (; begun != 0; begun &= begun - 1) {
        struct cal__chain *chain = &gather->chain[__builtin_ctzll(begun)];
        if (atomic_load_explicit(&chain->first, memory_order_relaxed) != NULL)
            cal__gather_send(chain);
    }
}

void cal__gather_end(struct cal__heap *heap)
{
    cal__gather_send_all(heap);
    cal__thread_gather = &none;
}

void cal__gather_inherit(struct cal__heap *heap)
{
    struct cal__gather *gather = atomic_load_explicit(&heap->gather, memory_order_relaxed);
    for (unsigned i = 0; gather != NULL && i < CAL_GATHER_CHAINS; i++) {
        struct cal__chain *chain = &gather->chain[i];
        void *first = atomic_load_explicit(&chain->first, memory_order_acquire);
        /* The links are whole; what is counted may be one behind them. */
        uint32_t count = 0;
        for (void *block = first; block != NULL; block = cal__block_next(block)) {
            chain->last = block;
            count++;
        }
        chain->length = count;
        chain->room = 0;
        chain->origin = 0;
        if (first != NULL)
            cal__gather_send(chain);
    }
}

void *cal__gather_first(const struct cal__heap *heap, const struct cal__page *page)
{
    struct cal__gather *gather = atomic_load_explicit(&heap->gather, memory_order_acquire);
    const void *start = cal__page_start(page);
    if (gather == NULL)
        return NULL;
    uint64_t granule = cal__granule_of(start);
    const struct cal__chain *chain = &gather->chain[cal__gather_place(granule)];
    void *first = atomic_load_explicit(&chain->first, memory_order_acquire);
    return cal__granule_of(first) == granule ? first : NULL;
}
