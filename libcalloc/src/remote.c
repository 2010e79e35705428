/* Frees by threads that do not own the page, and pages whose thread has ended.
 *
 * A remote free pushes the block to page->remote with one compare-and-swap. The owner takes the
 * whole list when the page it allocates from runs dry. A page that the owner does not look at has
 * the NOTIFY flag: whoever takes it off by his push puts the page into its heap's `returned` list.
 * A page without an owner has the ABANDONED flag, in the same word, so that a push and the
 * owner's leaving cannot miss each other; frees then go to page->free under one lock. */
#include "heap.h"

#include "message.h"
#include "span.h"

static struct cal__lock abandoned_lock;
/* Pages with room. One without is in no list: the next free of one of its blocks finds it. */
static struct cal__page *abandoned[CAL_CLASSES];
/* Lets the usual case, that there are none, go without the lock. */
static _Atomic size_t abandoned_pages;

/* Puts the page into its owner's list, if it still has the owner it had. */
static CAL_NOINLINE void notify(struct cal__page *page)
{
    struct cal__heap *heap = cal__page_heap(page);
    if (heap == NULL)
        return;
    cal__lock_acquire(&heap->lock);
    if (cal__page_heap(page) == heap && !page->queued) {
        page->queued = true;
        page->returned_next = atomic_load_explicit(&heap->returned, memory_order_relaxed);
        atomic_store_explicit(&heap->returned, page, memory_order_relaxed);
    }
    cal__lock_release(&heap->lock);
}

void cal__remote_request_notice(struct cal__page *page)
{
    atomic_fetch_or_explicit(&page->remote, CAL_REMOTE_NOTIFY, memory_order_relaxed);
    /* Blocks that came before the request tell nobody. */
    if ((atomic_load_explicit(&page->remote, memory_order_relaxed) & ~CAL_REMOTE_FLAGS) != 0)
        notify(page);
}

void cal__remote_disown(struct cal__heap *heap, struct cal__page *page)
{
    cal__lock_acquire(&heap->lock);
    struct cal__page *queued = atomic_load_explicit(&heap->returned, memory_order_relaxed);
    if (page->queued && queued == page) {
        atomic_store_explicit(&heap->returned, page->returned_next, memory_order_relaxed);
    } else if (page->queued) {
        while (queued->returned_next != page)
            queued = queued->returned_next;
        queued->returned_next = page->returned_next;
    }
    page->queued = false;
    page->returned_next = NULL;
    /* Whoever still wants to give notice looks here first, under the lock. */
    atomic_store_explicit(&page->heap, NULL, memory_order_release);
    cal__lock_release(&heap->lock);
}

static void abandoned_unlink(struct cal__page *page)
{
    if (page->list != CAL_LIST_ABANDONED)
        return;
    if (page->next != NULL)
        page->next->previous = page->previous;
    if (page->previous != NULL)
        page->previous->next = page->next;
    else
        abandoned[page->size_class] = page->next;
    page->next = page->previous = NULL;
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
    page->previous = NULL;
    page->next = abandoned[page->size_class];
    if (page->next != NULL)
        page->next->previous = page;
    abandoned[page->size_class] = page;
    atomic_fetch_add_explicit(&abandoned_pages, 1, memory_order_relaxed);
}

/* Pushes BLOCK with all its slots to page->free without looking at the countdown's zero. */
static void push_quietly(struct cal__page *page, void *block)
{
    uint32_t slots = CAL_UNLIKELY(page->size != 0) ? cal__merged_end(page, block) : 1;
    size_t block_size = page->block_size;
    for (char *slot = block; slots != 0; slots--, slot += block_size) {
        cal__block_set_next(slot, page->free);
        page->free = slot;
        page->countdown--;
    }
}

/* False when somebody adopted the page meanwhile. */
static CAL_NOINLINE bool free_abandoned(struct cal__page *page, void *block)
{
    bool empty = false;
    cal__lock_acquire(&abandoned_lock);
    bool still =
        (atomic_load_explicit(&page->remote, memory_order_relaxed) & CAL_REMOTE_ABANDONED) != 0;
    if (still) {
        if (page->free == block)
            cal__fatal("double free", block);
        push_quietly(page, block);
        empty = cal__page_used(page) == 0;
        if (empty)
            abandoned_unlink(page);
        else
            abandoned_offer(page);
    }
    cal__lock_release(&abandoned_lock);
    if (empty) {
        cal__merged_release(page);
        cal__span_release(page);
    }
    return still;
}

