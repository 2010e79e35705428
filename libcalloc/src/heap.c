#include "heap.h"

#include "annotate.h"
#include "message.h"
#include "os.h"
#include "slots.h"
#include "span.h"

struct cal__heap cal__heap_empty;
__thread struct cal__heap *cal__thread_heap = &cal__heap_empty;
__thread uint64_t cal__thread_key;
_Atomic unsigned cal__heap_mode;
_Atomic unsigned cal__heaps_used;

/* A class with so many full pages will fill the next one too. */
#define POPULATE_FULL 4
/* What a class borrows of another, over time, before it starts pages of its own. With many threads it is
 * more, because each of them would pay for those pages. To refill the lender for it counts as a quarter of
 * that, and as half of the least; to come to another of the lender's pages, as a share of it. */
#define BORROW_BYTES  (128 << 10)
#define BORROW_MAX    (16 << 20)
#define BORROW_REFILL (64 << 10)
#define BORROW_PAGES  64

void cal__page_set_target(struct cal__page *page, uint32_t target)
{
    /* The halves are in memory order on little-endian machines, the only ones supported. */
    uint32_t countdown = cal__page_used(page) - target;
    __atomic_store_n(&page->counts, (uint64_t)target << 32 | countdown, __ATOMIC_RELAXED);
}

void cal__page_set_carved(struct cal__page *page, uint32_t blocks)
{
    atomic_store_explicit(&page->carved, (uint16_t)blocks, memory_order_relaxed);
    uint64_t limit = cal__start_limit(page->block_size, page->factor, blocks);
    atomic_store_explicit(&page->limit, limit, memory_order_relaxed);
    /* To the nearest granule. */
    size_t granules = (blocks * (size_t)page->block_size + CAL_GRANULE / 2) >> CAL_GRANULE_SHIFT;
    if (CAL_UNLIKELY(granules > page->touched))
        cal__span_touch(page, granules);
}

/* Lists. Partial pages form a queue, so that a page gathers frees while it waits. */

static void list_remove(struct cal__heap *heap, struct cal__page *page)
{
    struct cal__bin *bin = &heap->bins[page->size_class];
    if (page->list == CAL_LIST_CURRENT) {
        bin->current = NULL;
    } else {
        bool partial = page->list == CAL_LIST_PARTIAL;
        cal__page_list_remove(partial ? &bin->partial_first : &bin->full,
                              partial ? &bin->partial_last : NULL, page);
    }
    page->list = CAL_LIST_NONE;
}

static void partial_append(struct cal__heap *heap, struct cal__page *page)
{
    struct cal__bin *bin = &heap->bins[page->size_class];
    page->list = CAL_LIST_PARTIAL;
    cal__page_list_append(&bin->partial_first, &bin->partial_last, page);
}

static void full_push(struct cal__heap *heap, struct cal__page *page)
{
    page->list = CAL_LIST_FULL;
    cal__page_list_push(&heap->bins[page->size_class].full, page);
}

void cal__heap_drop_page(struct cal__heap *heap, struct cal__page *page)
{
    list_remove(heap, page);
}

void cal__page_set_owner(struct cal__page *page, const struct cal__heap *heap)
{
    bool slow = heap == NULL || heap->key == 0 || heap->direct || page->size != 0;
    uint64_t origin =
        slow ? CAL_ORIGIN_NOBODY : (uint64_t)(uintptr_t)cal__page_start(page) + heap->key;
    atomic_store_explicit(&page->origin, origin, memory_order_relaxed);
}

/* Makes a page that nobody owns the heap's, queued for allocation. */
void cal__heap_take_page(struct cal__heap *heap, struct cal__page *page)
{
    atomic_store_explicit(&page->heap, heap, memory_order_release);
    cal__page_set_owner(page, heap);
    cal__page_set_target(page, 0);
    partial_append(heap, page);
}

void cal__heap_release_page(struct cal__page *page)
{
    if (CAL_UNLIKELY(page->kind == CAL_PAGE_SLOTS)) {
        cal__slots_release(page);
        return;
    }
    cal__merged_release(page);
    cal__span_release(page);
}

static void page_release(struct cal__heap *heap, struct cal__page *page)
{
    list_remove(heap, page);
    cal__page_set_owner(page, NULL);
    cal__remote_disown(heap, page);
    cal__heap_release_page(page);
}

