/* Blocks that grew in place over the slots that follow them in a slab.
 *
 * A bitmap beside the page marks the slots that continue a block. While a page has such blocks its
 * origin is nobody's, so that its frees take the slow path, which looks here. The bitmap is
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

/* Walks look at pages whose owner may release the bitmap meanwhile; it stays readable. */
static bool bit(const _Atomic uint64_t *word, uint32_t slot)
{
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
    const _Atomic uint64_t *word = atomic_load_explicit(&page->merged, memory_order_acquire);
    return word != NULL && bit(word, slot);
}

uint32_t cal__merged_slots(const struct cal__page *page, uint32_t slot)
{
    const _Atomic uint64_t *word = atomic_load_explicit(&page->merged, memory_order_acquire);
    uint32_t capacity = cal__min(page->capacity, BITMAP_WORDS * 64);
    uint32_t slots = 1;
    while (word != NULL && slot + slots < capacity && bit(word, slot + slots))
        slots++;
    return slots;
}

/* The last merged block of the page is gone: frees may take the fast path again. */
static void unmerge(struct cal__page *page)
{
    struct cal__heap *heap = cal__page_heap(page);
    if (--page->size == 0)
        cal__page_set_owner(page, heap);
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

/* A block grows by at most so many slots at once, and its neighbours are looked for among so many
 * free blocks of each list: growing in place must not cost more than moving. */
#define GROW_MAX 64
#define LOOK_MAX 64

struct found {
    unsigned count;
    void **link[GROW_MAX]; /* what points at the block, in list order */
};

static void look(const struct cal__page *page, void **link, uint32_t first, uint32_t count,
                 struct found *found)
{
    for (unsigned i = 0; i < LOOK_MAX && *link != NULL && found->count < count; i++) {
        if (cal__page_slot(page, *link) - first < count)
            found->link[found->count++] = link;
        link = (void **)*link;
    }
}

/* From the last to the first, because a link may lie in the block that the one before removes. */
static void unlink_all(struct found *found)
{
    while (found->count > 0) {
        void **link = found->link[--found->count];
        *link = cal__block_next(*link);
    }
}

static bool make_bitmap(struct cal__page *page)
{
    if (atomic_load_explicit(&page->merged, memory_order_relaxed) != NULL)
        return true;
    _Atomic uint64_t *bitmap = bitmap_new();
    if (bitmap != NULL)
        atomic_store_explicit(&page->merged, bitmap, memory_order_release);
    return bitmap != NULL;
}

static bool grow(struct cal__heap *heap, struct cal__page *page, uint32_t slot, uint32_t have,
                 uint32_t slots)
{
    uint32_t carved = cal__page_carved(page);
    uint32_t first = slot + have;
    uint32_t end = slot + slots;
    if (end > page->capacity || slots - have > GROW_MAX)
        return false;
    /* Slots that were cut must be free, at hand or in the page; the others only need cutting. */
    uint32_t cut = (end < carved ? end : carved) - first;
    struct found found = {.count = 0};
    if (page->list == CAL_LIST_CURRENT)
        look(page, &heap->free[page->size_class], first, cut, &found);
    unsigned at_hand = found.count;
    look(page, &page->free, first, cut, &found);
    if (found.count != cut || !make_bitmap(page))
        return false;
    /* What was at hand counted as used and as taken, what was in the page as neither. */
    uint32_t newly_used = slots - have - at_hand;
    unlink_all(&found);
    heap->taken[page->size_class] -= at_hand;
    page->countdown += newly_used;
    heap->grown += (uint64_t)(slots - have) * page->block_size;
    if (end > carved)
        cal__page_set_carved(page, end);
    for (uint32_t i = have; i < slots; i++)
        set_bit(page, slot + i, true);
    if (have == 1) {
        page->size++;
        cal__page_set_owner(page, NULL);
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
    cal__lock_release_after_fork(&lock, in_child);
}
