/* Blocks by themselves where an add-on plays the role slots: each is a slab of one slot in a page of its own.
 *
 * The role may have protected pages beside the block, which takes a system call for each when the slab is opened and
 * one more when it is closed. So blocks that were given back rest for a while with their slabs open, and serve
 * requests of as many granules: `reopen` then has to move what is not where it was. */
#include <string.h>

#include "large.h"
#include "options.h"
#include "os.h"
#include "slots.h"
#include "span.h"

#define played cal__slots_played

/* So long are blocks that rest at most, in granules; all of them take a part of what large blocks take, or this much;
 * and a block may be such a part longer than it was asked for. */
enum { REST_LONGEST = 32, REST_SHARE = 12, REST_LEAST = 16, REST_WASTE = 4 };

/* By length, those that began to rest last first. Under the lock for records. */
static struct {
    struct cal__link first[REST_LONGEST];
    _Atomic size_t granules;
    uint64_t check; /* until then none has rested long enough */
} resting;

/* From the start of its range to a block of SIZE bytes. */
static size_t offset_in_range(size_t length, size_t size, size_t alignment,
                              const struct cal_guard *guard)
{
    if (!guard->at_end || alignment > cal__os_page_size())
        return cal__round_up(guard->before, alignment);
    return (length - guard->after - size) & ~(alignment - 1);
}

/* In whole pages of the kernel's; false when that is too much to be meant. */
static bool round_guard(struct cal_guard *guard)
{
    if (guard->before > CAL_REQUEST_MAX / 4 || guard->after > CAL_REQUEST_MAX / 4)
        return false;
    guard->before = cal__round_up(guard->before, cal__os_page_size());
    guard->after = cal__round_up(guard->after, cal__os_page_size());
    return true;
}

/* Granules of the longest range of a large block so far. */
static _Atomic size_t longest;

size_t cal__slots_longest(void)
{
    return atomic_load_explicit(&longest, memory_order_relaxed);
}