void cal__heap_page_event(struct cal__page *page)
{
    struct cal__heap *heap = cal__page_heap(page);
    if (CAL_UNLIKELY(page->kind == CAL_PAGE_SLOTS))
        cal__slots_check(page);
    /* The target of the current page is below zero, where only a block freed twice leads; slots cannot be. */
    if (page->list == CAL_LIST_CURRENT && page->kind == CAL_PAGE_SLOTS)
        cal__link_broken(page);
    if (page->list == CAL_LIST_CURRENT)
        cal__fatal("double free", page->free);
    if (page->list == CAL_LIST_FULL) {
        list_remove(heap, page);
        partial_append(heap, page);
    }
    if (!cal__remote_settle(page))
        return;
    /* Empty. The only page of its class stays, so that a program on the edge does not get and
     * give back a page at each block. */
    bool only = page->next.word == 0 && page->previous.word == 0;
    if (!only || heap->bins[page->size_class].current != NULL)
        page_release(heap, page);
}

void cal__heap_free(struct cal__page *page, void *block)
{
    if (CAL_UNLIKELY(page->free == block || cal__page_used(page) == 0))
        cal__fatal("double free", block);
    uint32_t slots = CAL_UNLIKELY(page->size != 0) ? cal__merged_end(page, block) : 1;
    size_t block_size = page->block_size;
    for (char *slot = block; slots != 0; slots--, slot += block_size) {
        cal__block_set_next(slot, page->free);
        page->free = slot;
        if (--page->countdown == 0)
            cal__heap_page_event(page);
    }
}

/* Refilling. */

void cal__heap_same_twice(void *block)
{
    cal__fatal("double free", block);
}

/* Cuts further blocks from the untouched part: returns the first and leaves the others at hand. */
static void *carve(struct cal__heap *heap, struct cal__page *page, bool *zeroed)
{
    size_t size = page->block_size;
    uint32_t carved = cal__page_carved(page);
    char *first = cal__page_start(page) + carved * size;
    uint32_t count = 1;
    if (size < CAL_OS_PAGE) {
        /* To the end of the kernel page that the last of them touches: that memory is paid for. */
        size_t least = (carved + 1) * size;
        count = (uint32_t)(cal__round_up(least, CAL_OS_PAGE) / size) - carved;
        uint32_t left = page->capacity - carved;
        count = count < left ? count : left;
    }
    cal__page_set_carved(page, carved + count);
    page->countdown += count;
    heap->taken[page->size_class] += count;
    *zeroed = page->zeroed;
    char *last = first + (count - 1) * size;
    for (char *block = first + size; block < last; block += size)
        cal__block_set_next(block, block + size);
    if (count > 1)
        cal__block_set_next(last, NULL);
    heap->free[page->size_class] = count > 1 ? first + size : NULL;
    return first;
}

/* The current page's free blocks, all at once; NULL when there are none. */
static void *refill(struct cal__heap *heap, struct cal__page *page, bool *zeroed)
{
    if (page->free == NULL)
        cal__remote_collect(page, 0);
    if (page->free != NULL)
        return cal__heap_take_list(heap, page->size_class, page, page->free);
    return cal__page_carved(page) < page->capacity ? carve(heap, page, zeroed) : NULL;
}

/* One block, for direct mode: the others stay in the page. */
static void *take_one(struct cal__heap *heap, struct cal__page *page, bool *zeroed)
{
    if (page->kind == CAL_PAGE_SLOTS) {
        uint32_t slot;
        return cal__slots_take(heap, page, &slot);
    }
    if (page->free == NULL)
        cal__remote_collect(page, 0);
    if (page->free == NULL) {
        if (cal__page_carved(page) == page->capacity)
            return NULL;
        void *block = carve(heap, page, zeroed);
        cal__heap_flush(heap, page->size_class);
        return block;
    }
    void *block = page->free;
    page->free = cal__block_next(block);
    page->countdown++;
    heap->taken[page->size_class]++;
    return block;
}

static bool has_full(const struct cal__heap *heap, unsigned size_class, unsigned count)
{
    const struct cal__page *page = cal__link_get(&heap->bins[size_class].full);
    while (page != NULL && --count != 0)
        page = cal__page_next(page);
    return page != NULL;
}

