#include "place.h"

#include <string.h>

#include "link.h"
#include "lock.h"
#include "options.h"
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
/* Where places are chosen by chance: above which the next mapping may be asked for as well; 0: it may not. */
static uint64_t ceiling;

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

/* Seams: a bit for each granule where another mapping of the kernel may begin, by the low bits of
 * the granule's number. A bit too many only means that what could move at once moves in two parts;
 * one too few that a move may be refused. */
#define SEAM_BITS ((uint64_t)1 << 20)
/* Of about 65,000 mappings that the kernel allows a process, what moving takes at most. */
#define SEAMS_MAX ((size_t)16384)

static uint64_t seams[SEAM_BITS / 64];
static size_t seam_count;
static uint64_t refused_until;

static uint64_t seam_mask(uint64_t granule)
{
    return (uint64_t)1 << (granule % 64);
}

static bool is_seam(uint64_t granule)
{
    return (seams[granule % SEAM_BITS / 64] & seam_mask(granule)) != 0;
}

static void add_seam(uint64_t granule)
{
    seam_count += !is_seam(granule);
    seams[granule % SEAM_BITS / 64] |= seam_mask(granule);
}

/* There are none between these two. Whole words at a time: blocks may have terabytes. */
static void clear_seams(uint64_t first, uint64_t end)
{
    if (end - first > SEAM_BITS)
        end = first + SEAM_BITS;
    while (first < end && seam_count != 0) {
        if (seams[first % SEAM_BITS / 64] == 0) {
            first = (first | 63) + 1;
            continue;
        }
        seam_count -= is_seam(first);
        seams[first % SEAM_BITS / 64] &= ~seam_mask(first);
        first++;
    }
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
    if (place == 0 && ceiling != 0 && cal__link_place(2) != 0)
        place = cal__round_up(ceiling, alignment);
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
    clear_seams(first + 1, first + granules);
    if (hint != NULL && first != wanted)
        /* Somebody is there: do not ask for it again. */
        fill(wanted, wanted + granules);
    if (frontier == 0 && cal__link_scatters())
        ceiling = first + granules;
    else if (ceiling != 0 && wanted >= ceiling)
        /* Once somebody is there, what is free lies between others' mappings. */
        ceiling = first == wanted ? first + granules : 0;
    if (frontier == 0 || first < frontier || (first != wanted && wanted < frontier))
        frontier = first;
    cal__lock_release(&lock);
}

/* As far below the place that the kernel chooses the first mapping may lie, and no further than by a part of the
 * address. */
#define SCATTER_BYTES ((uint64_t)1 << 40)
#define SCATTER_SHARE 4

/* The first mapping, at an address that is not the kernel's next one; NULL when refused. */
static void *map_somewhere(size_t granules, size_t alignment)
{
    size_t bytes = granules << CAL_GRANULE_SHIFT;
    alignment <<= CAL_GRANULE_SHIFT;
    char *usual = cal__os_map(bytes, cal__os_page_size(), NULL);
    if (usual == NULL)
        return NULL;
    uint64_t reach = cal__min(SCATTER_BYTES, (uintptr_t)usual / SCATTER_SHARE);
    uintptr_t place = (uintptr_t)usual - bytes - cal__link_place(reach);
    void *there = cal__os_map(bytes, alignment, (void *)(place & ~(alignment - 1)));
    /* If the kernel keeps it, it is address space that nobody touches. */
    cal__os_unmap(usual, bytes);
    return there != NULL ? there : cal__os_map(bytes, alignment, NULL);
}

/* The range is no longer mapped. */
static void unmapped(const void *address, size_t granules)
{
    uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
    uint64_t end = first + granules;
    cal__lock_acquire(&lock);
    clear_seams(first + 1, end);
    unsigned index = 0;
    while (index < count && holes[index].end < first)
        index++;
    /* Join what touches on either side. */
    while (index < count && holes[index].first <= end) {
        first = first < holes[index].first ? first : holes[index].first;
        end = end > holes[index].end ? end : holes[index].end;
        hole_remove(index);
    }
    if (first <= frontier && end > frontier) {
        frontier = end;
        ceiling = ceiling != 0 ? cal__max(ceiling, end) : 0;
    } else if (first < ceiling && end >= ceiling) {
        ceiling = first;
    } else {
        hole_insert(index, first, end);
    }
    cal__lock_release(&lock);
}

