#include "block.h"

#include <errno.h>
#include <string.h>

#include "annotate.h"
#include "gather.h"
#include "hooked.h"
#include "hooks.h"
#include "large.h"
#include "observed.h"
#include "place.h"
#include "slots.h"
#include "span.h"

/* Growing over free neighbours makes all frees of the page take the slow path, so realloc does it
 * only where copying costs more: large blocks, and smaller ones that grow by half or more. */
#define MERGE_MIN    256
#define MERGE_ALWAYS 1024
/* Blocks over 128 KiB that cannot grow in place are copied below this, and above it their pages are
 * moved, so that there are never two of them; each is a mapping of the kernel's then. */
#define MOVE_PAGES_MIN ((size_t)1 << 20)
#define PIECE_GRANULES 16
/* Bytes that are copied without memcpy, whose call and choice of a way cost more than they save. */
#define COPY_MAX 1024

static bool annotating(void)
{
    return CAL_UNLIKELY(cal__annotating != CAL_ANNOTATE_NONE);
}

/* Finding. */

/* NULL, if the process goes on. */
static CAL_COLD struct cal__page *not_a_block(const struct cal__page *page, const void *block,
                                              const char *what)
{
    /* A free run that was used and begins here is the one freed block whose address says so. */
    bool freed = page != NULL && page->kind == CAL_PAGE_FREE && !page->zeroed &&
                 cal__page_start(page) == block;
    cal__hooked_error(freed && strcmp(what, "invalid free") == 0 ? "double free" : what, block);
    return NULL;
}

/* The same page if BLOCK may start a block of it, as far as can be told without asking its owner. */
static CAL_COLD struct cal__page *special_page(struct cal__page *page, const void *block,
                                               const char *what)
{
    if (page->kind == CAL_PAGE_RANGE && atomic_load(&page->owner) != 0)
        return page;
    const struct cal__slots *slots = cal__slots_of(page);
    uint32_t slot = slots == NULL ? CAL_SLOT_ANY : cal__slots_index(slots, block);
    bool live = slot != CAL_SLOT_ANY && (cal_slot_mark(&slots->slab, slot) & CAL_MARK_LIVE) != 0;
    return live ? page : not_a_block(page, block, what);
}

/* The page of a block; when BLOCK does not start one that is fatal, or NULL if an add-on says so. */
static struct cal__page *page_of(const void *block, const char *what)
{
    struct cal__page *page = cal__map_find(cal__granule_of(block));
    if (CAL_UNLIKELY(page == NULL))
        return not_a_block(page, block, what);
    size_t offset = (size_t)((const char *)block - cal__page_start(page));
    if (page->kind == CAL_PAGE_SLAB) {
        uint32_t slot = cal__page_slot(page, block);
        if (CAL_UNLIKELY((size_t)slot * page->block_size != offset ||
                         slot >= cal__page_carved(page) || cal__merged_inside(page, slot)))
            return not_a_block(page, block, what);
        return page;
    }
    bool large = page->kind == CAL_PAGE_RUN || page->kind == CAL_PAGE_HUGE;
    if (CAL_UNLIKELY(!large || offset != 0 || cal__page_has_slots(page)))
        return special_page(page, block, what);
    return page;
}

struct cal__page *cal__block_page(const void *block, const char *what)
{
    return page_of(block, what);
}

static size_t capacity_of(const struct cal__page *page, const void *block)
{
    if (page->kind == CAL_PAGE_SLOTS)
        return page->block_size;
    if (page->kind != CAL_PAGE_SLAB)
        return page->size;
    return (size_t)page->block_size * cal__merged_slots(page, cal__page_slot(page, block));
}

size_t cal__block_capacity(const struct cal__page *page, const void *block)
{
    return capacity_of(page, block);
}

static size_t usable_of(const struct cal__page *page, void *block)
{
    size_t capacity = capacity_of(page, block);
    if (!annotating())
        return capacity;
    cal__annotate_begin();
    size_t size = cal__annotate_size(block, capacity);
    cal__annotate_end();
    return size;
}

