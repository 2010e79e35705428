#include "owner.h"

#include <errno.h>
#include <string.h>

#include "annotate.h"
#include "heap.h"
#include "hooks.h"
#include "map.h"
#include "os.h"
#include "slots.h"
#include "span.h"

/* Read without a lock, from the start to the first NULL. One that is read twice, or not at all, while
 * another is taken out is harmless: tables are valid for ever. */
static _Atomic uint64_t asked[CAL_HOOKS_MAX + 1]; /* links */

/* Requests for more are nobody's. */
static _Atomic size_t claims;

static _Atomic size_t past_allocations;
static _Atomic size_t past_bytes;

bool cal__owner_is_complete(const struct cal_owner *owner)
{
    return CAL_HOOKS_FUNCTION(owner, deallocate) != NULL &&
           CAL_HOOKS_FUNCTION(owner, usable) != NULL;
}

static size_t claims_of(const struct cal_owner *owner)
{
    bool says = owner->size >= offsetof(struct cal_owner, claims) + sizeof owner->claims;
    return says && owner->claims != 0 ? owner->claims : SIZE_MAX;
}

void cal__owner_add(const struct cal_owner *owner)
{
    if (CAL_HOOKS_FUNCTION(owner, claim) == NULL)
        return;
    unsigned place = 0;
    while (atomic_load_explicit(&asked[place], memory_order_relaxed) != 0)
        place++;
    size_t largest = atomic_load_explicit(&claims, memory_order_relaxed);
    atomic_store_explicit(&claims, cal__max(largest, claims_of(owner)), memory_order_relaxed);
    cal__link_store(&asked[place], owner, memory_order_release);
}

void cal__owner_remove(const struct cal_owner *owner)
{
    bool found = false;
    size_t largest = 0;
    for (unsigned place = 0; place < CAL_HOOKS_MAX; place++) {
        found |= cal__link_load(&asked[place], memory_order_relaxed) == owner;
        if (found)
            atomic_store_explicit(&asked[place],
                                  atomic_load_explicit(&asked[place + 1], memory_order_relaxed),
                                  memory_order_release);
        const struct cal_owner *left = cal__link_load(&asked[place], memory_order_relaxed);
        largest = left == NULL ? largest : cal__max(largest, claims_of(left));
    }
    atomic_store_explicit(&claims, largest, memory_order_relaxed);
}

bool cal__owner_claims(void)
{
    return atomic_load_explicit(&asked[0], memory_order_acquire) != 0;
}

size_t cal__owner_largest(void)
{
    return atomic_load_explicit(&claims, memory_order_relaxed);
}

void *cal__owner_claim(const struct cal_call *call)
{
    for (unsigned place = 0; place < CAL_HOOKS_MAX; place++) {
        const struct cal_owner *owner = cal__link_load(&asked[place], memory_order_acquire);
        if (owner == NULL)
            break;
        void *block = call->bytes <= claims_of(owner) ? owner->claim(call) : NULL;
        if (block != NULL)
            return block;
    }
    return NULL;
}

static const struct cal_owner *owner_of(const struct cal__page *page)
{
    return cal__link_load(&page->owner, memory_order_acquire);
}

/* The state may be anything, so that it says nothing of itself. */
static uint64_t sum_of(const struct cal__page *page)
{
    return cal__link_sum((uintptr_t)page, (uintptr_t)page->free);
}

static void *state_of(const struct cal__page *page)
{
    if (CAL_UNLIKELY(page->factor != sum_of(page)))
        cal__link_broken(page);
    return (void *)cal__link_decoded((uintptr_t)page->free);
}

bool cal__owner_free(const struct cal__page *page, void *block, const struct cal_call *call)
{
    return owner_of(page)->deallocate(state_of(page), block, call);
}

size_t cal__owner_usable(const struct cal__page *page, const void *block)
{
    size_t usable = owner_of(page)->usable(state_of(page), block);
    return usable == 0 ? SIZE_MAX : usable == CAL_RANGE_EMPTY ? 0 : usable;
}

bool cal__owner_resize(const struct cal__page *page, void *block, size_t bytes)
{
    const struct cal_owner *owner = owner_of(page);
    bool (*resize)(void *, void *, size_t) = CAL_HOOKS_FUNCTION(owner, resize);
    return resize != NULL && resize(state_of(page), block, bytes);
}

struct cal_range_counts cal__owner_counts(const struct cal__page *page)
{
    struct cal_range_counts counts = {.size = sizeof counts};
    /* A range that is being mapped has none yet. */
    const struct cal_owner *owner = owner_of(page);
    void (*count)(void *, struct cal_range_counts *) = CAL_HOOKS_FUNCTION(owner, count);
    if (count != NULL)
        count(state_of(page), &counts);
    return counts;
}

bool cal__owner_walk(const struct cal__page *page,
                     bool (*visit)(void *block, size_t usable, void *argument), void *argument)
{
    const struct cal_owner *owner = owner_of(page);
    bool (*walk)(void *, bool (*)(void *, size_t, void *), void *) =
        CAL_HOOKS_FUNCTION(owner, walk);
    return walk == NULL || walk(state_of(page), visit, argument);
}

struct cal_range_counts cal__owner_past(void)
{
    return (struct cal_range_counts){
        .size = sizeof(struct cal_range_counts),
        .allocations = atomic_load_explicit(&past_allocations, memory_order_relaxed),
        .allocated_bytes = atomic_load_explicit(&past_bytes, memory_order_relaxed),
    };
}

/* Ranges. */

CAL_EXPORT void *cal_range_map(const struct cal_owner *owner, size_t length, size_t alignment,
                               void *state)
{
    if (!cal__owner_is_complete(owner) || length == 0 || length > CAL_REQUEST_MAX ||
        alignment > CAL_REQUEST_MAX || (alignment != 0 && !cal__is_power_of_two(alignment)))
        return NULL;
    /* Options come first, whoever calls. */
    cal__heap_get();
    struct cal__page *page = cal__span_allocate(
        cal__granules(length), cal__max(alignment >> CAL_GRANULE_SHIFT, 1), CAL_PAGE_RANGE, true);
    if (page == NULL)
        return NULL;
    void *address = cal__page_start(page);
    if (cal__annotating != CAL_ANNOTATE_NONE)
        cal__annotate_accessible(address, cal__page_bytes(page));
    if (!page->zeroed)
        memset(address, 0, cal__page_bytes(page));
    page->free = (void *)cal__link_encoded(state);
    page->factor = sum_of(page);
    cal__link_store(&page->owner, owner, memory_order_release);
    return address;
}

CAL_EXPORT int cal_range_unmap(const struct cal_owner *owner, void *address)
{
    struct cal__page *page = cal__map_find(cal__granule_of(address));
    if (page == NULL || page->kind != CAL_PAGE_RANGE || cal__page_start(page) != address ||
        owner == NULL || owner_of(page) != owner)
        return -EINVAL;
    struct cal_range_counts counts = cal__owner_counts(page);
    atomic_fetch_add_explicit(&past_allocations, counts.allocations, memory_order_relaxed);
    atomic_fetch_add_explicit(&past_bytes, counts.allocated_bytes, memory_order_relaxed);
    if (cal__annotating != CAL_ANNOTATE_NONE)
        cal__annotate_region(address, cal__page_bytes(page));
    /* An add-on with the role slots may count on it that what it has not seen freed is zeros. */
    if (cal__slots_role() != NULL && !cal__os_purge(address, cal__page_bytes(page)))
        memset(address, 0, cal__page_bytes(page));
    cal__span_release(page);
    return 0;
}
