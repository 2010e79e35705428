#include "overlooked.h"

#include <calloc/hooks.h>
#include <string.h>

#include "blocks.h"
#include "memory.h"
#include "record.h"
#include "sort.h"

/* The blocks of the heap, by address. */
struct live {
    uintptr_t *addresses;
    size_t count;
    size_t capacity;
};

static bool add_live(void *block, size_t usable, void *argument)
{
    struct live *live = argument;
    (void)usable;
    if (live->count == live->capacity) {
        size_t wanted = live->capacity == 0 ? 1 << 14 : live->capacity * 2;
        uintptr_t *larger = cal__memory_map(wanted * sizeof *larger);
        if (larger == NULL)
            return false;
        if (live->count != 0)
            memcpy(larger, live->addresses, live->count * sizeof *larger);
        cal__memory_unmap(live->addresses, live->capacity * sizeof *larger);
        live->addresses = larger;
        live->capacity = wanted;
    }
    live->addresses[live->count++] = (uintptr_t)block;
    return true;
}

static bool is_lower(const void *a, const void *b)
{
    const uintptr_t *first = a, *second = b;
    return *first < *second;
}

/* False: no memory. */
static bool look(struct live *live)
{
    *live = (struct live){.count = 0};
    if (!cal_walk_blocks(add_live, live))
        return false;
    cal__sort(live->addresses, sizeof *live->addresses, live->count, is_lower);
    return true;
}

static void end_look(struct live *live)
{
    cal__memory_unmap(live->addresses, live->capacity * sizeof *live->addresses);
}

static bool is_live(const struct live *live, uintptr_t address)
{
    size_t low = 0, high = live->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (live->addresses[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < live->count && live->addresses[low] == address;
}

/* Whether it is a slot that an add-on is about to change, which walks leave out. */
static bool is_busy(const void *address)
{
    uint32_t slot;
    const struct cal_slab *slab = cal_slot_find(address, &slot);
    return slab != NULL && cal_slot_mark(slab, slot) == CAL_MARK_KEPT;
}

struct search {
    uint64_t time; /* what is recorded later is live, or its end was told of */
    struct live looks[2];
    bool any_missing; /* the first look did not find some block */
};

static bool is_missing(const struct search *search, const void *address,
                       const struct cal__block *block)
{
    return cal__time_is_before(block->time, search->time) &&
           !is_live(&search->looks[0], (uintptr_t)address);
}

/* Goes on until one is. */
static bool look_for_missing(void *address, const struct cal__block *block, void *argument)
{
    struct search *search = argument;
    search->any_missing = is_missing(search, address, block);
    return !search->any_missing;
}

static bool drop_if_gone(void *address, const struct cal__block *block, void *argument)
{
    const struct search *search = argument;
    if (is_missing(search, address, block) && !is_live(&search->looks[1], (uintptr_t)address) &&
        !is_busy(address))
        cal__record_overlooked(address, search->time);
    return true;
}

/* A walk follows lists that other threads are changing, and may go astray there and take blocks for free: but hardly
 * twice for the same one, so nothing is done before the second has not found it either. Without memory for both nothing is
 * done at all. */
void cal__overlooked_drop(void)
{
    struct search search = {.time = cal__record_time()};
    bool good = look(&search.looks[0]);
    if (good)
        cal__blocks_each(look_for_missing, &search);
    if (search.any_missing && look(&search.looks[1]))
        cal__blocks_each(drop_if_gone, &search);
    end_look(&search.looks[0]);
    end_look(&search.looks[1]);
}