size_t cal__block_usable(const void *block, const char *what)
{
    struct cal__page *page = page_of(block, what);
    if (CAL_UNLIKELY(page == NULL))
        return 0;
    if (CAL_LIKELY(!cal__page_is_special(page)))
        return usable_of(page, (void *)block);
    size_t usable = cal__hooked_usable(page, block);
    if (CAL_LIKELY(usable != SIZE_MAX))
        return usable;
    cal__hooked_error(what, block);
    return 0;
}

/* Allocating. */

/* A slab class whose blocks are multiples of ALIGNMENT, or CAL_CLASSES. Slabs start at granules,
 * so the blocks are then aligned too. */
static unsigned aligned_class(size_t size, size_t alignment)
{
    if (size > CAL_SLAB_MAX || alignment > CAL_GRANULE)
        return CAL_CLASSES;
    unsigned size_class = cal__size_class(size);
    while (size_class < CAL_CLASSES && (cal__class_size(size_class) & (alignment - 1)) != 0)
        size_class++;
    return size_class;
}

static void *allocate(struct cal__heap *heap, size_t size, size_t alignment, bool *zeroed)
{
    if (CAL_LIKELY(size <= CAL_SLAB_MAX && alignment <= CAL_ALIGNMENT))
        return cal__heap_allocate(heap, cal__size_class(size), zeroed);
    unsigned size_class = aligned_class(size, alignment);
    if (size_class < CAL_CLASSES)
        return cal__heap_allocate(heap, size_class, zeroed);
    bool run = size <= CAL_RUN_MAX && alignment <= CAL_RUN_MAX;
    return cal__large_allocate(size, alignment, run ? CAL_PAGE_RUN : CAL_PAGE_HUGE, zeroed);
}

/* The same where the role slots may have a say. */
static CAL_COLD void *allocate_hooked(struct cal__heap *heap, size_t size,
                                      const struct cal_call *call, bool *zeroed)
{
    bool slots = (heap->direct & CAL_DIRECT_SLOTS) != 0;
    if (slots && aligned_class(size, call->alignment) == CAL_CLASSES)
        return cal__slots_large(size, call, zeroed);
    return allocate(heap, size, call->alignment, zeroed);
}

CAL_COLD bool cal__block_collect(void)
{
    struct cal__heap *heap = cal__thread_heap;
    cal__annotate_begin();
    bool any = cal__hooks_reclaim();
    if (heap != &cal__heap_empty) {
        cal__heap_collect(heap);
    } else {
        cal__remote_release_idle();
        cal__slots_large_purge(true);
        cal__slots_retry();
    }
    cal__annotate_end();
    return any;
}

/* Gives back all that is free, for when memory is short. Without locks held. */
static CAL_COLD bool reclaim(void)
{
    bool any = cal__block_collect();
    return cal__span_unmap_all() || any;
}

/* With memory that is free in another shape, if there is no other. */
CAL_INLINE void *allocate_or_reclaim(struct cal__heap *heap, size_t size, size_t alignment,
                                     bool *zeroed)
{
    bool wanted = *zeroed;
    void *block = allocate(heap, size, alignment, zeroed);
    if (CAL_LIKELY(block != NULL) || size >> CAL_ADDRESS_BITS != 0 || !reclaim())
        return block;
    *zeroed = wanted;
    return allocate(heap, size, alignment, zeroed);
}

/* HEAP may be that for threads which run destructors after theirs was handed over. */
static CAL_COLD void *obtain(struct cal__heap *heap, size_t size, const struct cal_call *call,
                             bool *zeroed)
{
    if (CAL_LIKELY(heap != &cal__heap_late))
        return allocate_hooked(heap, size, call, zeroed);
    cal__heap_late_enter();
    void *block = allocate_hooked(heap, size, call, zeroed);
    if (block == NULL)
        cal__heap_collect(heap);
    cal__heap_late_leave();
    return block;
}

