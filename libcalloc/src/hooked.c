#include "hooked.h"

#include <errno.h>
#include <string.h>

#include "annotate.h"
#include "block.h"
#include "hooks.h"
#include "large.h"
#include "message.h"
#include "observed.h"
#include "owner.h"
#include "slots.h"

static bool annotating(void)
{
    return CAL_UNLIKELY(cal__annotating != CAL_ANNOTATE_NONE);
}

/* Errors. */

static void report(enum cal_error error, const char *what, const void *block)
{
    const struct cal_slots *role = cal__slots_role();
    if (role == NULL || role->error == NULL || !role->error(error, block))
        cal__fatal(what, block);
}

CAL_COLD void cal__hooked_error(const char *what, const void *block)
{
    enum cal_error error = strcmp(what, "invalid free") == 0  ? CAL_ERROR_INVALID_FREE
                           : strcmp(what, "double free") == 0 ? CAL_ERROR_DOUBLE_FREE
                                                              : CAL_ERROR_INVALID_POINTER;
    report(error, what, block);
}

static CAL_COLD void not_live(uint32_t mark, const void *block)
{
    if (mark == CAL_MARK_NEVER || mark == CAL_MARK_WITHHELD)
        report(CAL_ERROR_INVALID_FREE, "invalid free", block);
    else if (cal__mark_is_kept(mark))
        report(CAL_ERROR_FREE_OF_KEPT, "double free", block);
    else
        report(CAL_ERROR_DOUBLE_FREE, "double free", block);
}

/* Sizes. */

static size_t usable_slot(struct cal__slots *slots, const void *block)
{
    const struct cal_slots *role = cal__slots_role();
    if (role->usable == NULL)
        return slots->slab.room;
    return role->usable(&slots->slab, cal__slots_index(slots, block), block);
}

size_t cal__hooked_usable(const struct cal__page *page, const void *block)
{
    if (page->kind == CAL_PAGE_RANGE)
        return cal__owner_usable(page, block);
    struct cal__slots *slots = cal__page_slots(page);
    if (!annotating())
        return usable_slot(slots, block);
    cal__annotate_begin();
    size_t size = cal__annotate_size((void *)block, slots->slab.block_size);
    cal__annotate_end();
    return size;
}

/* SIZE and what comes on top of it; false when that is impossible. */
static bool pad(const struct cal_call *call, size_t size, size_t *padded)
{
    /* Blocks by themselves have theirs at their end. */
    bool large = size > CAL_SLAB_MAX || call->alignment > CAL_GRANULE;
    size_t extra = cal__slots_role() == NULL || large ? 0 : cal__slots_role()->extra;
    if (extra > CAL_REQUEST_MAX - size || call->alignment > CAL_REQUEST_MAX - size - extra)
        return false;
    *padded = size + extra + (annotating() ? CAL_ANNOTATE_REDZONE : 0);
    return *padded <= CAL_REQUEST_MAX;
}

/* Allocating. */

/* A new block: where it is, and what is known of it. */
struct fresh {
    void *block; /* NULL: there is none */
    struct cal__page *page;
    uint32_t slot; /* if the page has slots */
    bool zeroed;
};

static void tell_role(const struct cal_slots *role, struct cal__slots *slots, struct fresh *fresh,
                      const struct cal_call *call)
{
    unsigned how = (unsigned)call->kind << CAL_SLOT_KIND_SHIFT;
    how |= (call->zero ? CAL_SLOT_ZERO : 0) | (fresh->zeroed ? CAL_SLOT_ZEROED : 0);
    role->allocated(&slots->slab, fresh->slot, fresh->block, call->bytes, how);
    fresh->zeroed |= call->zero;
}

/* Tells whoever listens of it. */
static void announce(struct fresh *fresh, size_t size, const struct cal_call *call)
{
    void *block = fresh->block;
    struct cal__slots *slots = cal__slots_of(fresh->page);
    const struct cal_slots *role = cal__slots_role();
    if (slots != NULL && role->allocated == NULL)
        cal_slot_set_mark(&slots->slab, fresh->slot, CAL_MARK_LIVE);
    else if (slots != NULL)
        tell_role(role, slots, fresh, call);
    if (annotating())
        cal__annotate_allocated(block, size, cal__block_capacity(fresh->page, block), call->zero);
    if (cal__hooks_observed())
        cal__hooks_allocated(block, call->bytes, cal__block_usable(block, "invalid block"));
}

/* FRESH->zeroed: what is wanted, and then what is had. */
static void obtain(struct cal__heap *heap, size_t size, const struct cal_call *call,
                   struct fresh *fresh)
{
    fresh->block = cal__block_obtain(heap, size, call, &fresh->zeroed);
    if (fresh->block == NULL)
        return;
    fresh->page = cal__map_find(cal__granule_of(fresh->block));
    struct cal__slots *slots = cal__slots_of(fresh->page);
    fresh->slot = slots == NULL ? 0 : cal__slots_index(slots, fresh->block);
}