static struct cal__page *page_create(struct cal__heap *heap, unsigned size_class)
{
    /* The first page of a class may never fill, and would keep the pages of a dirty run for nothing. */
    bool clean = !has_full(heap, size_class, 1);
    bool slots = (heap->direct & CAL_DIRECT_SLOTS) != 0;
    struct cal__page *page = cal__span_allocate(cal__class_granules(size_class), 1,
                                                slots ? CAL_PAGE_SLOTS : CAL_PAGE_SLAB, clean);
    if (page == NULL)
        return NULL;
    /* One system call costs less than the page faults. Where it fails there are those. */
    if (page->zeroed && cal__page_granules(page) == 1 && has_full(heap, size_class, POPULATE_FULL))
        cal__os_populate(cal__page_start(page), CAL_GRANULE);
    size_t size = cal__class_size(size_class);
    page->size_class = (uint8_t)size_class;
    page->block_size = (uint32_t)size;
    page->factor = cal__start_factor(size);
    page->asked = 0;
    page->capacity = (uint16_t)(cal__page_bytes(page) / size);
    if (CAL_UNLIKELY(slots) && !cal__slots_open(page))
        return NULL;
    cal__heap_take_page(heap, page);
    return page;
}

static void make_current(struct cal__heap *heap, struct cal__page *page)
{
    if (CAL_UNLIKELY(page->kind == CAL_PAGE_SLOTS))
        cal__slots_check(page);
    list_remove(heap, page);
    page->list = CAL_LIST_CURRENT;
    cal__page_set_target(page, UINT32_MAX);
    heap->bins[page->size_class].current = page;
    /* Its class borrows no longer. */
    heap->borrowed[page->size_class] = UINT32_MAX;
}

/* The current page has nothing left. */
static void set_aside(struct cal__heap *heap, struct cal__page *page)
{
    list_remove(heap, page);
    full_push(heap, page);
    cal__page_set_target(page, page->capacity - cal__page_threshold(page));
    cal__remote_request_notice(page);
}

/* What a heap does now and then, off the fast path. */
static void tick(struct cal__heap *heap)
{
    cal__heap_drain_returned(heap);
    /* Slow, so it counts for more than a block. */
    heap->ticks -= CAL_TICKS / 256;
    if (heap->ticks >= 0)
        return;
    heap->ticks = CAL_TICKS;
    cal__slots_large_purge(false);
    cal__span_purge_expired();
}

static uint32_t borrow_limit(void)
{
    uint64_t heaps = atomic_load_explicit(&cal__heaps_used, memory_order_relaxed);
    return (uint32_t)cal__min(cal__max(heaps * heaps / 4, 1) * BORROW_BYTES, BORROW_MAX);
}

/* A class that is hardly used takes blocks of a larger one instead of starting a page: a process or
 * thread that needs a few blocks of many sizes would pay for memory by the kernel page and use little
 * of each. It ends when the class has taken many, or soon when it makes its lender grow. */
CAL_NOINLINE void *cal__heap_borrow(struct cal__heap *heap, unsigned size_class)
{
    uint32_t *borrowed = &heap->borrowed[size_class];
    uint32_t limit = borrow_limit();
    if (*borrowed >= limit)
        return NULL;
    unsigned lender = cal__class_lender(size_class);
    void *block = cal__heap_quick(heap, lender);
    if (CAL_UNLIKELY((heap->direct & CAL_DIRECT_SLOTS) != 0) &&
        heap->bins[lender].current != NULL) {
        uint32_t slot;
        block = cal__slots_take(heap, heap->bins[lender].current, &slot);
    }
    if (block == NULL)
        return NULL;
    *borrowed += (uint32_t)cal__class_size(lender);
    /* A block that stays keeps its page, however empty that becomes: a small block here and there must
     * not hold many pages of the lender. */
    const struct cal__page *page = heap->bins[lender].current;
    uint16_t tag = (uint16_t)((uintptr_t)page / sizeof *page);
    if (heap->borrowed_from[size_class] != tag) {
        heap->borrowed_from[size_class] = tag;
        *borrowed += limit / BORROW_PAGES;
    }
    return block;
}

/* The class to allocate from when neither has a block at hand. */
static unsigned refilled_class(struct cal__heap *heap, unsigned size_class)
{
    unsigned lender = cal__class_lender(size_class);
    uint32_t limit = borrow_limit();
    if (lender == size_class || heap->borrowed[size_class] >= limit)
        return size_class;
    heap->borrowed[size_class] += cal__max(limit / 4, BORROW_REFILL) + cal__class_size(lender);
    return lender;
}

/* A page of the class to allocate from, in the order of what it costs. */
static struct cal__page *next_page(struct cal__heap *heap, unsigned size_class)
{
    struct cal__page *page = cal__link_get(&heap->bins[size_class].partial_first);
    if (page == NULL)
        page = cal__remote_adopt(heap, size_class);
    if (page == NULL)
        page = page_create(heap, size_class);
    if (page != NULL)
        make_current(heap, page);
    return page;
}