/* As allocate_or_reclaim(), where others have a say. */
CAL_COLD void *cal__block_obtain(struct cal__heap *heap, size_t size, const struct cal_call *call,
                                 bool *zeroed)
{
    bool wanted = *zeroed;
    void *block = obtain(heap, size, call, zeroed);
    if (CAL_LIKELY(block != NULL) || size >> CAL_ADDRESS_BITS != 0 || !reclaim())
        return block;
    *zeroed = wanted;
    return obtain(heap, size, call, zeroed);
}

/* The heap of the thread, in the mode that hooks ask for; NULL when out of memory. */
static struct cal__heap *current_heap(void)
{
    struct cal__heap *heap = cal__thread_heap;
    if (CAL_UNLIKELY(heap == &cal__heap_empty)) {
        heap = cal__heap_get();
        if (heap == NULL && reclaim())
            heap = cal__heap_get();
        if (heap == NULL || heap == &cal__heap_late)
            return heap;
    }
    if (CAL_UNLIKELY(heap->mode != atomic_load_explicit(&cal__heap_mode, memory_order_relaxed)))
        cal__heap_follow_mode(heap);
    return heap;
}

static CAL_NOINLINE void *allocate_fully(size_t size, size_t alignment, unsigned how)
{
    if (size == 0) {
        size = 1;
        how |= CAL_HOW_NOTHING;
    }
    if (CAL_UNLIKELY(size > CAL_REQUEST_MAX || alignment > CAL_REQUEST_MAX - size))
        return NULL;
    struct cal__heap *heap = current_heap();
    if (CAL_UNLIKELY(heap == NULL))
        return NULL;
    if (CAL_UNLIKELY(heap == &cal__heap_late || heap->direct != 0))
        return cal__hooked_allocate(heap, size, alignment, how);
    bool zero = (how & CAL_HOW_ZERO) != 0;
    bool zeroed = zero;
    void *block = allocate_or_reclaim(heap, size, alignment, &zeroed);
    if (zero && !zeroed && block != NULL)
        memset(block, 0, size);
    return block;
}

static void *nothing(size_t size)
{
    (void)size;
    return NULL;
}

/* While somebody has a say, all of the thread's lists are empty. */
static bool is_direct(const struct cal__heap *heap)
{
    return CAL_UNLIKELY((heap->direct & CAL_DIRECT) != 0);
}

CAL_NOINLINE void *cal__block_allocate(size_t size, size_t alignment, unsigned how)
{
    void *block = NULL;
    if (is_direct(cal__thread_heap) && alignment <= CAL_ALIGNMENT && (how & CAL_HOW_NOTHING) == 0)
        block = cal__hooked_allocate_lean(size, nothing, how);
    return block != NULL ? block : allocate_fully(size, alignment, how);
}

/* SIZE is that of a slab's block. */
CAL_INLINE void *quick(size_t size)
{
    size_t size_class = cal__size_class(size);
    struct cal__heap *heap = cal__thread_heap;
#if defined(__x86_64__)
    /* As in cal__at_hand(). */
    __asm__("" : "+d"(size_class), "+c"(heap));
#endif
    return cal__heap_quick(heap, size_class);
}

/* On its own, so that those who have a block keep no registers for it. */
static CAL_NOINLINE void *borrow_or(size_t size, cal__allocate *slow)
{
    void *block = NULL;
    struct cal__heap *heap = cal__thread_heap;
    if (size - 1 < CAL_SLAB_MAX && heap->direct == 0)
        block = cal__heap_borrow(heap, cal__size_class(size));
    return block != NULL ? block : slow(size);
}

CAL_NOINLINE void *cal__block_allocate_or(size_t size, cal__allocate *slow, unsigned how)
{
    if (is_direct(cal__thread_heap))
        return cal__hooked_allocate_lean(size, slow, how);
    void *block = size - 1 < CAL_SLAB_MAX ? quick(size) : NULL;
    return CAL_LIKELY(block != NULL) ? block : borrow_or(size, slow);
}

