#include "building.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <allocate.h>

/* A table from 64-bit keys to numbers, open and at most half full. A key that goes leaves its entry behind
 * with a number of NOTHING. */
struct entry {
    uint64_t key;
    uint32_t number;
    bool used;
};

struct table {
    struct entry *entries;
    size_t mask, used;
};

#define NOTHING UINT32_MAX

struct block {
    uint64_t size;
    uint32_t steps;
};

struct thread {
    uint64_t start, calls;
};

struct cal__building {
    struct cal__script_call *calls;
    uint32_t *callers; /* threads of the calls */
    size_t count, capacity, callers_capacity;
    struct block *blocks;
    size_t block_count, block_capacity;
    struct thread *threads;
    size_t thread_count, thread_capacity;
    struct table live, names;
    uint64_t limit, allocations, allocated_bytes, live_bytes, peak_bytes, ignored;
    bool full;
};

static struct entry *find(const struct table *table, uint64_t key)
{
    uint64_t hash = (key ^ key >> 32) * 0x9e3779b97f4a7c15;
    size_t index = (size_t)(hash >> 20) & table->mask;
    while (table->entries[index].used && table->entries[index].key != key)
        index = (index + 1) & table->mask;
    return &table->entries[index];
}

static void rehash(struct table *table)
{
    size_t alive = 0, slots = 64;
    struct table old = *table;
    for (size_t i = 0; old.entries != NULL && i <= old.mask; i++)
        alive += old.entries[i].used && old.entries[i].number != NOTHING;
    while (slots < alive * 4)
        slots *= 2;
    *table = (struct table){cal__allocate_array(slots, sizeof *table->entries), slots - 1, alive};
    for (size_t i = 0; old.entries != NULL && i <= old.mask; i++)
        if (old.entries[i].used && old.entries[i].number != NOTHING)
            *find(table, old.entries[i].key) = old.entries[i];
    free(old.entries);
}

/* The entry of a key, made with NOTHING if there was none. */
static struct entry *entry_of(struct table *table, uint64_t key)
{
    if (table->entries == NULL || (table->used + 1) * 2 > table->mask)
        rehash(table);
    struct entry *entry = find(table, key);
    if (!entry->used) {
        *entry = (struct entry){key, NOTHING, true};
        table->used++;
    }
    return entry;
}

struct cal__building *cal__building_new(uint64_t limit)
{
    struct cal__building *building = cal__allocate_array(1, sizeof *building);
    /* Numbers of blocks have 32 bits. */
    building->limit = limit < NOTHING ? limit : NOTHING - 1;
    return building;
}

void cal__building_free(struct cal__building *building)
{
    if (building == NULL)
        return;
    free(building->calls);
    free(building->callers);
    free(building->blocks);
    free(building->threads);
    free(building->live.entries);
    free(building->names.entries);
    free(building);
}

uint32_t cal__building_thread(struct cal__building *building, uint64_t name)
{
    struct entry *entry = entry_of(&building->names, name);
    if (entry->number == NOTHING) {
        building->threads =
            cal__allocate_grow(building->threads, building->thread_count,
                               &building->thread_capacity, sizeof *building->threads);
        building->threads[building->thread_count] = (struct thread){0, 0};
        entry->number = (uint32_t)building->thread_count++;
    }
    return entry->number;
}

void cal__building_thread_starts(struct cal__building *building, uint32_t thread)
{
    if (building->threads[thread].calls == 0)
        building->threads[thread].start = building->count;
}

static void add_call(struct cal__building *building, uint32_t thread, uint32_t block,
                     enum cal__call_kind kind, uint64_t alignment, uint64_t size)
{
    building->calls = cal__allocate_grow(building->calls, building->count, &building->capacity,
                                         sizeof *building->calls);
    building->callers = cal__allocate_grow(building->callers, building->count,
                                           &building->callers_capacity, sizeof *building->callers);
    building->callers[building->count] = thread;
    building->calls[building->count] = (struct cal__script_call){
        .size = size,
        .order = building->count,
        .block = block,
        .step = building->blocks[block].steps++,
        .kind = (uint8_t)kind,
        .alignment = alignment > 1 ? (uint8_t)(63 - __builtin_clzll(alignment)) : 0,
    };
    building->count++;
    building->threads[thread].calls++;
}

