#include "building.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <allocate.h>
#include <table.h>

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
    struct cal__table live, names;
    uint64_t limit, allocations, allocated_bytes, live_bytes, peak_bytes, ignored;
    bool full;
};

struct cal__building *cal__building_new(uint64_t limit)
{
    struct cal__building *building = cal__allocate_array(1, sizeof *building);
    /* Numbers of blocks have 32 bits. */
    building->limit = limit < CAL__TABLE_NOTHING ? limit : CAL__TABLE_NOTHING - 1;
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
    cal__table_free(&building->live);
    cal__table_free(&building->names);
    free(building);
}

uint32_t cal__building_thread(struct cal__building *building, uint64_t name)
{
    uint32_t *number = cal__table_at(&building->names, name);
    if (*number == CAL__TABLE_NOTHING) {
        building->threads =
            cal__allocate_grow(building->threads, building->thread_count,
                               &building->thread_capacity, sizeof *building->threads);
        building->threads[building->thread_count] = (struct thread){0, 0};
        *number = (uint32_t)building->thread_count++;
    }
    return *number;
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
    /* Its free is missing from the trace. */
    if (*cal__table_at(&building->live, key) != CAL__TABLE_NOTHING)
        cal__building_free_block(building, thread, key);
    if (!has_room(building))
        return;
    building->blocks = cal__allocate_grow(building->blocks, building->block_count,
                                          &building->block_capacity, sizeof *building->blocks);
    building->blocks[building->block_count] = (struct block){.size = size};
    uint32_t number = *cal__table_at(&building->live, key) = (uint32_t)building->block_count++;
    add_call(building, thread, number, kind, alignment, size);
    building->allocations++;
    building->allocated_bytes += size;
    count_bytes(building, 0, size);
}

void cal__building_free_block(struct cal__building *building, uint32_t thread, uint64_t key)
{
    uint32_t *number = cal__table_at(&building->live, key);
    if (*number == CAL__TABLE_NOTHING) {
        building->ignored++;
        return;
    }
    if (!has_room(building))
        return;
    struct block *block = &building->blocks[*number];
    add_call(building, thread, *number, CAL__CALL_FREE, 0, block->size);
    count_bytes(building, block->size, 0);
    *number = CAL__TABLE_NOTHING;
}

void cal__building_resize(struct cal__building *building, uint32_t thread, uint64_t key,
                          uint64_t new_key, uint64_t size)
{
    uint32_t number = *cal__table_at(&building->live, key);
    if (number == CAL__TABLE_NOTHING) {
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
    *cal__table_at(&building->live, key) = CAL__TABLE_NOTHING;
    /* Where another block is, its free is missing. */
    if (*cal__table_at(&building->live, new_key) != CAL__TABLE_NOTHING)
        cal__building_free_block(building, thread, new_key);
    *cal__table_at(&building->live, new_key) = number;
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
