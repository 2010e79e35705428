/* Frees by threads that do not own the page, and pages whose thread has ended.
 *
 * A remote free pushes a block, or a chain of blocks that its thread gathered (gather.h), to
 * page->remote with one compare-and-swap. The word has a counter too, so that the owner takes the list
 * with one exchange when the page it allocates from runs dry, and need not look at the blocks: they
 * are in the other thread's cache.
 *
 * Of a page that it does not allocate from the owner hears when enough came back: the counter begins
 * so that it then passes half of its range, and whoever takes it there puts the page into its heap's
 * `returned` list. What came back stays in the list all the same.
 *
 * A page without an owner has the ABANDONED flag, in the same word, so that a push and the owner's
 * leaving cannot miss each other; frees then go to page->free under one lock. */
#include "gather.h"
#include "message.h"
#include "slots.h"
#include "span.h"

static struct cal__lock abandoned_lock;
/* Pages with room, those of CAL_PAGE_SLOTS in the second row. One without is in no list: the next free
 * of one of its blocks finds it. */
static struct cal__link abandoned[2][CAL_CLASSES];
/* Lets the usual case, that there are none, go without the lock. */
static _Atomic size_t abandoned_pages;
/* Of those of CAL_PAGE_SLOTS the ones that nothing of is used. To close a slab and open one again costs more, system
 * calls of the add-on's among it, than the few pages that a thread's slab has touched are worth; so some are kept
 * for the next thread. */
#define IDLE_MAX 64
static size_t idle_pages;

/* Puts the page into its owner's list, if it still has the owner it had. */
static CAL_NOINLINE void notify(struct cal__page *page)
{
    struct cal__heap *heap = cal__page_heap(page);
    if (heap == NULL)
        return;
    if (CAL_UNLIKELY(cal__link_get(&heap->self) != heap))
        cal__link_broken(page);
    cal__lock_acquire(&heap->lock);
    if (cal__page_heap(page) == heap && !page->queued) {
        page->queued = true;
        page->returned_next.word = atomic_load_explicit(&heap->returned, memory_order_relaxed);
        cal__link_store(&heap->returned, page, memory_order_relaxed);
    }
    cal__lock_release(&heap->lock);
}

/* Slots of the blocks in REMOTE, a value of page->remote; only for the owner. */
static uint32_t slots_in(const struct cal__page *page, uintptr_t remote)
{
    return (uint16_t)((remote >> CAL_REMOTE_SHIFT) - page->asked);
}

/* Asks for notice when the slots in page->remote are COUNT or more. */
static void ask(struct cal__page *page, uint32_t count)
{
    uint16_t begin = (uint16_t)(CAL_REMOTE_ASK(count) >> CAL_REMOTE_SHIFT);
    uintptr_t change = (uintptr_t)(uint16_t)(begin - page->asked) << CAL_REMOTE_SHIFT;
    page->asked = begin;
    uintptr_t old = atomic_fetch_add_explicit(&page->remote, change, memory_order_relaxed);
    /* Blocks that came before the request tell nobody. */
    if ((old + change) & CAL_REMOTE_TOLD)
        notify(page);
}

void cal__remote_request_notice(struct cal__page *page)
{
    ask(page, page->countdown);
}

void cal__remote_disown(struct cal__heap *heap, struct cal__page *page)
{
    cal__lock_acquire(&heap->lock);
    struct cal__page *queued = cal__link_load(&heap->returned, memory_order_relaxed);
    if (page->queued && queued == page) {
        atomic_store_explicit(&heap->returned, page->returned_next.word, memory_order_relaxed);
    } else if (page->queued) {
        while (queued != NULL && cal__link_get(&queued->returned_next) != page)
            queued = cal__link_get(&queued->returned_next);
        if (CAL_UNLIKELY(queued == NULL))
            cal__link_broken(page);
        queued->returned_next = page->returned_next;
    }
    page->queued = false;
    page->returned_next.word = 0;
    /* Whoever still wants to give notice looks here first, under the lock. */
    atomic_store_explicit(&page->heap, NULL, memory_order_release);
    cal__lock_release(&heap->lock);
}

static struct cal__link *abandoned_list(const struct cal__page *page)
{
    return &abandoned[page->kind == CAL_PAGE_SLOTS][page->size_class];
}