static bool has_room(struct cal__building *building)
{
    if (building->count < building->limit)
        return true;
    building->full = true;
    return false;
}

static void count_bytes(struct cal__building *building, uint64_t before, uint64_t after)
{
    building->live_bytes += after - before;
    if (building->live_bytes > building->peak_bytes)
        building->peak_bytes = building->live_bytes;
}

void cal__building_allocate(struct cal__building *building, uint32_t thread, uint64_t key,
                            enum cal__call_kind kind, uint64_t alignment, uint64_t size)
{
    struct entry *entry = entry_of(&building->live, key);
    /* Its free is missing from the trace. */
    if (entry->number != NOTHING)
        cal__building_free_block(building, thread, key);
    if (!has_room(building))
        return;
    building->blocks = cal__allocate_grow(building->blocks, building->block_count,
                                          &building->block_capacity, sizeof *building->blocks);
    building->blocks[building->block_count] = (struct block){.size = size};
    entry->number = (uint32_t)building->block_count++;
    add_call(building, thread, entry->number, kind, alignment, size);
    building->allocations++;
    building->allocated_bytes += size;
    count_bytes(building, 0, size);
}

void cal__building_free_block(struct cal__building *building, uint32_t thread, uint64_t key)
{
    struct entry *entry = entry_of(&building->live, key);
    if (entry->number == NOTHING) {
        building->ignored++;
        return;
    }
    if (!has_room(building))
        return;
    struct block *block = &building->blocks[entry->number];
    add_call(building, thread, entry->number, CAL__CALL_FREE, 0, block->size);
    count_bytes(building, block->size, 0);
    entry->number = NOTHING;
}

void cal__building_resize(struct cal__building *building, uint32_t thread, uint64_t key,
                          uint64_t new_key, uint64_t size)
{
    struct entry *entry = entry_of(&building->live, key);
    uint32_t number = entry->number;
    if (number == NOTHING) {
        building->ignored++;
        return;
    }
    if (!has_room(building))
        return;
    struct block *block = &building->blocks[number];
    add_call(building, thread, number, CAL__CALL_REALLOC, 0, size);
    if (size > block->size)
        building->allocated_bytes += size - block->size;
    count_bytes(building, block->size, size);
    block->size = size;
    if (new_key == key)
        return;
    entry->number = NOTHING;
    /* Where another block is, its free is missing. */
    if (entry_of(&building->live, new_key)->number != NOTHING)
        cal__building_free_block(building, thread, new_key);
    entry_of(&building->live, new_key)->number = number;
}

void cal__building_ignore(struct cal__building *building)
{
    building->ignored++;
}

bool cal__building_full(const struct cal__building *building)
{
    return building->full;
}

int cal__building_write(struct cal__building *building, const char *source, int descriptor)
{
    size_t length = sizeof(struct cal__script) +
                    building->thread_count * sizeof(struct cal__script_thread) +
                    building->count * sizeof(struct cal__script_call);
    if (ftruncate(descriptor, (off_t)length) != 0)
        return -errno;
    struct cal__script *script =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (script == MAP_FAILED)
        return -errno;
    *script = (struct cal__script){
        .length = length,
        .calls = building->count,
        .threads = building->thread_count,
        .blocks = building->block_count,
        .allocations = building->allocations,
        .allocated_bytes = building->allocated_bytes,
        .peak_bytes = building->peak_bytes,
        .left_bytes = building->live_bytes,
        .ignored = building->ignored,
    };
    memcpy(script->source, source, strnlen(source, sizeof script->source - 1));
    struct cal__script_thread *threads = (struct cal__script_thread *)(script + 1);
    struct cal__script_call *calls = (struct cal__script_call *)(threads + building->thread_count);
    uint64_t first = 0;
    for (size_t i = 0; i < building->thread_count; i++) {
        threads[i] =
            (struct cal__script_thread){.first = first, .start = building->threads[i].start};
        first += building->threads[i].calls;
    }
    for (size_t i = 0; i < building->count; i++) {
        struct cal__script_thread *thread = &threads[building->callers[i]];
        calls[thread->first + thread->count++] = building->calls[i];
    }
    munmap(script, length);
    return 0;
}
