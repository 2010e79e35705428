/* Each granule of 64 KiB in which a block was recorded has a table with an entry for each so many bytes of it as the first
 * one had that are usable. No two blocks can begin in one such piece as long as all have as many; so an entry is
 * found by a multiplication, is written by nobody else, and costs 16 bytes for a place where a block can be.
 * Where the granule comes to have smaller blocks than its table is for, it gets a finer one in front of that:
 * what is recorded stays where it is. A table is never given back.
 *
 * An entry is two words. The second is written last, and has everything that tells whether the entry is
 * the block's; so who visits all entries while others change them never takes one block for another, at
 * worst the site and time of a block for those of the next one at the same address. */
#include "blocks.h"

#include <stdatomic.h>

#include "memory.h"
#include "mutex.h"

enum {
    GRANULE_SHIFT = 16,
    GRANULE = 1 << GRANULE_SHIFT,
    PLACE_GRAIN = 4,
    ALIGNMENT = 1 << PLACE_GRAIN, /* of blocks */
    FOLDER_BITS = 16,
    FOLDERS = 1 << (CAL_ADDRESS_BITS - GRANULE_SHIFT - FOLDER_BITS),
    FOLDER = 1 << FOLDER_BITS,
};

/* The second word: LIVE, COUNTED, WATCHED, the address's place in the granule in 16 bytes, the size. */
#define LIVE        (UINT64_C(1) << 63)
#define COUNTED     CAL_ENTRY_COUNTED
#define WATCHED     CAL_ENTRY_WATCHED
#define PLACE_SHIFT 47
#define PLACE_MASK  (UINT64_C(0xfff) << PLACE_SHIFT)
#define IDENTITY    (LIVE | PLACE_MASK)

struct entry {
    _Atomic uint64_t first;
    _Atomic uint64_t second;
};

struct table {
    struct table *older; /* coarser, or NULL */
    uint32_t piece;      /* bytes, from a block's alignment to a granule */
    uint32_t factor; /* 2^32 / piece, rounded up: for offsets below 2^16 the quotient is exact */
    struct entry entries[];
};

struct folder {
    struct table *_Atomic tables[FOLDER];
};

static struct folder *_Atomic folders[FOLDERS];

/* A block whose end was overlooked is there until its address is recorded again, or until who looks for such takes it
 * away: one of the two. */
static struct cal__mutex overlooked;

CAL_INLINE uint64_t identity_of(uintptr_t address)
{
    return LIVE | (uint64_t)(address & (GRANULE - 1)) >> PLACE_GRAIN << PLACE_SHIFT;
}

/* A block of an owner's may have less than its alignment. */
CAL_INLINE bool is_fine_enough(const struct table *table, size_t usable)
{
    return CAL_LIKELY(usable >= table->piece) || table->piece == ALIGNMENT;
}

CAL_INLINE struct entry *entry_in(struct table *table, uintptr_t address)
{
    return &table->entries[(uint64_t)(address & (GRANULE - 1)) * table->factor >> 32];
}

CAL_INLINE struct table *tables_of(uintptr_t address)
{
    uintptr_t number = address >> GRANULE_SHIFT;
    if (CAL_UNLIKELY(number >> FOLDER_BITS >= FOLDERS))
        return NULL;
    struct folder *folder =
        atomic_load_explicit(&folders[number >> FOLDER_BITS], memory_order_acquire);
    return folder == NULL
               ? NULL
               : atomic_load_explicit(&folder->tables[number % FOLDER], memory_order_acquire);
}

CAL_INLINE bool is_of(const struct entry *entry, uintptr_t address)
{
    uint64_t second = atomic_load_explicit(&entry->second, memory_order_relaxed);
    return (second & IDENTITY) == identity_of(address);
}

CAL_INLINE struct entry *find(uintptr_t address)
{
    for (struct table *table = tables_of(address); table != NULL; table = table->older) {
        struct entry *entry = entry_in(table, address);
        if (CAL_LIKELY(is_of(entry, address)))
            return entry;
    }
    return NULL;
}

CAL_INLINE struct cal__entry copy_entry(const struct entry *entry)
{
    return (struct cal__entry){
        .origin = atomic_load_explicit(&entry->first, memory_order_relaxed),
        .facts = atomic_load_explicit(&entry->second, memory_order_relaxed),
    };
}