static void abandoned_unlink(struct cal__page *page)
{
    if (page->list != CAL_LIST_ABANDONED)
        return;
    cal__page_list_remove(abandoned_list(page), NULL, page);
    page->list = CAL_LIST_NONE;
    atomic_fetch_sub_explicit(&abandoned_pages, 1, memory_order_relaxed);
}

/* Offers the page to whoever needs one of its class, if it has room and is not offered yet. */
static void abandoned_offer(struct cal__page *page)
{
    if (page->list == CAL_LIST_ABANDONED ||
        cal__page_used(page) + cal__page_threshold(page) > page->capacity)
        return;
    page->list = CAL_LIST_ABANDONED;
    cal__page_list_push(abandoned_list(page), page);
    atomic_fetch_add_explicit(&abandoned_pages, 1, memory_order_relaxed);
}

static void *next_of(const struct cal__page *page, void *block)
{
    return page->kind == CAL_PAGE_SLOTS ? cal__slots_next(page, block) : cal__block_next(block);
}

static void set_next(struct cal__page *page, void *block, void *next)
{
    if (page->kind == CAL_PAGE_SLOTS)
        cal__slots_set_next(page, block, next);
    else
        cal__block_set_next(block, next);
}

/* Pushes BLOCK with all its slots to page->free without looking at the countdown's zero. */
static void push_quietly(struct cal__page *page, void *block)
{
    if (CAL_UNLIKELY(page->kind == CAL_PAGE_SLOTS)) {
        struct cal__slots *aside = cal__page_slots(page);
        cal__slots_put_remote(aside, cal__slots_index(aside, block));
        page->countdown--;
        return;
    }
    uint32_t slots = CAL_UNLIKELY(page->size != 0) ? cal__merged_end(page, block) : 1;
    size_t block_size = page->block_size;
    for (char *slot = block; slots != 0; slots--, slot += block_size) {
        cal__block_set_next(slot, page->free);
        page->free = slot;
        page->countdown--;
    }
}

/* The same for a list, which cannot be longer than what is used. Returns how many blocks it had. */
static uint32_t push_list(struct cal__page *page, void *block)
{
    uint32_t count = 0;
    for (; block != NULL; count++) {
        void *next = next_of(page, block);
        if (cal__page_used(page) == 0)
            cal__fatal("double free", block);
        push_quietly(page, block);
        block = next;
    }
    return count;
}

static bool is_idle(const struct cal__page *page)
{
    return page->kind == CAL_PAGE_SLOTS && cal__page_used(page) == 0;
}

/* For a page whose last block has come back: it is offered all the same. False: it is to be released. */
static bool keep_idle(struct cal__page *page)
{
    if (!is_idle(page) || cal__page_granules(page) != 1 || idle_pages >= IDLE_MAX)
        return false;
    idle_pages++;
    abandoned_offer(page);
    return true;
}

void cal__remote_release_idle(void)
{
    struct cal__page *released = NULL;
    cal__lock_acquire(&abandoned_lock);
    for (unsigned i = 0; i < CAL_CLASSES && idle_pages != 0; i++) {
        struct cal__page *next;
        for (struct cal__page *page = cal__link_get(&abandoned[true][i]); page != NULL;
             page = next) {
            next = cal__page_next(page);
            if (!is_idle(page))
                continue;
            abandoned_unlink(page);
            idle_pages--;
            cal__page_set_next(page, released);
            released = page;
        }
    }
    cal__lock_release(&abandoned_lock);
    while (released != NULL) {
        struct cal__page *page = released;
        released = cal__page_next(page);
        page->next.word = 0;
        cal__heap_release_page(page);
    }
}

/* False when somebody adopted the page meanwhile. */
static CAL_NOINLINE bool free_abandoned(struct cal__page *page, void *first, void *last)
{
    bool empty = false;
    set_next(page, last, NULL);
    cal__lock_acquire(&abandoned_lock);
    bool still =
        (atomic_load_explicit(&page->remote, memory_order_relaxed) & CAL_REMOTE_ABANDONED) != 0;
    if (still) {
        if (page->free == first)
            cal__fatal("double free", first);
        push_list(page, first);
        empty = cal__page_used(page) == 0 && !keep_idle(page);
        if (empty)
            abandoned_unlink(page);
        else
            abandoned_offer(page);
    }
    cal__lock_release(&abandoned_lock);
    if (empty)
        cal__heap_release_page(page);
    return still;
}

