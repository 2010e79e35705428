#include "map.h"

#include "metadata.h"
#include "os.h"

#define LEAF_BITS CAL_MAP_BITS
#define ROOT_BITS (CAL_ADDRESS_BITS - CAL_GRANULE_SHIFT - LEAF_BITS)
#define REGIONS   ((size_t)1 << ROOT_BITS)

/* Initialised by being in .bss: `none` matches no granule that user space has, because granule 0
 * cannot be mapped and nobody's thread pointer is zero. */
struct cal__map_guarded cal__map_guarded;

typedef struct cal__page *_Atomic leaf_entry;

/* One leaf per 4 GiB of address space, once more than one such region is in use. */
static leaf_entry *_Atomic root[REGIONS];
static uint64_t home_region;
static enum { NO_REGION, ONE_REGION, MANY_REGIONS } regions;

static leaf_entry *leaf_of(uint64_t granule)
{
    uint64_t region = granule >> LEAF_BITS;
    if (region >= REGIONS)
        return NULL;
    leaf_entry *leaf = atomic_load_explicit(&root[region], memory_order_acquire);
    return leaf == NULL ? NULL : &leaf[granule & (CAL_MAP_ENTRIES - 1)];
}

static bool page_contains(struct cal__page *page, uint64_t granule)
{
    uint64_t tag = atomic_load_explicit(&page->tag, memory_order_acquire);
    return tag != 0 && granule >= tag && granule - tag < cal__page_granules(page);
}

struct cal__page *cal__map_find(uint64_t granule)
{
    struct cal__page *page = cal__map_candidate((void *)(granule << CAL_GRANULE_SHIFT));
    if (CAL_LIKELY(page_contains(page, granule)))
        return page;
    leaf_entry *entry = leaf_of(granule);
    if (entry == NULL)
        return NULL;
    page = atomic_load_explicit(entry, memory_order_relaxed);
    return page != NULL && page_contains(page, granule) ? page : NULL;
}

void cal__map_guard(void)
{
    if (cal__os_page_size() == CAL_MAP_GUARD)
        cal__link_seal(cal__map_guarded.behind);
}

static bool make_leaf(uint64_t region)
{
    if (region >= REGIONS)
        return false;
    if (atomic_load_explicit(&root[region], memory_order_relaxed) != NULL)
        return true;
    leaf_entry *leaf = cal__metadata_map(CAL_MAP_ENTRIES * sizeof *leaf);
    if (leaf == NULL)
        return false;
    atomic_store_explicit(&root[region], leaf, memory_order_release);
    return true;
}

bool cal__map_reserve(uint64_t first, size_t granules)
{
    uint64_t begin = first >> LEAF_BITS;
    uint64_t end = (first + granules - 1) >> LEAF_BITS;
    if (regions == NO_REGION && begin == end) {
        home_region = begin;
        regions = ONE_REGION;
        return true;
    }
    if (regions == ONE_REGION && begin == home_region && end == home_region)
        return true;
    if (regions == ONE_REGION && !make_leaf(home_region))
        return false;
    for (uint64_t region = begin; region <= end; region++)
        if (!make_leaf(region))
            return false;
    regions = MANY_REGIONS;
    return true;
}

static intptr_t distance_of(const struct cal__page *page)
{
    return (intptr_t)page - (intptr_t)&cal__map.none;
}

static void set_one(struct cal__page *page, uint64_t granule)
{
    _Atomic intptr_t *entry = &cal__map.entry[granule & (CAL_MAP_ENTRIES - 1)];
    if (atomic_load_explicit(entry, memory_order_relaxed) == 0)
        atomic_store_explicit(entry, distance_of(page), memory_order_relaxed);
    else
        atomic_store_explicit(leaf_of(granule), page, memory_order_relaxed);
}

static void clear_one(struct cal__page *page, uint64_t granule)
{
    leaf_entry *overflow = leaf_of(granule);
    if (overflow != NULL && atomic_load_explicit(overflow, memory_order_relaxed) == page) {
        atomic_store_explicit(overflow, NULL, memory_order_relaxed);
        return;
    }
    _Atomic intptr_t *entry = &cal__map.entry[granule & (CAL_MAP_ENTRIES - 1)];
    if (atomic_load_explicit(entry, memory_order_relaxed) == distance_of(page))
        atomic_store_explicit(entry, 0, memory_order_relaxed);
}

void cal__map_set(struct cal__page *page, uint64_t first, size_t granules)
{
    for (size_t i = 0; i < granules; i++)
        set_one(page, first + i);
}

void cal__map_clear(struct cal__page *page, uint64_t first, size_t granules)
{
    for (size_t i = 0; i < granules; i++)
        clear_one(page, first + i);
}