static void raise_longest(size_t granules)
{
    size_t before = atomic_load_explicit(&longest, memory_order_relaxed);
    while (granules > before &&
           !atomic_compare_exchange_weak_explicit(&longest, &before, granules, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static void place(struct cal__slots *slots, size_t offset, size_t after)
{
    struct cal_slab *slab = &slots->slab;
    slab->first = (char *)slab->address + offset;
    slab->block_size = slab->length - offset - after;
    slab->room = cal__slots_room(slab->block_size);
}

/* The block is about to be handed out. */
static void begin(struct cal__page *page, const struct cal__slots *slots)
{
    size_t offset = (size_t)((char *)slots->slab.first - cal__page_start(page));
    size_t reach = (offset >> CAL_GRANULE_SHIFT) + 1;
    cal__large_begin(page, slots->slab.block_size);
    if (reach > 1)
        cal__span_reach(page, reach);
}

/* False without memory, and then the page is released. */
static bool open_large(struct cal__page *page, size_t offset, size_t after)
{
    struct cal__slots *slots = cal__slots_record_new(page, CAL_SLOTS_LARGE_SHELF, 1);
    if (slots == NULL) {
        cal__span_release(page);
        return false;
    }
    place(slots, offset, after);
    uint32_t usable;
    if (!cal__slots_record_open(slots, &usable))
        return false;
    slots->slab.free_slots[0] = 0;
    /* So that offset 0 is a start and no other. */
    slots->factor = 1;
    cal_slot_set_mark(&slots->slab, 0, CAL_MARK_NEVER);
    raise_longest(cal__page_granules(page));
    cal__slots_publish(page, slots);
    begin(page, slots);
    return true;
}

/* Resting. */

/* False: it may not rest. */
static bool rest(struct cal__page *page)
{
    size_t granules = cal__page_granules(page);
    if (played.reopen == NULL || page->kind != CAL_PAGE_RUN || granules > REST_LONGEST ||
        cal__options.purge_delay == 0)
        return false;
    size_t bytes = cal__large_statistics(CAL_PAGE_RUN).live_bytes +
                   cal__large_statistics(CAL_PAGE_HUGE).live_bytes;
    size_t most = cal__max(bytes / REST_SHARE >> CAL_GRANULE_SHIFT, REST_LEAST);
    struct cal__slots *slots = cal__page_slots(page);
    slots->expiry = cal__os_milliseconds() + cal__options.purge_delay;
    cal__slots_lock();
    size_t before = atomic_load_explicit(&resting.granules, memory_order_relaxed);
    bool may = before + granules <= most;
    if (may) {
        if (before == 0)
            resting.check = slots->expiry;
        slots->next_unused = resting.first[granules - 1];
        cal__link_set(&resting.first[granules - 1], slots);
        atomic_store_explicit(&resting.granules, before + granules, memory_order_relaxed);
    }
    cal__slots_unlock(false);
    return may;
}

/* Takes what *LINK points at out of its list: ONE, or it and all that began to rest before it, which stay linked. */
static struct cal__slots *cut(struct cal__link *link, bool one)
{
    struct cal__slots *slots = cal__link_get(link);
    size_t granules = 0;
    for (struct cal__slots *next = slots; next != NULL;
         next = one ? NULL : cal__link_get(&next->next_unused)) {
        const struct cal__page *page = cal__slots_page(next);
        cal__slots_check(page);
        granules += cal__page_granules(page);
    }
    link->word = one ? slots->next_unused.word : 0;
    atomic_store_explicit(&resting.granules,
                          atomic_load_explicit(&resting.granules, memory_order_relaxed) - granules,
                          memory_order_relaxed);
    return slots;
}

/* One that rested, of so many granules or hardly more, if there is one. */
static struct cal__slots *take_resting(size_t granules)
{
    if (granules > REST_LONGEST ||
        atomic_load_explicit(&resting.granules, memory_order_relaxed) == 0)
        return NULL;
    size_t most = cal__min(granules + granules / REST_WASTE, REST_LONGEST);
    struct cal__slots *slots = NULL;
    cal__slots_lock();
    for (; slots == NULL && granules <= most; granules++)
        if (resting.first[granules - 1].word != 0)
            slots = cut(&resting.first[granules - 1], true);
    cal__slots_unlock(false);
    return slots;
}

/* A block in the place of one that rested; NULL: there is none, or it cannot be. */
static void *use_again(size_t granules, size_t size, size_t alignment,
                       const struct cal_guard *guard)
{
    struct cal__slots *slots = take_resting(granules);
    if (slots == NULL)
        return NULL;
    size_t offset = offset_in_range(slots->slab.length, size, alignment, guard);
    /* Walks look at it. */
    cal__span_lock();
    place(slots, offset, guard->after);
    slots->slab.fresh = false;
    cal__slots_seal(slots);
    /* As in a slab that was just opened. */
    cal_slot_set_mark(&slots->slab, 0, CAL_MARK_NEVER);
    cal__span_unlock(false);
    if (!played.reopen(&slots->slab)) {
        cal_slot_set_mark(&slots->slab, 0, CAL_SLOT_FREED);
        cal__slots_release(cal__slots_page(slots));
        return NULL;
    }
    begin(cal__slots_page(slots), slots);
    return slots->slab.first;
}

/* Ends the rest of those whose time is over NOW: of all with UINT64_MAX. */
static void end_rest(uint64_t now)
{
    struct cal__slots *ended[REST_LONGEST] = {NULL};
    cal__slots_lock();
    resting.check = UINT64_MAX;
    for (unsigned i = 0; i < REST_LONGEST; i++) {
        struct cal__link *link = &resting.first[i];
        struct cal__slots *slots;
        for (; (slots = cal__link_get(link)) != NULL && slots->expiry > now;
             link = &slots->next_unused)
            resting.check = cal__min(resting.check, slots->expiry);
        if (slots != NULL)
            ended[i] = cut(link, false);
    }
    cal__slots_unlock(false);
    for (unsigned i = 0; i < REST_LONGEST; i++)
        for (struct cal__slots *slots = ended[i], *next; slots != NULL; slots = next) {
            next = cal__link_get(&slots->next_unused);
            cal__slots_release(cal__slots_page(slots));
        }
}

void cal__slots_large_purge(bool all)
{
    if (atomic_load_explicit(&resting.granules, memory_order_relaxed) == 0)
        return;
    uint64_t now = all ? UINT64_MAX : cal__os_milliseconds();
    cal__slots_lock();
    bool some = now >= resting.check;
    cal__slots_unlock(false);
    if (some)
        end_rest(now);
}

void *cal__slots_large(size_t size, const struct cal_call *call, bool *zeroed)
{
    struct cal_guard guard = {0, 0, false};
    size_t alignment = call->alignment;
    if (played.guard != NULL)
        played.guard(call, &guard);
    if (!round_guard(&guard))
        return NULL;
    size_t before = cal__round_up(guard.before, alignment);
    /* The map can be told of no more. */
    if ((before >> CAL_GRANULE_SHIFT) + 2 > UINT16_MAX)
        before = guard.before = 0;
    size_t behind = cal__round_up(size, cal__min(alignment, cal__os_page_size())) + guard.after;
    if (behind > CAL_REQUEST_MAX - before)
        return NULL;
    size_t length = cal__round_up(before + behind, CAL_GRANULE);
    /* Zeros are better had of the kernel. */
    void *block = *zeroed || alignment > CAL_GRANULE
                      ? NULL
                      : use_again(length >> CAL_GRANULE_SHIFT, size, alignment, &guard);
    if (block != NULL)
        return block;
    bool run = length <= CAL_RUN_MAX && alignment <= CAL_RUN_MAX;
    struct cal__page *page =
        cal__span_allocate(length >> CAL_GRANULE_SHIFT, cal__max(alignment >> CAL_GRANULE_SHIFT, 1),
                           run ? CAL_PAGE_RUN : CAL_PAGE_HUGE, *zeroed);
    if (page == NULL)
        return NULL;
    *zeroed = page->zeroed;
    size_t offset = offset_in_range(length, size, alignment, &guard);
    if (!open_large(page, offset, guard.after))
        return NULL;
    return cal__page_start(page) + offset;
}

void cal__slots_large_give(struct cal__page *page)
{
    /* The record stays for a while, it may be. */
    cal_slot_set_mark(&cal__page_slots(page)->slab, 0, CAL_SLOT_FREED);
    if (!rest(page))
        cal__slots_release(page);
    cal__slots_large_purge(false);
}