CAL_NOINLINE void *cal__block_larger_or(size_t size, cal__allocate *slow)
{
    if (size - 1 < CAL_SMALL_MAX)
        __builtin_unreachable();
    void *block = size - 1 < CAL_SLAB_MAX ? quick(size) : NULL;
    return CAL_LIKELY(block != NULL) ? block : borrow_or(size, slow);
}

CAL_NOINLINE void *cal__block_zeroed_or(size_t size, cal__allocate *slow, unsigned how)
{
    void *block = size - 1 < CAL_SLAB_MAX ? quick(size) : NULL;
    if (CAL_LIKELY(block != NULL))
        return memset(block, 0, size);
    return is_direct(cal__thread_heap) ? cal__hooked_allocate_lean(size, slow, how | CAL_HOW_ZERO)
                                       : slow(size);
}

/* Freeing. */

static const struct cal_call plain_free = {
    .size = sizeof plain_free, .kind = CAL_CALL_MALLOC, .bytes = CAL_CALL_UNKNOWN};

static void release(struct cal__page *page, void *block)
{
    if (CAL_UNLIKELY(page->kind >= CAL_PAGE_SLOTS)) {
        cal__hooked_free(block, &plain_free);
    } else if (page->kind != CAL_PAGE_SLAB) {
        cal__large_free(page);
    } else if (cal__page_heap(page) == cal__thread_heap) {
        cal__heap_free(page, block);
    } else {
        cal__remote_free(page, block);
    }
}

void cal__block_release(struct cal__page *page, void *block)
{
    release(page, block);
}

static bool is_hooked(void)
{
    return CAL_UNLIKELY(atomic_load_explicit(&cal__heap_mode, memory_order_relaxed) % 2 != 0);
}

static CAL_NOINLINE void free_slow(void *block)
{
    if (block == NULL)
        return;
    if (is_hooked()) {
        cal__observed_free(block, &plain_free);
        return;
    }
    struct cal__page *page = page_of(block, "invalid free");
    if (CAL_LIKELY(page != NULL))
        release(page, block);
}

CAL_NOINLINE void cal__block_free(void *block)
{
    const struct cal__page *page = cal__map_candidate(block);
    if (CAL_UNLIKELY(page->kind == CAL_PAGE_SLOTS))
        cal__hooked_free_lean((struct cal__page *)page, block, &plain_free);
    else if (!cal__gather_free(block))
        free_slow(block);
}

static CAL_NOINLINE void free_hooked(void *block, unsigned how, size_t size, size_t alignment)
{
    const struct cal_call call = cal__call_of(size, alignment, how);
    cal__observed_free(block, &call);
}

CAL_NOINLINE void cal__block_free_as(void *block, unsigned how, size_t size, size_t alignment)
{
    const struct cal__page *page = cal__map_candidate(block);
    if (CAL_UNLIKELY(page->kind == CAL_PAGE_SLOTS)) {
        const struct cal_call call = cal__call_of(size, alignment, how);
        cal__hooked_free_lean((struct cal__page *)page, block, &call);
        return;
    }
    if (cal__gather_free(block) || block == NULL)
        return;
    if (!is_hooked()) {
        struct cal__page *found = page_of(block, "invalid free");
        if (found == NULL || found->kind < CAL_PAGE_SLOTS) {
            if (found != NULL)
                release(found, block);
            return;
        }
    }
    free_hooked(block, how, size, alignment);
}

/* Resizing. */

static CAL_NOINLINE void *allocate_plain(size_t size)
{
    return cal__block_allocate(size, CAL_ALIGNMENT, CAL_HOW_MALLOC);
}

