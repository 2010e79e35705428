/* Nodes never change and never go away, so they are read without a lock: whoever finds a number in a table
 * finds the node complete. Shards are by hash, each with a lock for adding; a table that became too small is
 * replaced and stays for who still reads it. `numbers` and `sites` are taken under one lock each, within
 * a shard's. */
#include "nodes.h"

#include <stdatomic.h>

#include "memory.h"
#include "mutex.h"

enum {
    SHARDS = 64,
    FIRST_SIZE = 128,
    CHUNK = 1 << 14,
    CHUNKS = 1 << 14,
    SITES_CHUNKS = CAL_SITES_MAX / CHUNK,
    NUMBER_BITS = 28
};

_Static_assert((uint64_t)CHUNK *CHUNKS <= UINT64_C(1) << NUMBER_BITS,
               "a number has room for a tag");

struct chunk {
    _Atomic uint64_t nodes[CHUNK]; /* parent << 32 | frame */
    _Atomic uint32_t sites[CHUNK]; /* 0: not yet */
};

struct table {
    uint32_t mask;
    _Atomic uint32_t numbers[]; /* with a tag above; 0: empty */
};

struct shard {
    struct cal__mutex lock;
    uint32_t used;
    struct table *_Atomic table;
} __attribute__((aligned(64)));

static struct shard shards[SHARDS];
static struct chunk *_Atomic chunks[CHUNKS];
static struct cal__mutex numbers_lock;
static _Atomic uint32_t numbers_used;
static struct cal__mutex sites_lock;
static _Atomic uint32_t sites_used = 1;
static _Atomic uint32_t *_Atomic site_nodes[SITES_CHUNKS];

static struct chunk *chunk_of(uint32_t number)
{
    return atomic_load_explicit(&chunks[number / CHUNK], memory_order_relaxed);
}

static uint64_t node_at(uint32_t number)
{
    return atomic_load_explicit(&chunk_of(number)->nodes[number % CHUNK], memory_order_relaxed);
}

/* 0: no memory. */
static uint32_t add(uint64_t node)
{
    cal__mutex_acquire(&numbers_lock);
    uint32_t number = atomic_load_explicit(&numbers_used, memory_order_relaxed);
    struct chunk *chunk = NULL;
    if (number < (uint32_t)CHUNK * CHUNKS) {
        chunk = chunk_of(number);
        if (chunk == NULL)
            chunk = cal__memory_map(sizeof *chunk);
    }
    if (chunk != NULL) {
        atomic_store_explicit(&chunks[number / CHUNK], chunk, memory_order_relaxed);
        atomic_store_explicit(&chunk->nodes[number % CHUNK], node, memory_order_relaxed);
        atomic_store_explicit(&numbers_used, number + 1, memory_order_release);
    }
    cal__mutex_release(&numbers_lock);
    return chunk == NULL ? 0 : number;
}

bool cal__nodes_start(void)
{
    if (cal__nodes_count() != 0)
        return true;
    add(CAL_FILE_NONE);
    return add(CAL_FILE_NONE) == CAL_NODE_UNKNOWN;
}

static uint64_t hash(uint64_t node)
{
    node = (node ^ node >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return node ^ node >> 32;
}

/* Of a number in a table: bits of the hash that are no part of the place, so that few nodes are looked at in vain,
 * which are rarely in the cache. */
CAL_INLINE uint32_t tag_of(uint64_t hashed)
{
    return (uint32_t)(hashed >> 32) & ~((UINT32_C(1) << NUMBER_BITS) - 1);
}

CAL_INLINE uint32_t without_tag(uint32_t tagged)
{
    return tagged & ((UINT32_C(1) << NUMBER_BITS) - 1);
}

/* 0: it is not in the table. */
static uint32_t look_up(const struct table *table, uint64_t node, uint64_t hashed)
{
    if (table == NULL)
        return 0;
    for (uint64_t i = hashed / SHARDS;; i++) {
        uint32_t tagged =
            atomic_load_explicit(&table->numbers[i & table->mask], memory_order_acquire);
        uint32_t number = without_tag(tagged);
        if (tagged == 0 || (tagged - number == tag_of(hashed) && node_at(number) == node))
            return number;
    }
}

static void insert(struct table *table, uint32_t number, uint64_t hashed)
{
    uint64_t i = hashed / SHARDS;
    while (atomic_load_explicit(&table->numbers[i & table->mask], memory_order_relaxed) != 0)
        i++;
    atomic_store_explicit(&table->numbers[i & table->mask], number | tag_of(hashed),
                          memory_order_release);
}

/* Under the lock: makes room for one more. */
static bool grow(struct shard *shard)
{
    struct table *old = atomic_load_explicit(&shard->table, memory_order_relaxed);
    uint32_t size = old == NULL ? 0 : old->mask + 1;
    if (shard->used * 2 < size)
        return true;
    uint32_t wanted = size == 0 ? FIRST_SIZE : size * 2;
    struct table *table = cal__memory_take(sizeof *table + wanted * sizeof table->numbers[0]);
    if (table == NULL)
        return false;
    table->mask = wanted - 1;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t number = without_tag(atomic_load_explicit(&old->numbers[i], memory_order_relaxed));
        if (number != 0)
            insert(table, number, hash(node_at(number)));
    }
    atomic_store_explicit(&shard->table, table, memory_order_release);
    return true;
}

