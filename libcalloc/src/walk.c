#include "walk.h"

#include <calloc/hooks.h>

#include "annotate.h"
#include "gather.h"
#include "os.h"
#include "owner.h"
#include "slots.h"
#include "span.h"
#include "thread.h"

/* These functions read lists whose owner may be changing them. What they read is checked before
 * it is followed, so the race costs exactness and nothing else. */
#define RACY __attribute__((no_sanitize("thread")))

/* True when BLOCK is a slot of PAGE that was cut. */
static bool in_page(const struct cal__page *page, const void *block)
{
    size_t offset = (size_t)((const char *)block - cal__page_start(page));
    return offset < (size_t)cal__page_carved(page) * page->block_size &&
           offset % page->block_size == 0;
}

/* Calls VISIT for each block of a list that stays inside the page. */
RACY static size_t for_list(const struct cal__page *page, void *block,
                            void (*visit)(uint32_t slot, void *argument), void *argument)
{
    size_t count = 0;
    while (block != NULL && count < cal__page_carved(page) && in_page(page, block)) {
        if (visit != NULL)
            visit(cal__page_slot(page, block), argument);
        count++;
        block = cal__block_next(block);
    }
    return count;
}

RACY static void *at_hand(const struct cal__page *page)
{
    const struct cal__heap *heap = cal__page_heap(page);
    if (page->list != CAL_LIST_CURRENT || heap == NULL)
        return NULL;
    return heap->free[page->size_class];
}

static void *remote_list(const struct cal__page *page)
{
    return cal__remote_first(atomic_load_explicit(&page->remote, memory_order_acquire));
}

/* What other threads freed and have not sent home yet. */
RACY static size_t for_gathered(const struct cal__page *page,
                                void (*visit)(uint32_t slot, void *argument), void *argument)
{
    size_t count = 0;
    for (struct cal__heap *heap = cal__thread_first_heap(); heap != NULL;
         heap = cal__link_get(&heap->next))
        count += for_list(page, cal__gather_first(heap, page), visit, argument);
    return count;
}

RACY size_t cal__walk_at_hand(const struct cal__heap *heap, unsigned size_class)
{
    const struct cal__page *page = heap->bins[size_class].current;
    return page == NULL ? 0 : for_list(page, heap->free[size_class], NULL, NULL);
}

/* Slots that continue a block which is not in the remote list (those still have their bits). */
static size_t continuations(const struct cal__page *page)
{
    _Atomic uint64_t *word = atomic_load_explicit(&page->merged, memory_order_acquire);
    size_t count = 0;
    for (uint32_t i = 0; word != NULL && i < (page->capacity + 63U) / 64; i++)
        count += (size_t)__builtin_popcountll(atomic_load_explicit(&word[i], memory_order_relaxed));
    return count;
}

struct extra {
    const struct cal__page *page;
    size_t slots;
};

static void add_extra(uint32_t slot, void *argument)
{
    struct extra *extra = argument;
    extra->slots += cal__merged_slots(extra->page, slot) - 1;
}

RACY struct cal__walk_count cal__walk_live(const struct cal__page *page)
{
    if (page->block_size == 0)
        return (struct cal__walk_count){0, 0};
    if (page->kind == CAL_PAGE_SLOTS) {
        const struct cal__slots *slots = cal__page_slots(page);
        size_t live = slots == NULL ? 0 : cal__slots_live(slots);
        return (struct cal__walk_count){live, live * page->block_size};
    }
    struct extra in_remote = {page, 0};
    size_t used = cal__page_used(page);
    size_t idle = for_list(page, at_hand(page), NULL, NULL) + for_gathered(page, NULL, NULL) +
                  for_list(page, remote_list(page), add_extra, &in_remote);
    size_t slots = used - cal__min(used, idle + in_remote.slots);
    size_t extra = continuations(page) - in_remote.slots;
    return (struct cal__walk_count){slots - cal__min(slots, extra), slots * page->block_size};
}

static bool is_large(const struct cal__page *page)
{
    return page->kind == CAL_PAGE_RUN || page->kind == CAL_PAGE_HUGE;
}

struct region_walk {
    bool (*visit)(const struct cal_region *region, void *argument);
    void *argument;
};

RACY static bool visit_region(struct cal__page *page, void *argument)
{
    struct region_walk *walk = argument;
    struct cal_region region = {
        .size = sizeof region,
        .address = cal__page_start(page),
        .length = cal__page_bytes(page),
        .block_size = page->size,
        .blocks = 1,
        .live = 1,
    };
    /* One that the program gave back and an add-on keeps is there, but not live. */
    const struct cal__slots *slots = is_large(page) ? cal__page_slots(page) : NULL;
    if (slots != NULL)
        region.live = cal__slots_live(slots);
    struct cal_range_counts counts;
    switch (page->kind) {
    case CAL_PAGE_SLAB:
    case CAL_PAGE_SLOTS:
        region.kind = CAL_REGION_SLAB;
        region.block_size = page->block_size;
        region.blocks = cal__page_carved(page);
        region.live = cal__walk_live(page).blocks;
        break;
    case CAL_PAGE_RUN:
        region.kind = CAL_REGION_RUN;
        break;
    case CAL_PAGE_HUGE:
        region.kind = CAL_REGION_MAPPING;
        break;
    case CAL_PAGE_RANGE:
        region.kind = CAL_REGION_RANGE;
        counts = cal__owner_counts(page);
        region.block_size = 0;
        region.blocks = counts.allocations;
        region.live = counts.live;
        break;
    default:
        region.kind = CAL_REGION_FREE;
        region.block_size = region.blocks = region.live = 0;
        region.dirty = !page->zeroed;
    }
    return walk->visit(&region, walk->argument);
}