static struct cal__block read_entry(const struct entry *entry)
{
    return cal__entry_block(copy_entry(entry));
}

CAL_INLINE void write_entry(struct entry *entry, uintptr_t address, const struct cal__block *block)
{
    uint64_t first = cal__entry_origin(block->site, block->time);
    uint64_t second = identity_of(address) | (block->counted ? COUNTED : 0) |
                      (block->watched ? WATCHED : 0) |
                      (block->size < CAL_BLOCK_SIZE_MAX ? block->size : CAL_BLOCK_SIZE_MAX);
    atomic_store_explicit(&entry->first, first, memory_order_relaxed);
    atomic_store_explicit(&entry->second, second, memory_order_release);
}

static CAL_COLD struct folder *make_folder(uintptr_t number)
{
    struct folder *_Atomic *place = &folders[number >> FOLDER_BITS];
    struct folder *there = NULL, *fresh = cal__memory_map(sizeof *fresh);
    if (fresh == NULL || atomic_compare_exchange_strong_explicit(
                             place, &there, fresh, memory_order_acq_rel, memory_order_acquire))
        return fresh != NULL ? fresh : atomic_load_explicit(place, memory_order_acquire);
    cal__memory_unmap(fresh, sizeof *fresh);
    return there;
}

static uint32_t pieces_of(uint32_t piece)
{
    return (GRANULE + piece - 1) / piece;
}

/* An entry for ADDRESS that no other block has, in a new table. */
static CAL_COLD struct entry *make_entry(uintptr_t address, size_t usable)
{
    uintptr_t number = address >> GRANULE_SHIFT;
    if (number >> FOLDER_BITS >= FOLDERS)
        return NULL;
    struct folder *folder = make_folder(number);
    if (folder == NULL)
        return NULL;
    struct table *_Atomic *place = &folder->tables[number % FOLDER];
    struct table *older = atomic_load_explicit(place, memory_order_acquire);
    uint32_t piece = usable >= GRANULE ? GRANULE : (uint32_t)usable / ALIGNMENT * ALIGNMENT;
    /* The place is taken by one that does not belong there. */
    if (older != NULL && piece >= older->piece)
        piece = older->piece / 2 / ALIGNMENT * ALIGNMENT;
    if (piece < ALIGNMENT)
        piece = ALIGNMENT;
    struct table *table =
        cal__memory_take(sizeof *table + pieces_of(piece) * sizeof table->entries[0]);
    if (table == NULL)
        return NULL;
    table->piece = piece;
    table->factor = (uint32_t)(((UINT64_C(1) << 32) + piece - 1) / piece);
    table->older = older;
    /* What another thread puts in front in between is for its own block, and this one is found behind it. */
    while (!atomic_compare_exchange_weak_explicit(place, &table->older, table, memory_order_acq_rel,
                                                  memory_order_acquire)) {}
    return entry_in(table, address);
}

/* One that nobody has, in the newest table. */
CAL_INLINE struct entry *free_entry(uintptr_t address, size_t usable)
{
    struct table *table = tables_of(address);
    if (CAL_LIKELY(table != NULL)) {
        struct entry *entry = entry_in(table, address);
        if (CAL_LIKELY(is_fine_enough(table, usable) &&
                       atomic_load_explicit(&entry->second, memory_order_relaxed) == 0))
            return entry;
    }
    return make_entry(address, usable);
}

enum cal__put cal__blocks_put(const void *address, size_t usable, const struct cal__block *block,
                              struct cal__block *old)
{
    uintptr_t at = (uintptr_t)address;
    struct entry *entry = find(at);
    if (CAL_UNLIKELY(entry != NULL)) {
        cal__mutex_acquire(&overlooked);
        bool there = is_of(entry, at);
        if (there) {
            *old = read_entry(entry);
            write_entry(entry, at, block);
        }
        cal__mutex_release(&overlooked);
        if (there)
            return CAL_PUT_OVER;
    }
    entry = free_entry(at, usable);
    if (entry == NULL)
        return CAL_PUT_FAILED;
    write_entry(entry, at, block);
    return CAL_PUT_NEW;
}