/* ASIDE: the page is of CAL_PAGE_SLOTS, where links are not in the blocks. */
CAL_INLINE void push(struct cal__page *page, void *first, void *last, uint32_t slots, bool aside)
{
    uintptr_t old = atomic_load_explicit(&page->remote, memory_order_acquire);
    uintptr_t new;
    do {
        while (CAL_UNLIKELY(old & CAL_REMOTE_ABANDONED)) {
            if (free_abandoned(page, first, last))
                return;
            old = atomic_load_explicit(&page->remote, memory_order_acquire);
        }
        void *head = cal__remote_first(old);
        if (CAL_UNLIKELY(head == first))
            cal__fatal("double free", first);
        if (aside)
            cal__slots_set_next(page, last, head);
        else
            cal__block_set_next(last, head);
        new = old - (uintptr_t)head + (uintptr_t)first + ((uintptr_t)slots << CAL_REMOTE_SHIFT);
    } while (!atomic_compare_exchange_weak_explicit(&page->remote, &old, new, memory_order_release,
                                                    memory_order_acquire));
    if ((new & ~old) & CAL_REMOTE_TOLD)
        notify(page);
}

void cal__remote_push(struct cal__page *page, void *first, void *last, uint32_t slots)
{
    push(page, first, last, slots, false);
}

void cal__remote_push_slot(struct cal__page *page, void *block)
{
    push(page, block, block, 1, true);
}

void cal__remote_free(struct cal__page *page, void *block)
{
    uint32_t slots = 1;
    if (CAL_UNLIKELY(atomic_load_explicit(&page->merged, memory_order_acquire) != NULL))
        slots = cal__merged_slots(page, cal__page_slot(page, block));
    /* Before the page may go away with its last block. */
    cal__gather_consider(page);
    cal__remote_push(page, block, block, slots);
}

bool cal__remote_collect(struct cal__page *page, uintptr_t empty)
{
    uintptr_t old = atomic_load_explicit(&page->remote, memory_order_relaxed);
    if (old == empty)
        return false;
    old = atomic_exchange_explicit(&page->remote, empty, memory_order_acquire);
    uint32_t slots = slots_in(page, old);
    page->asked = (uint16_t)(empty >> CAL_REMOTE_SHIFT);
    /* The countdown of a page that is not allocated from may pass its target. */
    if (empty != 0)
        cal__page_set_target(page, 0);
    void *first = cal__remote_first(old);
    if (first == NULL)
        return false;
    if (slots > cal__page_used(page))
        cal__fatal("double free", first);
    if (page->free == NULL && page->size == 0) {
        /* As it is, without looking at its blocks, which are in another core's cache. */
        page->free = first;
        page->countdown -= slots;
    } else if (push_list(page, first) != slots && page->kind == CAL_PAGE_SLOTS) {
        /* Something wrote to the marks. */
        cal__link_broken(page);
    }
    return true;
}

bool cal__remote_settle(struct cal__page *page)
{
    uint32_t used = cal__page_used(page);
    uint32_t back = slots_in(page, atomic_load_explicit(&page->remote, memory_order_acquire));
    if (back == used)
        return true;
    if (back > used)
        cal__fatal("double free", page->free);
    /* The page is empty when `back` has grown to `used`. Own frees make an event when `used` has come
     * half the way, remote ones give notice when `back` has: one of both is always before that. No
     * event is wanted before the end where only the owner frees. */
    uint32_t target = back == 0 ? 0 : (used + back) / 2;
    cal__page_set_target(page, target);
    ask(page, target + 1);
    return false;
}