static void *claim(const struct cal_call *call)
{
    void *block = cal__owner_claim(call);
    if (block != NULL && cal__hooks_observed())
        cal__hooks_allocated(block, call->bytes, cal__block_usable(block, "invalid block"));
    return block;
}

/* The rest of the next function: the page's slots at hand are no choice, or too few. */
static CAL_NOINLINE void *allocate_replenished(size_t size, cal__allocate *slow, unsigned how,
                                               struct cal__page *page)
{
    uint32_t slot;
    void *block = cal__slots_take(cal__thread_heap, page, &slot);
    if (CAL_UNLIKELY(block == NULL))
        return slow(size);
    struct cal__slots *slots = (struct cal__slots *)cal__slots_address(page);
    return cal__slots_played.allocated(&slots->slab, slot, block, size, how);
}

/* A block of the page that the heap allocates from: about 50 instructions, and those of the role. All calls are
 * the last thing it does, so that it need not save a register. A heap that has seen the mode in which requests are lean
 * makes pages with slots only (hooks.c). */
void *cal__hooked_allocate_lean(size_t size, cal__allocate *slow, unsigned how)
{
    struct cal__heap *heap = cal__thread_heap;
    if (CAL_UNLIKELY(!cal__hooks_is_lean(size)))
        return cal__observed_allocate(size, slow, how);
    if (CAL_UNLIKELY(heap->mode != atomic_load_explicit(&cal__heap_mode, memory_order_relaxed)))
        return slow(size);
    size_t size_class = cal__size_class_with_slots(size + cal__slots_played.extra);
    struct cal__page *page = heap->bins[size_class].current;
    if (CAL_UNLIKELY(page == NULL))
        return slow(size);
    uint64_t address = cal__slots_address(page);
    if (CAL_UNLIKELY(address > CAL_SLOTS_LAST))
        cal__link_broken(page);
    struct cal__slots *slots = (struct cal__slots *)address;
    uint32_t slot = cal__slots_take_next(slots, page, heap);
    if (CAL_UNLIKELY(slot == CAL_SLOT_ANY))
        return allocate_replenished(size, slow, how, page);
    return cal__slots_played.allocated(&slots->slab, slot, cal__slots_block(slots, slot), size,
                                       how);
}

void *cal__hooked_allocate(struct cal__heap *heap, size_t size, size_t alignment, unsigned how)
{
    const struct cal_call call = cal__call_of(size, alignment, how);
    void *block = cal__owner_claims() ? claim(&call) : NULL;
    size_t padded;
    if (block != NULL || !pad(&call, size, &padded))
        return block;
    cal__annotate_begin();
    struct fresh fresh = {.zeroed = call.zero};
    obtain(heap, padded, &call, &fresh);
    if (CAL_LIKELY(fresh.block != NULL)) {
        announce(&fresh, size, &call);
        if (call.zero && !fresh.zeroed)
            memset(fresh.block, 0, call.bytes);
    }
    cal__annotate_end();
    return fresh.block;
}

/* Freeing. */

static void free_slot(struct cal__slots *slots, void *block, const struct cal_call *call)
{
    uint32_t slot = cal__slots_index(slots, block);
    size_t usable = 0;
    if (slot != CAL_SLOT_ANY && CAL_UNLIKELY(cal__hooks_observed()) &&
        (cal_slot_mark(&slots->slab, slot) & CAL_MARK_LIVE) != 0)
        usable = cal__block_usable(block, "invalid free");
    uint32_t mark = slot == CAL_SLOT_ANY ? CAL_MARK_NEVER : cal__slots_claim(slots, slot);
    if (CAL_UNLIKELY((mark & CAL_MARK_LIVE) == 0)) {
        not_live(mark, block);
        return;
    }
    struct cal__page *page = cal__slots_page(slots);
    if (page->kind != CAL_PAGE_SLOTS) {
        cal__slots_check(page);
        cal__large_end(page);
    }
    if (cal__hooks_observed())
        cal__hooks_freeing(block, usable);
    if (annotating())
        cal__annotate_freed(block, slots->slab.block_size);
    const struct cal_slots *role = cal__slots_role();
    if (role->freeing == NULL ||
        role->freeing(&slots->slab, slot, block, mark & CAL_MARK_ROLE, call) == CAL_SLOT_RELEASE)
        cal__slots_give(slots, slot);
}

static void free_in_range(struct cal__page *page, void *block, const struct cal_call *call)
{
    if (cal__hooks_observed()) {
        size_t usable = cal__owner_usable(page, block);
        if (usable != SIZE_MAX)
            cal__hooks_freeing(block, usable);
    }
    if (!cal__owner_free(page, block, call))
        cal__hooked_error("invalid free", block);
}