void cal__remote_free(struct cal__page *page, void *block)
{
    uintptr_t old = atomic_load_explicit(&page->remote, memory_order_acquire);
    for (;;) {
        if (old & CAL_REMOTE_ABANDONED) {
            if (free_abandoned(page, block))
                return;
            old = atomic_load_explicit(&page->remote, memory_order_acquire);
            continue;
        }
        void *head = (void *)(old & ~CAL_REMOTE_FLAGS);
        if (head == block)
            cal__fatal("double free", block);
        cal__block_set_next(block, head);
        if (atomic_compare_exchange_weak_explicit(&page->remote, &old, (uintptr_t)block,
                                                  memory_order_release, memory_order_acquire))
            break;
    }
    if (old & CAL_REMOTE_NOTIFY)
        notify(page);
}

bool cal__remote_collect(struct cal__page *page, uintptr_t flags)
{
    uintptr_t old = atomic_load_explicit(&page->remote, memory_order_relaxed);
    if (old == flags)
        return false;
    old = atomic_exchange_explicit(&page->remote, flags, memory_order_acquire);
    void *block = (void *)(old & ~CAL_REMOTE_FLAGS);
    bool any = block != NULL;
    while (block != NULL) {
        void *next = cal__block_next(block);
        if (cal__page_used(page) == 0)
            cal__fatal("double free", block);
        push_quietly(page, block);
        block = next;
    }
    return any;
}

void cal__heap_drain_returned(struct cal__heap *heap)
{
    while (atomic_load_explicit(&heap->returned, memory_order_relaxed) != NULL) {
        cal__lock_acquire(&heap->lock);
        struct cal__page *page = atomic_load_explicit(&heap->returned, memory_order_relaxed);
        if (page != NULL) {
            atomic_store_explicit(&heap->returned, page->returned_next, memory_order_relaxed);
            page->returned_next = NULL;
            page->queued = false;
        }
        cal__lock_release(&heap->lock);
        if (page == NULL || page->list == CAL_LIST_CURRENT || page->list == CAL_LIST_NONE)
            continue;
        /* The countdown may pass the target of a full page: bring it to zero-based counting first,
         * where it can only reach it. */
        uint32_t target = page->target;
        cal__page_set_target(page, 0);
        cal__remote_collect(page, CAL_REMOTE_NOTIFY);
        if (page->list == CAL_LIST_FULL && page->countdown > target)
            cal__page_set_target(page, target);
        else if (page->list == CAL_LIST_FULL || page->countdown == 0)
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
    bool empty = cal__page_used(page) == 0;
    if (!empty)
        abandoned_offer(page);
    cal__lock_release(&abandoned_lock);
    if (empty) {
        cal__merged_release(page);
        cal__span_release(page);
    }
}

void cal__remote_orphan(struct cal__page *page)
{
    cal__page_set_target(page, 0);
    atomic_store_explicit(&page->heap, NULL, memory_order_relaxed);
    /* Its remote frees are still in their list, whole: each was one compare-and-swap. */
    cal__remote_collect(page, CAL_REMOTE_ABANDONED);
    abandoned_offer(page);
}

static void abandon_list(struct cal__heap *heap, struct cal__page *page)
{
    while (page != NULL) {
        struct cal__page *next = page->next;
        cal__heap_drop_page(heap, page);
        abandon(page);
        page = next;
    }
}

void cal__remote_abandon_all(struct cal__heap *heap)
{
    cal__lock_acquire(&heap->lock);
    struct cal__page *page = atomic_load_explicit(&heap->returned, memory_order_relaxed);
    atomic_store_explicit(&heap->returned, NULL, memory_order_relaxed);
    for (struct cal__page *next; page != NULL; page = next) {
        next = page->returned_next;
        page->returned_next = NULL;
        page->queued = false;
    }
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        cal__heap_flush(heap, i);
        abandon_list(heap, heap->bins[i].current);
        abandon_list(heap, heap->bins[i].partial_first);
        abandon_list(heap, heap->bins[i].full);
    }
    cal__lock_release(&heap->lock);
}

struct cal__page *cal__remote_adopt(struct cal__heap *heap, unsigned size_class)
{
    if (atomic_load_explicit(&abandoned_pages, memory_order_relaxed) == 0)
        return NULL;
    cal__lock_acquire(&abandoned_lock);
    struct cal__page *page = abandoned[size_class];
    if (page != NULL) {
        abandoned_unlink(page);
        cal__heap_take_page(heap, page);
        atomic_store_explicit(&page->remote, CAL_REMOTE_NOTIFY, memory_order_release);
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