/* The newest table has a place for the block that is free, and the older ones do not have the block. */
bool cal__blocks_add(const void *address, size_t usable, uint64_t origin, uint64_t size)
{
    uintptr_t at = (uintptr_t)address;
    struct table *table = tables_of(at);
    if (CAL_UNLIKELY(table == NULL || !is_fine_enough(table, usable) || size > CAL_BLOCK_SIZE_MAX))
        return false;
    struct entry *entry = entry_in(table, at);
    if (CAL_UNLIKELY(atomic_load_explicit(&entry->second, memory_order_relaxed) != 0 ||
                     (table->older != NULL && find(at) != NULL)))
        return false;
    atomic_store_explicit(&entry->first, origin, memory_order_relaxed);
    atomic_store_explicit(&entry->second, identity_of(at) | COUNTED | size, memory_order_release);
    return true;
}

struct cal__entry cal__blocks_take(const void *address)
{
    struct entry *entry = find((uintptr_t)address);
    if (CAL_UNLIKELY(entry == NULL))
        return (struct cal__entry){.facts = 0};
    struct cal__entry taken = copy_entry(entry);
    atomic_store_explicit(&entry->second, 0, memory_order_relaxed);
    return taken;
}

struct cal__entry cal__blocks_take_older(const void *address, uint64_t time)
{
    struct cal__entry taken = {.facts = 0};
    cal__mutex_acquire(&overlooked);
    struct entry *entry = find((uintptr_t)address);
    if (entry != NULL && cal__time_is_before(read_entry(entry).time, time)) {
        taken = copy_entry(entry);
        atomic_store_explicit(&entry->second, 0, memory_order_release);
    }
    cal__mutex_release(&overlooked);
    return taken;
}

bool cal__blocks_get(const void *address, struct cal__block *block)
{
    const struct entry *entry = find((uintptr_t)address);
    if (entry == NULL)
        return false;
    *block = read_entry(entry);
    return true;
}

bool cal__blocks_resize(const void *address, size_t size)
{
    struct entry *entry = find((uintptr_t)address);
    if (entry == NULL)
        return false;
    struct cal__block block = read_entry(entry);
    block.size = size;
    write_entry(entry, (uintptr_t)address, &block);
    return true;
}

void cal__blocks_watch(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    struct entry *entry = at % CAL_BLOCK_ALIGNMENT == 0 ? find(at) : NULL;
    struct cal__block block = {.watched = true};
    if (entry != NULL) {
        block = read_entry(entry);
        block.watched = true;
    } else if (at % CAL_BLOCK_ALIGNMENT == 0) {
        /* Nobody knows how large it is: for the finest table. */
        entry = free_entry(at, CAL_BLOCK_ALIGNMENT);
    }
    if (entry != NULL)
        write_entry(entry, at, &block);
}

static bool visit_table(const struct table *table, uintptr_t granule,
                        bool (*visit)(void *address, const struct cal__block *block,
                                      void *argument),
                        void *argument)
{
    for (size_t i = 0; i < pieces_of(table->piece); i++) {
        const struct entry *entry = &table->entries[i];
        uint64_t second = atomic_load_explicit(&entry->second, memory_order_acquire);
        if ((second & LIVE) == 0)
            continue;
        struct cal__block block = read_entry(entry);
        uintptr_t address = granule + ((second & PLACE_MASK) >> PLACE_SHIFT << PLACE_GRAIN);
        if (block.counted && !visit((void *)address, &block, argument))
            return false;
    }
    return true;
}

void cal__blocks_each(bool (*visit)(void *address, const struct cal__block *block, void *argument),
                      void *argument)
{
    for (uintptr_t i = 0; i < FOLDERS; i++) {
        struct folder *folder = atomic_load_explicit(&folders[i], memory_order_acquire);
        for (uintptr_t j = 0; folder != NULL && j < FOLDER; j++) {
            struct table *table = atomic_load_explicit(&folder->tables[j], memory_order_acquire);
            for (; table != NULL; table = table->older)
                if (!visit_table(table, (i << FOLDER_BITS | j) << GRANULE_SHIFT, visit, argument))
                    return;
        }
    }
}

void cal__blocks_fork_prepare(void)
{
    cal__mutex_acquire(&overlooked);
}

void cal__blocks_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&overlooked, in_child);
}