static bool resize_in_slab(struct cal__page *page, void *block, size_t size)
{
    struct cal__heap *heap = cal__thread_heap;
    if (cal__page_heap(page) != heap || size > CAL_SLAB_MAX)
        return false;
    size_t slots = (size + page->block_size - 1) / page->block_size;
    return slots <= page->capacity && cal__merged_resize(heap, page, block, (uint32_t)slots);
}

/* 0, -ENOMEM when there is no room, or why else it cannot be done. */
static int resize_capacity(struct cal__page *page, void *block, size_t size)
{
    if (size > CAL_REQUEST_MAX)
        return -ENOMEM;
    if (page->kind == CAL_PAGE_SLAB) {
        /* Only the owner can change how many slots a block has; others may use what it has. */
        size_t capacity = capacity_of(page, block);
        bool fixed = capacity <= page->block_size || cal__page_heap(page) != cal__thread_heap;
        bool fits = fixed && size <= capacity;
        return fits || resize_in_slab(page, block, size) ? 0 : -ENOMEM;
    }
    return cal__large_resize(page, size) ? 0 : -ENOMEM;
}

static int resize(struct cal__page *page, void *block, size_t size)
{
    if (!is_hooked())
        return resize_capacity(page, block, size);
    /* A tool is told of every block once; a change of size is a new block to it. */
    if (annotating())
        return -EBUSY;
    size_t old_usable = usable_of(page, block);
    int error = resize_capacity(page, block, size);
    if (error == 0)
        cal__hooks_resized(block, old_usable, size, usable_of(page, block));
    return error;
}

bool cal__block_resize(void *block, size_t size, const char *what)
{
    struct cal__page *page = page_of(block, what);
    if (CAL_UNLIKELY(page == NULL))
        return false;
    if (CAL_UNLIKELY(cal__page_is_special(page)))
        return size <= CAL_REQUEST_MAX && cal__hooked_resize(page, block, size, CAL_HOW_NATIVE);
    return resize(page, block, size) == 0;
}

static bool grows_by_copy(size_t size, size_t usable)
{
    return usable < MERGE_MIN || (usable < MERGE_ALWAYS && size < usable + usable / 2);
}

/* True when staying where it is wastes too much or is not allowed. */
static bool should_move(const struct cal__page *page, size_t size, size_t usable)
{
    if (page->kind != CAL_PAGE_SLAB)
        return size <= CAL_SLAB_MAX / CAL_SHRINK_SHARE;
    if (size <= usable)
        return size < usable / CAL_SHRINK_SHARE && usable <= page->block_size &&
               usable > CAL_SHRINK_MIN;
    return grows_by_copy(size, usable);
}

static void *move_mapping(struct cal__page *page, void *block, size_t size)
{
    bool observed = cal__hooks_observed();
    size_t usable = page->size;
    if (observed)
        cal__hooks_freeing(block, usable);
    void *moved = cal__large_move(page, size);
    if (observed && moved != NULL)
        cal__hooks_allocated(moved, size, page->size);
    else if (observed)
        cal__hooks_allocated(block, usable, usable);
    return moved;
}

/* What to ask for when SIZE bytes no longer fit in USABLE: a block that grows by small steps gets
 * room for the next ones, or each step would copy it. */
static size_t with_slack(size_t size, size_t usable)
{
    size_t roomy = usable + usable / 4;
    bool small_step = size > usable && size < roomy && roomy <= CAL_RUN_MAX;
    return small_step ? roomy : size;
}

/* Copies to a new block. Shrinking never fails: without memory for it the block stays. */
static void *move(void *block, size_t size, size_t usable, unsigned how)
{
    /* Add-ons and tools are told the truth, without slack. */
    if (is_hooked())
        return cal__hooked_move(block, size, usable, how);
    size_t roomy = with_slack(size, usable);
    void *copy = cal__allocate_or(roomy, allocate_plain, CAL_HOW_MALLOC);
    if (CAL_UNLIKELY(copy == NULL && roomy > size))
        copy = cal__allocate_or(size, allocate_plain, CAL_HOW_MALLOC);
    if (CAL_UNLIKELY(copy == NULL))
        return size <= usable ? block : NULL;
    memcpy(copy, block, cal__min(size, usable));
    cal__free(block);
    return copy;
}

