#include "huge.h"

#include "lock.h"
#include "options.h"
#include "os.h"
#include "place.h"
#include "span.h"

#define CACHED 16

static struct cal__lock lock;
static struct {
    struct cal__page *page;
    uint64_t expiry;
} cache[CACHED];
static struct cal__huge_statistics counts;

/* Whole granules, so that neighbours touch and the kernel keeps them as one mapping: the number of
 * mappings is limited (vm.max_map_count). What is not touched costs no memory. */
static size_t mapping_size(size_t size)
{
    return cal__round_up(size, CAL_GRANULE);
}

bool cal__huge_is_cached(const struct cal__page *page)
{
    return page->queued;
}

/* Takes the smallest kept mapping that serves, unless it would waste more than a quarter. */
static struct cal__page *cache_take(size_t length, size_t alignment)
{
    int best = -1;
    for (int i = 0; i < CACHED; i++) {
        struct cal__page *page = cache[i].page;
        if (page == NULL || page->size < length || page->size - length > length / 4 ||
            ((uintptr_t)cal__page_start(page) & (alignment - 1)) != 0)
            continue;
        if (best < 0 || page->size < cache[best].page->size)
            best = i;
    }
    if (best < 0)
        return NULL;
    struct cal__page *page = cache[best].page;
    cache[best].page = NULL;
    counts.cached_bytes -= page->size;
    page->queued = false;
    return page;
}

static void unmap(struct cal__page *page)
{
    void *address = cal__page_start(page);
    size_t length = page->size;
    /* Out of the map first: from the moment it is unmapped the address may be somebody's. */
    cal__span_hide(page);
    if (cal__place_unmap(address, length >> CAL_GRANULE_SHIFT))
        cal__span_unregister(page);
    else
        cal__span_donate(page, length, cal__os_purge(address, length));
}

/* A mapping that came to nothing: no page knows it yet. */
static CAL_COLD void unmap_unused(void *address, size_t length)
{
    if (cal__place_unmap(address, length >> CAL_GRANULE_SHIFT))
        return;
    struct cal__page *page = cal__span_register(address, length);
    if (page != NULL)
        cal__span_donate(page, length, true);
}

bool cal__huge_purge(bool all)
{
    bool any = false;
    uint64_t now = cal__os_milliseconds();
    for (int i = 0; i < CACHED; i++) {
        cal__lock_acquire(&lock);
        struct cal__page *page = cache[i].page;
        if (page != NULL && (all || cache[i].expiry <= now)) {
            cache[i].page = NULL;
            counts.cached_bytes -= page->size;
        } else {
            page = NULL;
        }
        cal__lock_release(&lock);
        if (page != NULL) {
            unmap(page);
            any = true;
        }
    }
    return any;
}

void *cal__huge_allocate(size_t size, size_t alignment, bool *zeroed)
{
    size_t length = mapping_size(size);
    alignment = cal__max(alignment, CAL_GRANULE);
    cal__lock_acquire(&lock);
    struct cal__page *page = cache_take(length, alignment);
    *zeroed = page == NULL;
    /* What it has too much goes back; if the kernel refuses, the program gets it. */
    if (page != NULL && page->size != length &&
        cal__os_resize(cal__page_start(page), page->size, length) == 0)
        page->size = length;
    if (page == NULL) {
        cal__lock_release(&lock);
        void *address = cal__place_map(length >> CAL_GRANULE_SHIFT, alignment >> CAL_GRANULE_SHIFT);
        if (address == NULL)
            return NULL;
        page = cal__span_register(address, length);
        if (page == NULL) {
            unmap_unused(address, length);
            return NULL;
        }
        cal__lock_acquire(&lock);
    }
    counts.allocations++;
    counts.live++;
    counts.live_bytes += page->size;
    counts.allocated_bytes += page->size;
    cal__lock_release(&lock);
    return cal__page_start(page);
}

/* Puts PAGE into the cache; returns what has to be unmapped for it, PAGE itself if need be. */
static struct cal__page *cache_put(struct cal__page *page)
{
    if (page->size > cal__options.huge_cache || cal__options.purge_delay == 0)
        return page;
    int victim = 0;
    for (int i = 0; i < CACHED; i++) {
        if (cache[i].page == NULL) {
            victim = i;
            break;
        }
        if (cache[i].expiry < cache[victim].expiry)
            victim = i;
    }
    struct cal__page *old = cache[victim].page;
    size_t kept = counts.cached_bytes - (old != NULL ? old->size : 0);
    if (kept + page->size > cal__options.huge_cache)
        return page;
    cache[victim].page = page;
    cache[victim].expiry = cal__os_milliseconds() + cal__options.purge_delay;
    counts.cached_bytes = kept + page->size;
    page->queued = true;
    return old;
}

void cal__huge_free(struct cal__page *page)
{
    cal__lock_acquire(&lock);
    counts.live--;
    counts.live_bytes -= page->size;
    struct cal__page *leaving = cache_put(page);
    cal__lock_release(&lock);
    if (leaving != NULL)
        unmap(leaving);
    cal__huge_purge(false);
}

static void resized(struct cal__page *page, size_t length)
{
    cal__lock_acquire(&lock);
    counts.live_bytes += length - page->size;
    if (length > page->size)
        counts.allocated_bytes += length - page->size;
    page->size = length;
    cal__lock_release(&lock);
}

int cal__huge_resize(struct cal__page *page, size_t size)
{
    size_t length = mapping_size(size);
    if (length == page->size)
        return 0;
    size_t old_length = page->size;
    int error = cal__os_resize(cal__page_start(page), old_length, length);
    if (error != 0)
        /* A refusal to shrink only means that the end stays. */
        return length < old_length ? 0 : error;
    resized(page, length);
    if (length < old_length)
        cal__place_unmapped(cal__page_start(page) + length,
                            (old_length - length) >> CAL_GRANULE_SHIFT);
    return 0;
}

void *cal__huge_move(struct cal__page *page, size_t size)
{
    size_t length = mapping_size(size);
    void *old_address = cal__page_start(page);
    size_t old_length = page->size;
    void *address = cal__place_map(length >> CAL_GRANULE_SHIFT, 1);
    if (address == NULL)
        return NULL;
    /* The map lets go of the old address before the kernel can give it to somebody else. */
    bool based = cal__span_rebase(page, address);
    if (!based || !cal__os_move(old_address, old_length, length, address)) {
        if (based)
            cal__span_rebase(page, old_address);
        unmap_unused(address, length);
        return NULL;
    }
    resized(page, length);
    cal__place_unmapped(old_address, old_length >> CAL_GRANULE_SHIFT);
    return address;
}

struct cal__huge_statistics cal__huge_statistics(void)
{
    cal__lock_acquire(&lock);
    struct cal__huge_statistics result = counts;
    cal__lock_release(&lock);
    return result;
}

void cal__huge_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__huge_unlock(bool in_child)
{
    cal__lock_release_after_fork(&lock, in_child);
}
