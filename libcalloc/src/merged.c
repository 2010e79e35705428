/* Blocks that grew in place over the slots that follow them in a slab.
 *
 * A bitmap beside the page marks the slots that continue a block. While a page has such blocks its
 * owner word is zero, so that its frees take the slow path, which looks here. The bitmap is
 * changed by the owner only; other threads read the bits of blocks that they hold themselves. */
#include "heap.h"

#include "metadata.h"

#define BITMAP_BYTES (CAL_GRANULE / CAL_ALIGNMENT / 8)
#define BITMAP_WORDS (BITMAP_BYTES / 8)

union bitmap {
    _Atomic uint64_t word[BITMAP_WORDS];
    union bitmap *next;
};

static struct cal__lock lock;
static union bitmap *unused;

static _Atomic uint64_t *bitmap_new(void)
{
    cal__lock_acquire(&lock);
    union bitmap *bitmap = unused;
    if (bitmap != NULL)
        unused = bitmap->next;
    cal__lock_release(&lock);
    if (bitmap == NULL)
        bitmap = cal__metadata_allocate(sizeof *bitmap);
    if (bitmap == NULL)
        return NULL;
    for (size_t i = 0; i < BITMAP_WORDS; i++)
        atomic_store_explicit(&bitmap->word[i], 0, memory_order_relaxed);
    return bitmap->word;
}

void cal__merged_release(struct cal__page *page)
{
    union bitmap *bitmap =
        (union bitmap *)atomic_load_explicit(&page->merged, memory_order_relaxed);
    if (bitmap == NULL)
        return;
    atomic_store_explicit(&page->merged, NULL, memory_order_relaxed);
    cal__lock_acquire(&lock);
    bitmap->next = unused;
    unused = bitmap;
    cal__lock_release(&lock);
}

static bool bit(const struct cal__page *page, uint32_t slot)
{
    _Atomic uint64_t *word = atomic_load_explicit(&page->merged, memory_order_acquire);
    return (atomic_load_explicit(&word[slot / 64], memory_order_relaxed) >> (slot % 64)) & 1;
}

static void set_bit(struct cal__page *page, uint32_t slot, bool value)
{
    _Atomic uint64_t *word = atomic_load_explicit(&page->merged, memory_order_relaxed);
    uint64_t mask = (uint64_t)1 << (slot % 64);
    uint64_t old = atomic_load_explicit(&word[slot / 64], memory_order_relaxed);
    /* No read-modify-write instruction: only the owner writes. */
    atomic_store_explicit(&word[slot / 64], value ? old | mask : old & ~mask, memory_order_relaxed);
}

bool cal__merged_inside(const struct cal__page *page, uint32_t slot)
{
    return atomic_load_explicit(&page->merged, memory_order_acquire) != NULL && bit(page, slot);
}

uint32_t cal__merged_slots(const struct cal__page *page, uint32_t slot)
{
    uint32_t slots = 1;
    if (atomic_load_explicit(&page->merged, memory_order_acquire) == NULL)
        return slots;
    while (slot + slots < page->capacity && bit(page, slot + slots))
        slots++;
    return slots;
}

/* The last merged block of the page is gone: frees may take the fast path again. */
static void unmerge(struct cal__page *page)
{
    struct cal__heap *heap = cal__page_heap(page);
    if (--page->size == 0 && heap != NULL && !heap->direct)
        atomic_store_explicit(&page->owner, heap->thread, memory_order_relaxed);
}

uint32_t cal__merged_end(struct cal__page *page, void *block)
{
    uint32_t slot = cal__page_slot(page, block);
    uint32_t slots = cal__merged_slots(page, slot);
    for (uint32_t i = 1; i < slots; i++)
        set_bit(page, slot + i, false);
    if (slots > 1)
        unmerge(page);
    return slots;
}

/* How many of the free blocks lie in [FIRST, FIRST + COUNT); with TAKE they leave the list. */
static uint32_t find_free(struct cal__page *page, uint32_t first, uint32_t count, bool take)
{
    uint32_t found = 0;
    void **link = &page->free;
    while (*link != NULL && found < count) {
        uint32_t slot = cal__page_slot(page, *link);
        if (slot - first < count) {
            found++;
            if (take) {
                *link = cal__block_next(*link);
                continue;
            }
        }
        link = (void **)*link;
    }
    return found;
}

static bool grow(struct cal__heap *heap, struct cal__page *page, uint32_t slot, uint32_t have,
                 uint32_t slots)
{
    uint32_t carved = cal__page_carved(page);
    uint32_t end = slot + slots;
    if (end > page->capacity)
        return false;
    /* Slots that were cut must be free; those that were not only need cutting. */
    uint32_t first = slot + have;
    uint32_t cut_end = end < carved ? end : carved;
    uint32_t cut = cut_end - first;
    if (page->list == CAL_LIST_CURRENT)
        cal__heap_flush(heap, page->size_class);
    if (find_free(page, first, cut, false) != cut)
        return false;
    if (atomic_load_explicit(&page->merged, memory_order_relaxed) == NULL) {
        _Atomic uint64_t *bitmap = bitmap_new();
        if (bitmap == NULL)
            return false;
        atomic_store_explicit(&page->merged, bitmap, memory_order_release);
    }
    find_free(page, first, cut, true);
    if (end > carved)
        atomic_store_explicit(&page->carved, end, memory_order_relaxed);
    page->countdown += slots - have;
    heap->grown += (uint64_t)(slots - have) * page->block_size;
    for (uint32_t i = have; i < slots; i++)
        set_bit(page, slot + i, true);
    if (have == 1) {
        page->size++;
        atomic_store_explicit(&page->owner, 0, memory_order_relaxed);
    }
    return true;
}

bool cal__merged_resize(struct cal__heap *heap, struct cal__page *page, void *block, uint32_t slots)
{
    uint32_t slot = cal__page_slot(page, block);
    uint32_t have = cal__merged_slots(page, slot);
    if (slots > have)
        return grow(heap, page, slot, have, slots);
    if (slots == have)
        return true;
    for (uint32_t i = slots; i < have; i++)
        set_bit(page, slot + i, false);
    if (slots == 1)
        unmerge(page);
    for (uint32_t i = slots; i < have; i++) {
        char *freed = cal__page_start(page) + (size_t)(slot + i) * page->block_size;
        cal__block_set_next(freed, page->free);
        page->free = freed;
        /* The block itself stays in use, so this is never the event "empty". */
        if (--page->countdown == 0)
            cal__heap_page_event(page);
    }
    return true;
}

void cal__merged_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__merged_unlock(bool in_child)
{
    if (in_child)
        cal__lock_reset(&lock);
    else
        cal__lock_release(&lock);
}