/* Copies a multiple of 16 bytes, not zero, in pieces that may overlap. */
CAL_INLINE void copy_units(char *to, const char *from, size_t length)
{
    if (length > 64) {
        for (size_t done = 0; done < length - 64; done += 64)
            memcpy(to + done, from + done, 64);
        memcpy(to + length - 64, from + length - 64, 64);
    } else if (length > 32) {
        memcpy(to, from, 32);
        memcpy(to + length - 32, from + length - 32, 32);
    } else {
        memcpy(to, from, 16);
        memcpy(to + length - 16, from + length - 16, 16);
    }
}

static CAL_COLD void *event_then(struct cal__page *page, void *result)
{
    cal__heap_page_event(page);
    return result;
}

/* The rest of a move within the thread's slabs: LENGTH bytes of BLOCK go to COPY, and BLOCK to its
 * page. */
CAL_INLINE void *replace(struct cal__page *page, void *block, void *copy, size_t length)
{
    copy_units(copy, block, length);
    cal__block_set_next(block, page->free);
    page->free = block;
    if (CAL_UNLIKELY(--page->countdown == 0))
        return event_then(page, copy);
    return copy;
}

/* Apart from cal__block_copy_or(), which saves no registers and calls nothing this way. */
static CAL_NOINLINE void *copy_refilled(void *block, size_t size, struct cal__page *page,
                                        cal__reallocate *slow, size_t roomy, size_t length)
{
    void *copy = cal__block_allocate_or(roomy, nothing, CAL_HOW_MALLOC);
    return copy == NULL ? slow(block, size) : replace(page, block, copy, length);
}

CAL_NOINLINE void *cal__block_copy_or(void *block, size_t size, struct cal__page *page,
                                      cal__reallocate *slow)
{
    size_t usable = page->block_size;
    size_t length = usable, roomy = size;
    if (size > usable) {
        if (!grows_by_copy(size, usable))
            return slow(block, size);
        roomy = cal__max(size, usable + usable / 4);
    } else {
        if (usable <= CAL_SHRINK_MIN && size != 0)
            return block;
        length = cal__round_up(size, CAL_ALIGNMENT);
        if (length - 1 >= COPY_MAX)
            return slow(block, size);
    }
    void *copy = cal__at_hand(roomy);
    return CAL_LIKELY(copy != NULL) ? replace(page, block, copy, length)
                                    : copy_refilled(block, size, page, slow, roomy, length);
}

/* Few enough mappings of the kernel's that a move costs less than a copy, and makes no more of them. */
static bool in_few_pieces(const struct cal__page *page)
{
    size_t granules = cal__page_granules(page);
    return cal__place_may_scatter() &&
           cal__place_pieces(cal__page_start(page), granules) <= 1 + granules / PIECE_GRANULES;
}

void *cal__block_reallocate(void *block, size_t size, unsigned how)
{
    struct cal__page *page = page_of(block, "invalid realloc");
    if (CAL_UNLIKELY(page == NULL))
        return NULL;
    if (CAL_UNLIKELY(cal__page_is_special(page)))
        return cal__hooked_reallocate(page, block, size, how);
    size_t usable = usable_of(page, block);
    int error = should_move(page, size, usable) ? -EBUSY : resize(page, block, size);
    if (error == 0)
        return block;
    bool by_pages = page->kind == CAL_PAGE_HUGE ||
                    (page->kind == CAL_PAGE_RUN && usable >= MOVE_PAGES_MIN && in_few_pieces(page));
    if (by_pages && error == -ENOMEM && size <= CAL_REQUEST_MAX) {
        void *moved = move_mapping(page, block, size);
        if (moved != NULL)
            return moved;
    }
    return move(block, size, usable, how);
}