void *cal__place_map(size_t granules, size_t alignment)
{
    void *hint = hint_for(granules, alignment);
    void *address =
        hint == NULL && cal__link_scatters()
            ? map_somewhere(granules, alignment)
            : cal__os_map(granules << CAL_GRANULE_SHIFT, alignment << CAL_GRANULE_SHIFT, hint);
    if (address == NULL)
        return NULL;
    remember(hint, address, granules);
    if (CAL_UNLIKELY(cal__options.huge_pages != 0) && granules >= CAL_HUGE_GRANULES) {
        uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
        cal__os_advise_huge(address, granules << CAL_GRANULE_SHIFT);
        /* To the kernel it is another mapping than a neighbour that is not for huge pages. */
        cal__lock_acquire(&lock);
        add_seam(first);
        add_seam(first + granules);
        cal__lock_release(&lock);
    }
    return address;
}

bool cal__place_unmap(void *address, size_t granules)
{
    bool done = cal__os_unmap(address, granules << CAL_GRANULE_SHIFT);
    if (done)
        unmapped(address, granules);
    return done;
}

/* Granules from FIRST on, at most LIMIT, that are one mapping to the kernel. */
static size_t up_to_seam(uint64_t first, size_t limit)
{
    size_t granules = limit;
    cal__lock_acquire(&lock);
    if (seam_count != 0)
        for (granules = 1; granules < limit && !is_seam(first + granules);)
            granules++;
    cal__lock_release(&lock);
    return granules;
}

bool cal__place_unmap_hole(void *address, size_t granules)
{
    if (!cal__place_unmap(address, granules))
        return false;
    uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
    cal__lock_acquire(&lock);
    add_seam(first);
    add_seam(first + granules);
    cal__lock_release(&lock);
    return true;
}

size_t cal__place_pieces(const void *address, size_t granules)
{
    uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
    size_t pieces = 1;
    cal__lock_acquire(&lock);
    for (size_t i = 1; i < granules && seam_count != 0; i++)
        pieces += is_seam(first + i);
    cal__lock_release(&lock);
    return pieces;
}

bool cal__place_purge(void *address, size_t granules)
{
    size_t size = granules << CAL_GRANULE_SHIFT;
    /* What is for huge pages would not be any more. */
    bool renew = cal__options.huge_pages == 0 && cal__place_pieces(address, granules) > 1;
    if (!renew || !cal__os_renew(address, size))
        return cal__os_purge(address, size);
    uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
    cal__lock_acquire(&lock);
    clear_seams(first + 1, first + granules);
    cal__lock_release(&lock);
    return true;
}

/* Where pages were moved away from. */
static bool map_again(char *address, size_t granules)
{
    void *mapped = cal__os_map(granules << CAL_GRANULE_SHIFT, CAL_GRANULE, address);
    if (mapped == address) {
        uint64_t first = (uintptr_t)address >> CAL_GRANULE_SHIFT;
        cal__lock_acquire(&lock);
        clear_seams(first + 1, first + granules);
        cal__lock_release(&lock);
        return true;
    }
    if (mapped != NULL)
        cal__os_unmap(mapped, granules << CAL_GRANULE_SHIFT);
    return false;
}

size_t cal__place_move(void *address, size_t granules, void *destination, size_t *mapped)
{
    size_t done = 0;
    *mapped = 0;
    while (done < granules) {
        char *from = (char *)address + (done << CAL_GRANULE_SHIFT);
        char *to = (char *)destination + (done << CAL_GRANULE_SHIFT);
        size_t part = up_to_seam((uintptr_t)from >> CAL_GRANULE_SHIFT, granules - done);
        bool moved = cal__os_move(from, part << CAL_GRANULE_SHIFT, to);
        cal__lock_acquire(&lock);
        if (moved) {
            add_seam((uintptr_t)to >> CAL_GRANULE_SHIFT);
            add_seam(((uintptr_t)to >> CAL_GRANULE_SHIFT) + part);
        } else {
            refused_until = cal__os_milliseconds() + cal__options.purge_delay;
        }
        cal__lock_release(&lock);
        if (!moved)
            break;
        if (*mapped == done && map_again(from, part))
            *mapped += part;
        else
            unmapped(from, part);
        done += part;
    }
    return done;
}

bool cal__place_may_scatter(void)
{
    cal__lock_acquire(&lock);
    bool may =
        seam_count < SEAMS_MAX && (refused_until == 0 || cal__os_milliseconds() > refused_until);
    cal__lock_release(&lock);
    return may;
}

void cal__place_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__place_unlock(bool in_child)
{
    cal__lock_release_after_fork(&lock, in_child);
}