static void *allocate_from(struct cal__heap *heap, unsigned size_class, bool *zeroed)
{
    void *block = cal__heap_quick(heap, size_class);
    if (block != NULL)
        return block;
    for (;;) {
        struct cal__page *page = heap->bins[size_class].current;
        if (page != NULL) {
            block = heap->direct ? take_one(heap, page, zeroed) : refill(heap, page, zeroed);
            if (block != NULL)
                return block;
            set_aside(heap, page);
        }
        if (next_page(heap, size_class) == NULL)
            return NULL;
    }
}

void *cal__heap_allocate(struct cal__heap *heap, unsigned size_class, bool *zeroed)
{
    *zeroed = false;
    if (CAL_UNLIKELY((heap->direct & CAL_DIRECT_SLOTS) != 0))
        size_class = cal__class_with_slots(size_class);
    void *block = cal__heap_borrow(heap, size_class);
    if (block != NULL)
        return block;
    tick(heap);
    unsigned chosen = refilled_class(heap, size_class);
    block = allocate_from(heap, chosen, zeroed);
    /* Without memory for a page, the other of the two may still have blocks. */
    unsigned lender = cal__class_lender(size_class);
    if (CAL_UNLIKELY(block == NULL && lender != size_class))
        block = allocate_from(heap, chosen == lender ? size_class : lender, zeroed);
    return block;
}

void cal__heap_flush(struct cal__heap *heap, unsigned size_class)
{
    void *list = heap->free[size_class];
    struct cal__page *page = heap->bins[size_class].current;
    heap->free[size_class] = NULL;
    while (list != NULL) {
        void *next = cal__block_next(list);
        cal__block_set_next(list, page->free);
        page->free = list;
        page->countdown--;
        heap->taken[size_class]--;
        list = next;
    }
}

/* Modes. */

static void list_set_owner(struct cal__page *page, struct cal__heap *heap)
{
    for (; page != NULL; page = cal__page_next(page))
        cal__page_set_owner(page, heap);
}

CAL_COLD void cal__heap_follow_slots(struct cal__heap *heap)
{
    /* While the mode is even, frees do not look at who has a say: a role just being registered waits. */
    unsigned mode = atomic_load_explicit(&cal__heap_mode, memory_order_acquire);
    if (mode % 2 == 0 || (heap->direct & CAL_DIRECT_SLOTS) != 0 || cal__slots_role() == NULL)
        return;
    cal__annotate_begin();
    cal__remote_abandon_all(heap);
    cal__annotate_end();
    heap->direct |= CAL_DIRECT_SLOTS;
}

CAL_COLD void cal__heap_follow_mode(struct cal__heap *heap)
{
    unsigned mode = atomic_load_explicit(&cal__heap_mode, memory_order_acquire);
    heap->mode = mode;
    heap->direct = mode % 2 != 0 ? CAL_DIRECT | (heap->direct & CAL_DIRECT_SLOTS) : 0;
    cal__heap_follow_slots(heap);
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        struct cal__bin *bin = &heap->bins[i];
        if (heap->direct)
            cal__heap_flush(heap, i);
        list_set_owner(bin->current, heap);
        list_set_owner(cal__link_get(&bin->partial_first), heap);
        list_set_owner(cal__link_get(&bin->full), heap);
    }
}

/* Collecting. */

static void collect_list(struct cal__heap *heap, struct cal__page *page)
{
    while (page != NULL) {
        struct cal__page *next = cal__page_next(page);
        cal__remote_collect(page, CAL_REMOTE_ASK(1));
        if (cal__page_used(page) == 0)
            page_release(heap, page);
        page = next;
    }
}

void cal__heap_collect(struct cal__heap *heap)
{
    cal__remote_release_idle();
    cal__slots_large_purge(true);
    cal__slots_retry();
    cal__heap_drain_returned(heap);
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        struct cal__bin *bin = &heap->bins[i];
        cal__heap_flush(heap, i);
        collect_list(heap, cal__link_get(&bin->partial_first));
        struct cal__page *page = bin->current;
        if (page != NULL) {
            cal__remote_collect(page, 0);
            if (cal__page_used(page) == 0)
                page_release(heap, page);
        }
    }
}

/* A block that was freed twice in a row follows itself. */
static void check_list(const struct cal__page *page)
{
    for (; page != NULL; page = cal__page_next(page))
        if (page->free != NULL && cal__block_next(page->free) == page->free)
            cal__fatal("double free", page->free);
}

void cal__heap_check(struct cal__heap *heap)
{
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        check_list(heap->bins[i].current);
        check_list(cal__link_get(&heap->bins[i].partial_first));
        check_list(cal__link_get(&heap->bins[i].full));
    }
}