CAL_EXPORT bool cal_walk_regions(bool (*visit)(const struct cal_region *region, void *argument),
                                 void *argument)
{
    struct region_walk walk = {visit, argument};
    cal__annotate_begin();
    cal__thread_lock();
    bool complete = cal__span_walk(visit_region, &walk);
    cal__thread_unlock();
    cal__annotate_end();
    return complete;
}

/* Blocks: a bitmap of the slots that are free, on memory of its own. */

struct block_walk {
    bool (*visit)(void *block, size_t usable, void *argument);
    void *argument;
    uint64_t *free_slots;
    const struct cal__page *page;
};

#define BITMAP_BYTES (CAL_GRANULE / CAL_ALIGNMENT / 8)

static void mark(uint32_t slot, void *argument)
{
    struct block_walk *walk = argument;
    walk->free_slots[slot / 64] |= (uint64_t)1 << (slot % 64);
}

static void mark_merged(uint32_t slot, void *argument)
{
    struct block_walk *walk = argument;
    uint32_t slots = cal__merged_slots(walk->page, slot);
    for (uint32_t i = 0; i < slots; i++)
        mark(slot + i, argument);
}

RACY static bool visit_slab(struct cal__page *page, struct block_walk *walk)
{
    if (page->block_size == 0)
        return true;
    walk->page = page;
    for (size_t i = 0; i < BITMAP_BYTES / 8; i++)
        walk->free_slots[i] = 0;
    for_list(page, page->free, mark, walk);
    for_list(page, at_hand(page), mark, walk);
    for_list(page, remote_list(page), mark_merged, walk);
    for_gathered(page, mark, walk);
    for (uint32_t slot = 0; slot < cal__page_carved(page);) {
        uint32_t slots = cal__merged_slots(page, slot);
        if (!((walk->free_slots[slot / 64] >> (slot % 64)) & 1) &&
            !walk->visit(cal__page_start(page) + (size_t)slot * page->block_size,
                         (size_t)slots * page->block_size, walk->argument))
            return false;
        slot += slots;
    }
    return true;
}

static bool visit_slots(const struct cal__slots *slots, struct block_walk *walk)
{
    for (uint32_t slot = 0; slots != NULL && slot < slots->slab.slots; slot++)
        if ((cal_slot_mark(&slots->slab, slot) & CAL_MARK_LIVE) != 0 &&
            !walk->visit(cal__slots_block(slots, slot), slots->slab.block_size, walk->argument))
            return false;
    return true;
}

static bool visit_blocks(struct cal__page *page, void *argument)
{
    struct block_walk *walk = argument;
    if (page->kind == CAL_PAGE_SLAB)
        return visit_slab(page, walk);
    bool slab = page->kind == CAL_PAGE_SLOTS;
    const struct cal__slots *slots = slab || is_large(page) ? cal__page_slots(page) : NULL;
    if (slab || slots != NULL)
        return visit_slots(slots, walk);
    if (page->kind == CAL_PAGE_RANGE)
        return cal__owner_walk(page, walk->visit, walk->argument);
    return !is_large(page) || walk->visit(cal__page_start(page), page->size, walk->argument);
}

CAL_EXPORT bool cal_walk_blocks(bool (*visit)(void *block, size_t usable, void *argument),
                                void *argument)
{
    size_t length = cal__round_up(BITMAP_BYTES, cal__os_page_size());
    struct block_walk walk = {visit, argument, cal__os_map(length, cal__os_page_size(), NULL),
                              NULL};
    if (walk.free_slots == NULL)
        return false;
    cal__annotate_begin();
    cal__thread_lock();
    bool complete = cal__span_walk(visit_blocks, &walk);
    cal__thread_unlock();
    cal__annotate_end();
    cal__os_unmap(walk.free_slots, length);
    return complete;
}

struct slab_walk {
    bool (*visit)(struct cal_slab *slab, void *argument);
    void *argument;
};

static bool visit_slab_of(struct cal__page *page, void *argument)
{
    const struct slab_walk *walk = argument;
    struct cal__slots *slots = cal__slots_of(page);
    if (slots != NULL)
        cal__slots_check(page);
    return slots == NULL || walk->visit(&slots->slab, walk->argument);
}

CAL_EXPORT bool cal_walk_slabs(bool (*visit)(struct cal_slab *slab, void *argument), void *argument)
{
    struct slab_walk walk = {visit, argument};
    cal__annotate_begin();
    cal__thread_lock();
    bool complete = cal__span_walk(visit_slab_of, &walk);
    cal__thread_unlock();
    cal__annotate_end();
    return complete;
}
