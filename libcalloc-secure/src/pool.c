#include "pool.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "pages.h"
#include "random.h"
#include "record.h"

enum {
    EMPTY_POOLS = 13, /* for alignments of 16 to 65536 */
    CLASSES = 7,      /* 1 to 64 pages of 4 KiB */
    POOLS = EMPTY_POOLS + 4 * CLASSES,
    RANGES = 65536,
    SLOTS = 65536, /* in a range, at most */
    /* How many takes have to pass after a range could not be had. */
    PAUSE = 1024,
    REST = 256,
    REST_EMPTY = 2048,
};

/* A range of pages is so long, and aligned to it, so that an address tells which one it is. */
#define UNIT_SHIFT 22
#define UNIT       ((size_t)1 << UNIT_SHIFT)
/* The first range for blocks of size 0; each further one of a pool is twice as long, up to 16 times. */
#define EMPTY_LENGTH ((size_t)64 << 10)
#define CHUNK        ((size_t)2 << 20)

#define NONE UINT32_MAX

/* A slot of any range in one word. */
#define ID(number, index) ((number) << 16 | (index))

/* LATCH guards all; initialised when the first range is mapped. */
struct cal__pool {
    struct cal__latch latch;
    bool ready;
    bool traces;
    enum cal__guard guard;
    size_t stride, room;
    struct cal__pool_range *fresh; /* the last one, which may have slots that were never used */
    uint32_t ranges;
    uint32_t head, tail; /* of the queue, if anything is */
    uint32_t waiting;    /* in the queue */
    uint32_t rest;
    uint32_t pause;
};

/* Those for blocks of size 0 by their alignment; then, for each number of pages, those with marked and
 * with protected guards, and the same with traces. */
static struct cal__pool pools[POOLS];

typedef struct cal__pool_range *_Atomic shared_range;

/* LATCH guards what is written here, and is taken after that of a pool. */
static struct {
    struct cal__latch latch;
    char *metadata, *metadata_end;
    size_t chunk;
    struct cal__random random;
} growth;

static shared_range *_Atomic by_number; /* RANGES of them, and so many of these */
static shared_range *_Atomic by_unit;   /* UNIT number modulo RANGES, or after that */
static _Atomic uint32_t range_count;
static struct cal__pool_range *_Atomic empty_ranges;

size_t cal__pool_page;

void cal__pool_start(void)
{
    cal__pool_page = getauxval(AT_PAGESZ);
}

struct cal__pool *cal__pool_empty(size_t alignment)
{
    if (alignment < CAL_BLOCK_ALIGNMENT)
        alignment = CAL_BLOCK_ALIGNMENT;
    unsigned place = (unsigned)__builtin_ctzll(alignment) - 4;
    return place < EMPTY_POOLS ? &pools[place] : NULL;
}

/* How many pages, as a power of two. */
static unsigned page_class(size_t bytes)
{
    size_t pages = (bytes + cal__pool_page - 1) / cal__pool_page;
    return pages <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(pages - 1);
}

struct cal__pool *cal__pool_pages(size_t bytes, bool sampled, enum cal__guard guard)
{
    unsigned number = page_class(bytes);
    if (guard == CAL_GUARD_NONE || number >= CLASSES)
        return NULL;
    unsigned group = 2 * sampled + (guard == CAL_GUARD_PROTECTED);
    return &pools[EMPTY_POOLS + group * CLASSES + number];
}

static void make_ready(struct cal__pool *pool)
{
    pool->ready = true;
    size_t place = (size_t)(pool - pools);
    if (place < EMPTY_POOLS) {
        pool->stride = CAL_BLOCK_ALIGNMENT << place;
        pool->rest = pool->stride == CAL_BLOCK_ALIGNMENT ? REST_EMPTY : 16;
        return;
    }
    place -= EMPTY_POOLS;
    pool->room = cal__pool_page << place % CLASSES;
    pool->stride = pool->room + cal__pool_page;
    pool->guard = place / CLASSES % 2 != 0 ? CAL_GUARD_PROTECTED : CAL_GUARD_MARKED;
    pool->traces = place / CLASSES / 2 != 0;
    pool->rest = REST;
}

