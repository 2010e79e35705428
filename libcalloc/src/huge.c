#include "huge.h"

#include <errno.h>

#include "span.h"

static _Atomic size_t allocations;
static _Atomic size_t live;
static _Atomic size_t live_bytes;
static _Atomic size_t allocated_bytes;

static void add(_Atomic size_t *counter, size_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

void *cal__huge_allocate(size_t size, size_t alignment, bool *zeroed)
{
    struct cal__page *page = cal__span_allocate(
        cal__granules(size), cal__max(alignment >> CAL_GRANULE_SHIFT, 1), CAL_PAGE_HUGE, *zeroed);
    if (page == NULL)
        return NULL;
    *zeroed = page->zeroed;
    page->size = cal__page_bytes(page);
    add(&allocations, 1);
    add(&live, 1);
    add(&live_bytes, page->size);
    add(&allocated_bytes, page->size);
    return cal__page_start(page);
}

void cal__huge_free(struct cal__page *page)
{
    add(&live, (size_t)-1);
    add(&live_bytes, -page->size);
    cal__span_release(page);
}

static void resized(struct cal__page *page)
{
    size_t bytes = cal__page_bytes(page);
    add(&live_bytes, bytes - page->size);
    if (bytes > page->size)
        add(&allocated_bytes, bytes - page->size);
    page->size = bytes;
}

int cal__huge_resize(struct cal__page *page, size_t size)
{
    size_t have = cal__page_granules(page);
    size_t wanted = cal__granules(size);
    if (wanted > have && !cal__span_extend(page, wanted))
        return -ENOMEM;
    if (wanted < have)
        cal__span_shrink(page, wanted);
    resized(page);
    return 0;
}

void *cal__huge_move(struct cal__page *page, size_t size)
{
    if (!cal__span_move(page, cal__granules(size)))
        return NULL;
    resized(page);
    return cal__page_start(page);
}

struct cal__huge_statistics cal__huge_statistics(void)
{
    return (struct cal__huge_statistics){
        .allocations = atomic_load_explicit(&allocations, memory_order_relaxed),
        .live = atomic_load_explicit(&live, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&live_bytes, memory_order_relaxed),
        .allocated_bytes = atomic_load_explicit(&allocated_bytes, memory_order_relaxed),
    };
}
