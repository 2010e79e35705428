#include "place.h"

#include <string.h>

#include "lock.h"
#include "os.h"

/* Holes that are remembered, in address order. When there are more the smallest is forgotten: the
 * kernel still knows it. */
#define HOLES 64

struct hole {
    uint64_t first;
    uint64_t end;
};

static struct cal__lock lock;
static struct hole holes[HOLES];
static unsigned count;
/* Where the next mapping is asked for when no hole serves: below it. Numbers of granules, here and above, and not addresses: those
 * would be a block's to a leak checker that looks for some. */
static uint64_t frontier;

static void hole_remove(unsigned index)
{
    count--;
    memmove(&holes[index], &holes[index + 1], (count - index) * sizeof holes[0]);
}

static void hole_insert(unsigned index, uint64_t first, uint64_t end)
{
    if (first >= end)
        return;
    if (count == HOLES) {
        unsigned smallest = 0;
        for (unsigned i = 1; i < count; i++)
            if (holes[i].end - holes[i].first < holes[smallest].end - holes[smallest].first)
                smallest = i;
        hole_remove(smallest);
        if (smallest < index)
            index--;
    }
    memmove(&holes[index + 1], &holes[index], (count - index) * sizeof holes[0]);
    holes[index] = (struct hole){first, end};
    count++;
}

/* An address to ask for; NULL for no opinion. */
static void *hint_for(size_t granules, size_t alignment)
{
    uint64_t place = 0;
    cal__lock_acquire(&lock);
    for (unsigned i = count; i-- > 0 && place == 0;) {
        uint64_t candidate = (holes[i].end - granules) & ~((uint64_t)alignment - 1);
        if (holes[i].end - holes[i].first >= granules && candidate >= holes[i].first)
            place = candidate;
    }
    if (place == 0 && frontier > granules + alignment)
        place = (frontier - granules) & ~((uint64_t)alignment - 1);
    cal__lock_release(&lock);
    return (void *)(place << CAL_GRANULE_SHIFT);
}

/* Forgets the parts of holes that [FIRST, END) covers. */
static void fill(uint64_t first, uint64_t end)
{
    for (unsigned i = count; i-- > 0;) {
        struct hole hole = holes[i];
        if (hole.end <= first || hole.first >= end)
            continue;
        hole_remove(i);
        if (hole.end > end)
            hole_insert(i, end, hole.end);
        if (hole.first < first)
            hole_insert(i, hole.first, first);
    }
}

/* The kernel answered HINT with ADDRESS. */
static void remember(const void *hint, const void *address, size_t granules)
{
    uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
    uint64_t wanted = (uintptr_t)hint >> CAL_GRANULE_SHIFT;
    cal__lock_acquire(&lock);
    fill(first, first + granules);
    if (hint != NULL && first != wanted)
        /* Somebody is there: do not ask for it again. */
        fill(wanted, wanted + granules);
    if (frontier == 0 || first < frontier || (first != wanted && wanted < frontier))
        frontier = first;
    cal__lock_release(&lock);
}

void cal__place_unmapped(const void *address, size_t granules)
{
    uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
    uint64_t end = first + granules;
    cal__lock_acquire(&lock);
    unsigned index = 0;
    while (index < count && holes[index].end < first)
        index++;
    /* Join what touches on either side. */
    while (index < count && holes[index].first <= end) {
        first = first < holes[index].first ? first : holes[index].first;
        end = end > holes[index].end ? end : holes[index].end;
        hole_remove(index);
    }
    if (first <= frontier && end > frontier)
        frontier = end;
    else
        hole_insert(index, first, end);
    cal__lock_release(&lock);
}

void *cal__place_map(size_t granules, size_t alignment)
{
    void *hint = hint_for(granules, alignment);
    void *address =
        cal__os_map(granules << CAL_GRANULE_SHIFT, alignment << CAL_GRANULE_SHIFT, hint);
    if (address != NULL)
        remember(hint, address, granules);
    return address;
}

bool cal__place_unmap(void *address, size_t granules)
{
    bool done = cal__os_unmap(address, granules << CAL_GRANULE_SHIFT);
    if (done)
        cal__place_unmapped(address, granules);
    return done;
}

void cal__place_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__place_unlock(bool in_child)
{
    cal__lock_release_after_fork(&lock, in_child);
}