static CAL_COLD uint32_t find_or_add(struct shard *shard, uint64_t node, uint64_t hashed)
{
    cal__mutex_acquire(&shard->lock);
    uint32_t number =
        look_up(atomic_load_explicit(&shard->table, memory_order_relaxed), node, hashed);
    if (number == 0 && grow(shard) && (number = add(node)) != 0) {
        insert(atomic_load_explicit(&shard->table, memory_order_relaxed), number, hashed);
        shard->used++;
    }
    cal__mutex_release(&shard->lock);
    return number;
}

uint32_t cal__nodes_find(uint32_t parent, uint32_t frame)
{
    uint64_t node = (uint64_t)parent << 32 | frame, hashed = hash(node);
    struct shard *shard = &shards[hashed % SHARDS];
    uint32_t number =
        look_up(atomic_load_explicit(&shard->table, memory_order_acquire), node, hashed);
    if (CAL_UNLIKELY(number == 0))
        number = find_or_add(shard, node, hashed);
    return CAL_LIKELY(number != 0) ? number : parent;
}

uint32_t cal__nodes_count(void)
{
    return atomic_load_explicit(&numbers_used, memory_order_acquire);
}

struct cal__file_node cal__node(uint32_t number)
{
    uint64_t node = node_at(number);
    return (struct cal__file_node){.parent = (uint32_t)(node >> 32), .frame = (uint32_t)node};
}

static CAL_COLD uint32_t add_site(uint32_t node)
{
    _Atomic uint32_t *site = &chunk_of(node)->sites[node % CHUNK];
    cal__mutex_acquire(&sites_lock);
    uint32_t number = atomic_load_explicit(site, memory_order_relaxed);
    uint32_t next = atomic_load_explicit(&sites_used, memory_order_relaxed);
    if (number == 0 && next < CAL_SITES_MAX) {
        _Atomic uint32_t *nodes =
            atomic_load_explicit(&site_nodes[next / CHUNK], memory_order_relaxed);
        if (nodes == NULL)
            nodes = cal__memory_map(CHUNK * sizeof *nodes);
        if (nodes != NULL) {
            number = next;
            atomic_store_explicit(&nodes[next % CHUNK], node, memory_order_relaxed);
            atomic_store_explicit(&site_nodes[next / CHUNK], nodes, memory_order_relaxed);
            atomic_store_explicit(&sites_used, next + 1, memory_order_release);
            atomic_store_explicit(site, number, memory_order_release);
        }
    }
    cal__mutex_release(&sites_lock);
    return number;
}

uint32_t cal__site_of(uint32_t node)
{
    uint32_t site =
        atomic_load_explicit(&chunk_of(node)->sites[node % CHUNK], memory_order_acquire);
    return CAL_LIKELY(site != 0) ? site : add_site(node);
}

uint32_t cal__sites_count(void)
{
    return atomic_load_explicit(&sites_used, memory_order_acquire);
}

uint32_t cal__site_node(uint32_t site)
{
    return site == 0
               ? CAL_NODE_UNKNOWN
               : atomic_load_explicit(&atomic_load_explicit(&site_nodes[site / CHUNK],
                                                            memory_order_relaxed)[site % CHUNK],
                                      memory_order_relaxed);
}

void cal__nodes_fork_prepare(void)
{
    for (unsigned i = 0; i < SHARDS; i++)
        cal__mutex_acquire(&shards[i].lock);
    cal__mutex_acquire(&numbers_lock);
    cal__mutex_acquire(&sites_lock);
}

void cal__nodes_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&sites_lock, in_child);
    cal__mutex_release_after_fork(&numbers_lock, in_child);
    for (unsigned i = SHARDS; i-- > 0;)
        cal__mutex_release_after_fork(&shards[i].lock, in_child);
}
