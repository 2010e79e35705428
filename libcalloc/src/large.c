#include "large.h"

#include "span.h"

struct counters {
    _Atomic size_t allocations;
    _Atomic size_t live;
    _Atomic size_t live_bytes;
    _Atomic size_t allocated_bytes;
};

static struct counters runs;
static struct counters huge;

static struct counters *counters_of(unsigned kind)
{
    return kind == CAL_PAGE_HUGE ? &huge : &runs;
}

static void add(_Atomic size_t *counter, size_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

void cal__large_begin(struct cal__page *page, size_t size)
{
    page->size = size;
    struct counters *counters = counters_of(page->kind);
    add(&counters->allocations, 1);
    add(&counters->live, 1);
    add(&counters->live_bytes, size);
    add(&counters->allocated_bytes, size);
}

void *cal__large_allocate(size_t size, size_t alignment, enum cal__page_kind kind, bool *zeroed)
{
    struct cal__page *page = cal__span_allocate(
        cal__granules(size), cal__max(alignment >> CAL_GRANULE_SHIFT, 1), kind, *zeroed);
    if (page == NULL)
        return NULL;
    *zeroed = page->zeroed;
    cal__large_begin(page, cal__page_bytes(page));
    return cal__page_start(page);
}

void cal__large_end(struct cal__page *page)
{
    struct counters *counters = counters_of(page->kind);
    add(&counters->live, (size_t)-1);
    add(&counters->live_bytes, -page->size);
}

void cal__large_free(struct cal__page *page)
{
    cal__large_end(page);
    cal__span_release(page);
}

/* One that is longer than CAL_RUN_MAX now counts as such. */
static void reclassify(struct cal__page *page)
{
    add(&runs.live, (size_t)-1);
    add(&runs.live_bytes, -page->size);
    cal__span_set_huge(page);
    add(&huge.live, 1);
    add(&huge.live_bytes, page->size);
}

static void resized(struct cal__page *page)
{
    struct counters *counters = counters_of(page->kind);
    size_t bytes = cal__page_bytes(page);
    add(&counters->live_bytes, bytes - page->size);
    if (bytes > page->size)
        add(&counters->allocated_bytes, bytes - page->size);
    page->size = bytes;
    if (page->kind == CAL_PAGE_RUN && bytes > CAL_RUN_MAX)
        reclassify(page);
}

bool cal__large_resize(struct cal__page *page, size_t size)
{
    size_t have = cal__page_granules(page);
    size_t wanted = cal__granules(size);
    if (wanted > have && !cal__span_extend(page, wanted))
        return false;
    if (wanted < have)
        cal__span_shrink(page, wanted);
    resized(page);
    return true;
}

void *cal__large_move(struct cal__page *page, size_t size)
{
    if (!cal__span_move(page, cal__granules(size)))
        return NULL;
    resized(page);
    return cal__page_start(page);
}

struct cal__large_statistics cal__large_statistics(enum cal__page_kind kind)
{
    struct counters *counters = counters_of(kind);
    return (struct cal__large_statistics){
        .allocations = atomic_load_explicit(&counters->allocations, memory_order_relaxed),
        .live = atomic_load_explicit(&counters->live, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&counters->live_bytes, memory_order_relaxed),
        .allocated_bytes = atomic_load_explicit(&counters->allocated_bytes, memory_order_relaxed),
    };
}