/* Memory for what is known of the ranges. */

static size_t round_up(size_t value, size_t to)
{
    return (value + to - 1) & ~(to - 1);
}

static bool new_chunk(size_t bytes)
{
    size_t chunk = growth.chunk != 0 ? growth.chunk : CHUNK;
    size_t length = round_up(bytes > chunk ? bytes : chunk, cal__pool_page);
    /* With no flag that the rules of libcalloc-sandbox do not have. */
    char *memory =
        mmap(NULL, length + 2 * cal__pool_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    growth.metadata = memory + cal__pool_page;
    growth.metadata_end = growth.metadata + length;
    if (mprotect(growth.metadata, length, PROT_READ | PROT_WRITE) != 0) {
        munmap(memory, length + 2 * cal__pool_page);
        growth.metadata = growth.metadata_end = NULL;
        return false;
    }
    /* Few of them, however many there are. */
    growth.chunk = chunk < 16 * CHUNK ? 2 * chunk : chunk;
    return true;
}

/* Zeroed, for ever; NULL without memory. */
static void *metadata(size_t bytes)
{
    bytes = round_up(bytes, 64);
    if (bytes > (size_t)(growth.metadata_end - growth.metadata) && !new_chunk(bytes))
        return NULL;
    void *memory = growth.metadata;
    growth.metadata += bytes;
    return memory;
}

static bool have_tables(void)
{
    if (atomic_load_explicit(&by_unit, memory_order_relaxed) != NULL)
        return true;
    shared_range *tables = metadata(2 * RANGES * sizeof *tables);
    if (tables == NULL)
        return false;
    atomic_store_explicit(&by_number, tables, memory_order_release);
    atomic_store_explicit(&by_unit, tables + RANGES, memory_order_release);
    return true;
}

/* Ranges. */

static size_t unit_of(const void *address)
{
    return (uintptr_t)address >> UNIT_SHIFT;
}

struct cal__pool_range *cal__pool_find(const void *address)
{
    shared_range *units = atomic_load_explicit(&by_unit, memory_order_acquire);
    if (units == NULL)
        return NULL;
    size_t unit = unit_of(address);
    struct cal__pool_range *range;
    for (size_t i = 0; i < RANGES; i++) {
        range = atomic_load_explicit(&units[(unit + i) % RANGES], memory_order_acquire);
        if (range == NULL)
            break;
        if (unit_of(range->address) == unit)
            return range;
    }
    range = atomic_load_explicit(&empty_ranges, memory_order_acquire);
    while (range != NULL && (uintptr_t)address - (uintptr_t)range->address >= range->length)
        range = range->next_empty;
    return range;
}

static uint64_t sum_of(const struct cal__pool_range *range)
{
    uint64_t sum = (uintptr_t)range;
    sum = cal__record_sum(sum, (uintptr_t)range->address);
    sum = cal__record_sum(sum, range->length);
    sum = cal__record_sum(sum, (uintptr_t)range->first);
    sum = cal__record_sum(sum, range->stride);
    sum = cal__record_sum(sum, range->room);
    sum = cal__record_sum(sum, (uint64_t)range->slots << 32 | range->number);
    sum = cal__record_sum(sum, (uint64_t)range->guard);
    sum = cal__record_sum(sum, (uintptr_t)range->pool);
    sum = cal__record_sum(sum, (uintptr_t)range->records);
    sum = cal__record_sum(sum, (uintptr_t)range->traces);
    return cal__record_sum(sum, range->key.multiplier ^ range->key.addend);
}

CAL_COLD static _Noreturn void broken(const struct cal__pool_range *range)
{
    cal__record_broken(range);
}

void cal__pool_check(const struct cal__pool_range *range)
{
    if (CAL_UNLIKELY(range->sum != sum_of(range)))
        broken(range);
}

/* There is one. */
static struct cal__pool_range *numbered(uint32_t number)
{
    shared_range *numbers = atomic_load_explicit(&by_number, memory_order_relaxed);
    struct cal__pool_range *range = atomic_load_explicit(&numbers[number], memory_order_relaxed);
    cal__pool_check(range);
    return range;
}

struct cal__pool_range *cal__pool_number(uint32_t number)
{
    bool exists = number < atomic_load_explicit(&range_count, memory_order_acquire);
    return exists ? numbered(number) : NULL;
}

static void publish(struct cal__pool_range *range)
{
    uint32_t count = atomic_load_explicit(&range_count, memory_order_relaxed);
    range->number = count;
    range->sum = sum_of(range);
    atomic_store_explicit(&by_number[count], range, memory_order_relaxed);
    if (range->room == 0) {
        range->next_empty = atomic_load_explicit(&empty_ranges, memory_order_relaxed);
        atomic_store_explicit(&empty_ranges, range, memory_order_release);
    } else {
        size_t unit = unit_of(range->address);
        while (atomic_load_explicit(&by_unit[unit % RANGES], memory_order_relaxed) != NULL)
            unit++;
        atomic_store_explicit(&by_unit[unit % RANGES], range, memory_order_release);
    }
    atomic_store_explicit(&range_count, count + 1, memory_order_release);
}

/* What faults before slot 0. */
static size_t start_of(const struct cal__pool *pool)
{
    return pool->room == 0 ? pool->stride : cal__pool_page;
}

/* What is known of a range that does not exist yet. */
static struct cal__pool_range *describe(const struct cal__pool *pool)
{
    size_t length = UNIT;
    if (pool->room == 0) {
        unsigned doublings = pool->ranges < 4 ? pool->ranges : 4;
        length = EMPTY_LENGTH << doublings;
        length = length < 16 * pool->stride ? 16 * pool->stride : length;
    }
    size_t slots = (length - start_of(pool)) / pool->stride;
    slots = slots < SLOTS ? slots : SLOTS;
    struct cal__pool_range *range = metadata(sizeof *range);
    struct cal__slot *records = metadata(slots * sizeof *records);
    struct cal__traces *traces = pool->traces ? metadata(slots * sizeof *traces) : NULL;
    if (range == NULL || records == NULL || (pool->traces && traces == NULL))
        return NULL;
    range->length = length;
    range->stride = pool->stride;
    range->room = pool->room;
    range->slots = (uint32_t)slots;
    range->records = records;
    range->traces = traces;
    return range;
}

/* Maps it, and makes it fault. */
static bool map(struct cal__pool *pool, struct cal__pool_range *range)
{
    size_t alignment = range->room == 0 ? EMPTY_LENGTH : UNIT;
    range->pool = pool;
    range->address = cal_range_map(&cal__pages_owner, range->length, alignment, range);
    if (range->address == NULL)
        return false;
    range->first = range->address + start_of(pool);
    if (range->room == 0)
        range->guard = cal__guard_install(range->address, range->length);
    else if (cal__guard_install_as(range->address, range->length, pool->guard))
        range->guard = pool->guard;
    if (range->guard != CAL_GUARD_NONE)
        return true;
    cal_range_unmap(&cal__pages_owner, range->address);
    return false;
}

static bool grow_locked(struct cal__pool *pool)
{
    if (!have_tables() ||
        atomic_load_explicit(&range_count, memory_order_relaxed) >= RANGES / 4 * 3)
        return false;
    const char *before = growth.metadata;
    struct cal__pool_range *range = describe(pool);
    if (range == NULL)
        return false;
    if (!map(pool, range)) {
        /* What was not handed out to others is there for the next one. */
        if ((const char *)range == before) {
            size_t length = (size_t)(growth.metadata - before);
            memset(range, 0, sizeof *range);
            growth.metadata -= length;
        }
        return false;
    }
    cal__canary_make_key(&range->key, &growth.random);
    publish(range);
    pool->fresh = range;
    pool->ranges++;
    return true;
}

static CAL_COLD bool grow(struct cal__pool *pool)
{
    if (pool->pause != 0) {
        pool->pause--;
        return false;
    }
    if (!pool->ready)
        make_ready(pool);
    bool done = false;
    if (pool->room == 0 || pool->guard == CAL_GUARD_MARKED ||
        cal__guard_next() == CAL_GUARD_PROTECTED) {
        int saved = errno;
        cal__latch_acquire(&growth.latch);
        done = grow_locked(pool);
        cal__latch_release(&growth.latch);
        errno = saved;
    }
    pool->pause = done ? 0 : PAUSE;
    return done;
}

/* Slots. */

static struct cal__slot *take_fresh(struct cal__pool *pool, struct cal__pool_range **range)
{
    struct cal__pool_range *fresh = pool->fresh;
    if (fresh == NULL)
        return NULL;
    cal__pool_check(fresh);
    uint32_t used = atomic_load_explicit(&fresh->used, memory_order_relaxed);
    if (used == fresh->slots || (fresh->room != 0 && !cal__guard_charge(fresh->guard)))
        return NULL;
    atomic_store_explicit(&fresh->used, used + 1, memory_order_release);
    *range = fresh;
    return &fresh->records[used];
}

/* Of `next`. */
static uint32_t mask(void)
{
    return (uint32_t)cal__record_encode(0);
}

/* The slot that a link of a queue leads to, which must be one that waits. */
static struct cal__slot *waiting_slot(uint32_t id, struct cal__pool_range **range)
{
    uint32_t number = id >> 16, index = id & 0xffff;
    if (CAL_UNLIKELY(number >= atomic_load_explicit(&range_count, memory_order_relaxed)))
        cal__record_broken(&range_count);
    *range = numbered(number);
    if (CAL_UNLIKELY(index >= atomic_load_explicit(&(*range)->used, memory_order_relaxed)))
        broken(*range);
    struct cal__slot *slot = &(*range)->records[index];
    uint8_t state = atomic_load_explicit(&slot->state, memory_order_relaxed);
    if (CAL_UNLIKELY(state != CAL_SLOT_STATE_FREED && state != CAL_SLOT_STATE_FRESH))
        cal__record_broken(slot);
    return slot;
}

static struct cal__slot *take_waiting(struct cal__pool *pool, struct cal__pool_range **range)
{
    struct cal__slot *slot = waiting_slot(pool->head, range);
    pool->head = slot->next ^ mask();
    pool->waiting--;
    return slot;
}

static struct cal__slot *take_locked(struct cal__pool *pool, struct cal__pool_range **range)
{
    struct cal__slot *slot = take_fresh(pool, range);
    if (slot != NULL)
        return slot;
    if (pool->waiting <= pool->rest && grow(pool) && (slot = take_fresh(pool, range)) != NULL)
        return slot;
    return pool->waiting != 0 ? take_waiting(pool, range) : NULL;
}

struct cal__slot *cal__pool_take(struct cal__pool *pool, struct cal__pool_range **range)
{
    cal__latch_acquire(&pool->latch);
    struct cal__slot *slot = take_locked(pool, range);
    cal__latch_release(&pool->latch);
    return slot;
}

void cal__pool_give(struct cal__pool_range *range, struct cal__slot *slot)
{
    cal__pool_check(range);
    struct cal__pool *pool = range->pool;
    uint32_t id = ID(range->number, cal__pool_index(range, slot));
    cal__latch_acquire(&pool->latch);
    slot->next = NONE ^ mask();
    struct cal__pool_range *last;
    if (pool->waiting++ == 0)
        pool->head = id;
    else
        waiting_slot(pool->tail, &last)->next = id ^ mask();
    pool->tail = id;
    cal__latch_release(&pool->latch);
}

uint64_t cal__pool_random(uint64_t limit)
{
    cal__latch_acquire(&growth.latch);
    unsigned __int128 product = (unsigned __int128)cal__random_64(&growth.random) * limit;
    cal__latch_release(&growth.latch);
    return (uint64_t)(product >> 64);
}

void cal__pool_lock(void)
{
    for (size_t i = 0; i < POOLS; i++)
        cal__latch_acquire(&pools[i].latch);
    cal__latch_acquire(&growth.latch);
}

static void unlock(struct cal__latch *latch, bool in_child)
{
    if (in_child)
        cal__latch_reset(latch);
    else
        cal__latch_release(latch);
}

void cal__pool_unlock(bool in_child)
{
    unlock(&growth.latch, in_child);
    for (size_t i = 0; i < POOLS; i++)
        unlock(&pools[i].latch, in_child);
}