void cal__heap_drain_returned(struct cal__heap *heap)
{
    /* The other direction, at the same time: nothing is held back by a thread that does something. */
    if (atomic_load_explicit(&heap->gather, memory_order_relaxed) != NULL)
        cal__gather_send_all(heap);
    while (atomic_load_explicit(&heap->returned, memory_order_relaxed) != 0) {
        cal__lock_acquire(&heap->lock);
        struct cal__page *page = cal__link_load(&heap->returned, memory_order_relaxed);
        if (page != NULL) {
            if (CAL_UNLIKELY(!page->queued || cal__page_heap(page) != heap))
                cal__link_broken(page);
            atomic_store_explicit(&heap->returned, page->returned_next.word, memory_order_relaxed);
            page->returned_next.word = 0;
            page->queued = false;
        }
        cal__lock_release(&heap->lock);
        if (page != NULL && (page->list == CAL_LIST_FULL || page->list == CAL_LIST_PARTIAL))
            cal__heap_page_event(page);
    }
}

static void abandon(struct cal__page *page)
{
    cal__page_set_target(page, 0);
    cal__page_set_owner(page, NULL);
    /* From the exchange on, others free under the lock, which is ours until all is in place. */
    cal__lock_acquire(&abandoned_lock);
    atomic_store_explicit(&page->heap, NULL, memory_order_release);
    cal__remote_collect(page, CAL_REMOTE_ABANDONED);
    bool empty = cal__page_used(page) == 0 && !keep_idle(page);
    if (!empty)
        abandoned_offer(page);
    cal__lock_release(&abandoned_lock);
    if (empty)
        cal__heap_release_page(page);
}

void cal__remote_orphan(struct cal__page *page)
{
    cal__page_set_target(page, 0);
    atomic_store_explicit(&page->heap, NULL, memory_order_relaxed);
    if (page->kind == CAL_PAGE_SLOTS) {
        atomic_store_explicit(&page->remote, CAL_REMOTE_ABANDONED, memory_order_relaxed);
        page->asked = 0;
        page->countdown = cal__slots_rebuild(page);
        idle_pages += is_idle(page);
        abandoned_offer(page);
        return;
    }
    /* Its remote frees are still in their list, whole: each was one compare-and-swap. Where the owner
     * let their counter begin is not certain. */
    uintptr_t old =
        atomic_exchange_explicit(&page->remote, CAL_REMOTE_ABANDONED, memory_order_acquire);
    page->asked = 0;
    push_list(page, cal__remote_first(old));
    abandoned_offer(page);
}

static void abandon_list(struct cal__heap *heap, struct cal__page *page)
{
    while (page != NULL) {
        struct cal__page *next = cal__page_next(page);
        cal__heap_drop_page(heap, page);
        abandon(page);
        page = next;
    }
}

void cal__remote_abandon_all(struct cal__heap *heap)
{
    cal__gather_end(heap);
    cal__lock_acquire(&heap->lock);
    struct cal__page *page = cal__link_load(&heap->returned, memory_order_relaxed);
    atomic_store_explicit(&heap->returned, 0, memory_order_relaxed);
    for (struct cal__page *next; page != NULL; page = next) {
        next = cal__link_get(&page->returned_next);
        page->returned_next.word = 0;
        page->queued = false;
    }
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        cal__heap_flush(heap, i);
        abandon_list(heap, heap->bins[i].current);
        abandon_list(heap, cal__link_get(&heap->bins[i].partial_first));
        abandon_list(heap, cal__link_get(&heap->bins[i].full));
    }
    cal__lock_release(&heap->lock);
}

struct cal__page *cal__remote_adopt(struct cal__heap *heap, unsigned size_class)
{
    if (atomic_load_explicit(&abandoned_pages, memory_order_relaxed) == 0)
        return NULL;
    cal__lock_acquire(&abandoned_lock);
    struct cal__page *page =
        cal__link_get(&abandoned[(heap->direct & CAL_DIRECT_SLOTS) != 0][size_class]);
    if (page != NULL) {
        idle_pages -= is_idle(page);
        abandoned_unlink(page);
        cal__heap_take_page(heap, page);
        page->asked = CAL_REMOTE_ASK(1) >> CAL_REMOTE_SHIFT;
        atomic_store_explicit(&page->remote, CAL_REMOTE_ASK(1), memory_order_release);
    }
    cal__lock_release(&abandoned_lock);
    return page;
}

void cal__remote_lock(void)
{
    cal__lock_acquire(&abandoned_lock);
}

void cal__remote_unlock(bool in_child)
{
    cal__lock_release_after_fork(&abandoned_lock, in_child);
}