static void free_plain(struct cal__page *page, void *block)
{
    if (cal__hooks_observed())
        cal__hooks_freeing(block, cal__block_usable(block, "invalid free"));
    if (annotating())
        cal__annotate_freed(block, cal__block_capacity(page, block));
    cal__block_release(page, block);
}

void cal__hooked_free(void *block, const struct cal_call *call)
{
    /* The map may have a page for it too, of another granule. */
    if (block == NULL)
        return;
    struct cal__page *page = cal__map_find(cal__granule_of(block));
    /* free() preserves it, add-ons need not. */
    int saved = errno;
    struct cal__slots *slots = page == NULL ? NULL : cal__slots_of(page);
    cal__annotate_begin();
    if (slots != NULL)
        free_slot(slots, block, call);
    else if ((page = cal__block_page(block, "invalid free")) == NULL)
        ;
    else if (page->kind == CAL_PAGE_RANGE)
        free_in_range(page, block, call);
    else
        free_plain(page, block);
    cal__annotate_end();
    errno = saved;
}

/* Both ends of it, if it is one. */
static void fetch(const void *block, size_t size)
{
    __builtin_prefetch(block, 1);
    __builtin_prefetch((const void *)((uintptr_t)block + size - 64), 1);
}

/* About 35 instructions beside those of the role, for a slot of the thread's own. The role may overwrite all of the
 * block: what it begins and ends with is fetched while the slot's mark is. */
void cal__hooked_free_lean(struct cal__page *page, void *block, const struct cal_call *call)
{
    uint64_t address = cal__slots_address(page);
    struct cal__slots *slots = (struct cal__slots *)address;
    fetch(block, page->block_size);
    /* No record at all is below zero. */
    if (CAL_UNLIKELY(address - 1 >= CAL_SLOTS_LAST || cal__page_heap(page) != cal__thread_heap ||
                     atomic_load_explicit(&cal__hooks_lean.most, memory_order_acquire) == 0)) {
        cal__hooked_free(block, call);
        return;
    }
    uint32_t slot = cal__slots_index(slots, block);
    uint32_t mark = slot == CAL_SLOT_ANY ? CAL_MARK_NEVER : cal__slots_claim(slots, slot);
    if (CAL_UNLIKELY((mark & CAL_MARK_LIVE) == 0)) {
        cal__hooked_free(block, call);
        return;
    }
    if (cal__slots_played.freeing(&slots->slab, slot, block, mark & CAL_MARK_ROLE, call) ==
        CAL_SLOT_RELEASE)
        cal__slots_put_own(slots, page, slot);
}

/* Resizing. */

static bool resize_slot(struct cal__slots *slots, void *block, const struct cal_call *call)
{
    const struct cal_slots *role = cal__slots_role();
    size_t padded;
    return role->resize != NULL && pad(call, call->bytes, &padded) && padded <= slots->slab.room &&
           role->resize(&slots->slab, cal__slots_index(slots, block), block, call);
}

bool cal__hooked_resize(struct cal__page *page, void *block, size_t size, unsigned how)
{
    /* A tool is told of every block once; a change of size is a new block to it. */
    if (annotating() && page->kind != CAL_PAGE_RANGE)
        return false;
    const struct cal_call call = cal__call_of(size, CAL_ALIGNMENT, how);
    size_t old_usable = cal__hooks_observed() ? cal__hooked_usable(page, block) : 0;
    bool done = page->kind == CAL_PAGE_RANGE ? cal__owner_resize(page, block, size)
                                             : resize_slot(cal__page_slots(page), block, &call);
    if (done && cal__hooks_observed())
        cal__hooks_resized(block, old_usable, size, cal__hooked_usable(page, block));
    return done;
}

/* Staying in its slot would waste most of that. */
static bool too_roomy(const struct cal__page *page, size_t size)
{
    if (page->kind == CAL_PAGE_RANGE)
        return false;
    size_t room = cal__page_slots(page)->slab.room;
    return room > CAL_SHRINK_MIN && size < room / CAL_SHRINK_SHARE;
}

void *cal__hooked_move(void *block, size_t size, size_t usable, unsigned how)
{
    void *copy = cal__block_allocate(size, CAL_ALIGNMENT, how);
    if (copy == NULL)
        return size <= usable ? block : NULL;
    memcpy(copy, block, cal__min(size, usable));
    cal__block_free_as(block, how, CAL_CALL_UNKNOWN, 0);
    return copy;
}

void *cal__hooked_reallocate(struct cal__page *page, void *block, size_t size, unsigned how)
{
    size_t usable = cal__hooked_usable(page, block);
    if (usable == SIZE_MAX) {
        cal__hooked_error("invalid realloc", block);
        return NULL;
    }
    if (size > CAL_REQUEST_MAX)
        return NULL;
    if (!too_roomy(page, size) && cal__hooked_resize(page, block, size, how))
        return block;
    return cal__hooked_move(block, size, usable, how);
}
