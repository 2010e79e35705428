#include "pages.h"

#include <string.h>

#include "canary.h"
#include "kind.h"
#include "latch.h"
#include "place.h"
#include "pool.h"
#include "trace.h"

/* The largest block of a slab of the core. Larger ones are by themselves, with guards of their own. */
#define BLOCK_MAX ((size_t)128 << 10)

static const struct cal__settings *settings;

/* How many allocations of the thread are left until claim() has something to do: 0 when it is due, less
 * where a thread begins. */
static _Thread_local __attribute__((tls_model("initial-exec"))) int64_t countdown;
/* The same for those that are sampled while every block is claimed. */
static _Thread_local __attribute__((tls_model("initial-exec"))) int64_t countdown_own;

/* Held while a slot is in CAL_SLOT_STATE_HELD, of which there is one at a time. */
static struct cal__latch holding;

static bool is_empty(const struct cal__pool_range *range)
{
    return range->room == 0;
}

static uint32_t load(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static enum cal__slot_state state_of(const struct cal__slot *slot)
{
    return (enum cal__slot_state)atomic_load_explicit(&slot->state, memory_order_acquire);
}

static void set_state(struct cal__slot *slot, enum cal__slot_state state)
{
    atomic_store_explicit(&slot->state, (uint8_t)state, memory_order_release);
}

/* True for one of all that try. */
static bool change_state(struct cal__slot *slot, enum cal__slot_state from, enum cal__slot_state to)
{
    uint8_t expected = (uint8_t)from;
    return atomic_compare_exchange_strong_explicit(&slot->state, &expected, (uint8_t)to,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

static bool is_live(enum cal__slot_state state)
{
    return state == CAL_SLOT_STATE_LIVE || state == CAL_SLOT_STATE_HELD;
}

/* Of a slot that is or was in use. */
static char *block_of(const struct cal__pool_range *range, const struct cal__slot *slot)
{
    return cal__pool_slot(range, cal__pool_index(range, slot)) + load(&slot->offset);
}

/* From the start of a block to the end of its last page. */
static size_t capacity_of(const char *block, size_t requested)
{
    size_t mask = cal__pool_page - 1;
    return (((uintptr_t)block + requested + mask) & ~mask) - (uintptr_t)block;
}

/* The slot that an address lies in, or behind which; NULL: before the first, or behind the last that was
 * ever used. */
static struct cal__slot *slot_at(const struct cal__pool_range *range, const void *address)
{
    size_t offset = (uintptr_t)address - (uintptr_t)range->first;
    size_t index = offset / range->stride;
    if (index >= atomic_load_explicit(&range->used, memory_order_acquire))
        return NULL;
    return &range->records[index];
}

/* Reports. */

static void add_traces(struct cal__report *report, const struct cal__pool_range *range,
                       const struct cal__slot *slot)
{
    if (range->traces == NULL)
        return;
    const struct cal__traces *traces = &range->traces[cal__pool_index(range, slot)];
    report->allocated = traces->allocated;
    enum cal__slot_state state = state_of(slot);
    if (state == CAL_SLOT_STATE_FREED || state == CAL_SLOT_STATE_BUSY)
        report->freed = traces->freed;
}

/* SLOT may be NULL. */
static CAL_COLD void tell(struct cal__report *report, const struct cal__pool_range *range,
                          const struct cal__slot *slot)
{
    enum cal__consequence consequence = cal__settings_consequence(settings, report->check);
    if (consequence == CAL_IGNORE)
        return;
    if (slot != NULL && state_of(slot) != CAL_SLOT_STATE_FRESH) {
        report->requested = load(&slot->requested);
        report->requested_known = true;
        add_traces(report, range, slot);
    }
    cal__trace_report(report, consequence);
}

static void tell_check(enum cal__check check, const void *address,
                       const struct cal__pool_range *range, const struct cal__slot *slot)
{
    struct cal__report report = {.check = check, .address = address};
    tell(&report, range, slot);
}

/* What is around a block in its pages. */

static size_t leading(const char *block)
{
    return (uintptr_t)block & (cal__pool_page - 1);
}

/* How many bytes before the block the last one is that is not zero; 0 if all are. */
static size_t damage_before(const char *block)
{
    const char *start = block - leading(block);
    for (const char *word = block; word != start;) {
        word -= sizeof(uint64_t);
        uint64_t value;
        memcpy(&value, word, sizeof value);
        if (CAL_UNLIKELY(value != 0))
            return (size_t)(block - word) - (63 - (unsigned)__builtin_clzll(value)) / 8;
    }
    return 0;
}

static uint64_t canary_of(const struct cal__pool_range *range, const char *block)
{
    return cal__canary_word(&range->key, (size_t)(block - range->first) / range->stride);
}

static CAL_COLD void tell_damage(const struct cal__pool_range *range, const struct cal__slot *slot,
                                 size_t before)
{
    const char *block = block_of(range, slot);
    size_t requested = load(&slot->requested);
    struct cal__report report = {
        .check = CAL_CHECK_overflow,
        .address = block,
        .damage = before,
        .damage_before = before != 0,
        .damage_known = true,
    };
    if (before == 0)
        report.damage = cal__canary_damage(canary_of(range, block), block, requested,
                                           capacity_of(block, requested), settings->canary_bytes);
    tell(&report, range, slot);
}

/* True if nothing was written before and behind a block whose life is the caller's. */
static bool is_intact(const struct cal__pool_range *range, const struct cal__slot *slot)
{
    if (is_empty(range) || settings->canary == 0)
        return true;
    const char *block = block_of(range, slot);
    size_t requested = load(&slot->requested);
    size_t before = damage_before(block);
    if (CAL_LIKELY(before == 0 &&
                   cal__canary_verify(canary_of(range, block), block, requested,
                                      capacity_of(block, requested), settings->canary_bytes)))
        return true;
    tell_damage(range, slot, before);
    return false;
}

static void guard_slack(const struct cal__pool_range *range, char *block, size_t requested)
{
    if (settings->canary != 0)
        cal__canary_write(canary_of(range, block), block, requested, capacity_of(block, requested),
                          settings->canary_bytes);
}

/* Allocating. */

static void *begin(struct cal__pool_range *range, struct cal__slot *slot, char *block,
                   const struct cal_call *call)
{
    uint32_t index = cal__pool_index(range, slot);
    slot->kind = (uint8_t)cal__kind_of(call->kind);
    atomic_store_explicit(&slot->requested, (uint32_t)call->bytes, memory_order_relaxed);
    atomic_store_explicit(&slot->offset, (uint32_t)(block - cal__pool_slot(range, index)),
                          memory_order_relaxed);
    if (range->traces != NULL)
        cal__trace(&range->traces[index].allocated);
    atomic_fetch_add_explicit(&range->live, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&range->allocations, 1, memory_order_relaxed);
    if (call->bytes != 0) {
        atomic_fetch_add_explicit(&range->live_bytes, call->bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&range->allocated_bytes, call->bytes, memory_order_relaxed);
        guard_slack(range, block, call->bytes);
    }
    set_state(slot, CAL_SLOT_STATE_LIVE);
    return block;
}

static void *claim_empty(const struct cal_call *call)
{
    struct cal__pool *pool = cal__pool_empty(call->alignment);
    struct cal__pool_range *range;
    struct cal__slot *slot = pool == NULL ? NULL : cal__pool_take(pool, &range);
    if (slot == NULL)
        return NULL;
    return begin(range, slot, cal__pool_slot(range, cal__pool_index(range, slot)), call);
}

/* In slots with such guards; SPACE is what is needed for the alignment too. */
static void *claim_pages_of(const struct cal_call *call, size_t space, bool sampled,
                            enum cal__guard guard)
{
    struct cal__pool *pool = cal__pool_pages(space, sampled, guard);
    struct cal__pool_range *range;
    struct cal__slot *slot = pool == NULL ? NULL : cal__pool_take(pool, &range);
    if (slot == NULL)
        return NULL;
    char *end = cal__pool_slot(range, cal__pool_index(range, slot)) + range->room;
    char *block = end - call->bytes;
    block -= (uintptr_t)block & (call->alignment - 1);
    char *first = block - leading(block);
    size_t length = leading(block) + capacity_of(block, call->bytes);
    if (CAL_UNLIKELY(!cal__guard_open(first, length, range->guard))) {
        cal__pool_give(range, slot);
        return NULL;
    }
    return begin(range, slot, block, call);
}

static void *claim_pages(const struct cal_call *call, bool sampled)
{
    size_t page = cal__pool_page;
    if (call->bytes > BLOCK_MAX || call->alignment > 2 * BLOCK_MAX)
        return NULL;
    /* Slots start at pages, and up to that much of one is lost to a larger alignment. */
    size_t space = call->alignment <= page
                       ? (call->bytes + call->alignment - 1) & ~(call->alignment - 1)
                       : call->bytes + call->alignment - page;
    enum cal__guard guard = cal__guard_next();
    void *block = claim_pages_of(call, space, sampled, guard);
    if (CAL_LIKELY(block != NULL))
        return block;
    /* With one kind used up, and with marks refused as they are for locked memory, there is the other. With
     * neither there may be freed slots, which have been paid for. */
    enum cal__guard other = guard == CAL_GUARD_PROTECTED ? CAL_GUARD_MARKED : CAL_GUARD_PROTECTED;
    if (other == CAL_GUARD_MARKED && !cal__guard_can_mark())
        return NULL;
    return claim_pages_of(call, space, sampled, other);
}

/* 1 to twice the mean less 1, each as likely as every other. */
static int64_t draw(void)
{
    return 1 + (int64_t)cal__pool_random(2 * settings->sample - 1);
}

/* Whether a count that was just lowered is at its end; it begins anew then, and where the thread does. */
static bool is_due(int64_t *count)
{
    if (*count < 0)
        *count = draw() - 1;
    bool due = *count == 0;
    if (due)
        *count = draw();
    return due;
}

static CAL_NOINLINE void *claim_slowly(const struct cal_call *call)
{
    if (settings == NULL)
        return NULL;
    if (call->bytes == 0)
        return settings->zero_size_faults != 0 ? claim_empty(call) : NULL;
    if (settings->own_pages != 0) {
        countdown = 0;
        countdown_own--;
        return claim_pages(call, settings->sample != 0 && is_due(&countdown_own));
    }
    if (settings->sample != 0)
        return is_due(&countdown) ? claim_pages(call, true) : NULL;
    countdown = INT64_MAX;
    return NULL;
}

static void *claim(const struct cal_call *call)
{
    if (CAL_LIKELY(call->bytes != 0 && --countdown > 0))
        return NULL;
    return claim_slowly(call);
}

/* Freeing. */

static CAL_COLD bool not_live(const struct cal__pool_range *range, const struct cal__slot *slot,
                              void *block, bool at_start)
{
    enum cal__slot_state state = slot == NULL ? CAL_SLOT_STATE_FRESH : state_of(slot);
    bool freed = at_start && (state == CAL_SLOT_STATE_FREED || state == CAL_SLOT_STATE_BUSY);
    tell_check(freed ? CAL_CHECK_double_free : CAL_CHECK_invalid_free, block, range, slot);
    return true;
}

static void check_call(const struct cal__pool_range *range, const struct cal__slot *slot,
                       const void *block, const struct cal_call *call)
{
    if (CAL_UNLIKELY(settings->kinds != 0 &&
                     cal__kinds_differ((enum cal__kind)slot->kind, cal__kind_of(call->kind))))
        tell_check(CAL_CHECK_kind_mismatch, block, range, slot);
    if (CAL_UNLIKELY(settings->sizes != 0 && call->bytes != CAL_CALL_UNKNOWN &&
                     call->bytes != load(&slot->requested)))
        tell_check(CAL_CHECK_size_mismatch, block, range, slot);
}

/* True once the slot is the caller's; false when there is no live block. AT_START tells whether there
 * is or was one that starts at BLOCK. */
static bool take_life(const struct cal__pool_range *range, struct cal__slot *slot,
                      const void *block, bool *at_start)
{
    for (;;) {
        enum cal__slot_state state = state_of(slot);
        *at_start = state != CAL_SLOT_STATE_FRESH && block_of(range, slot) == block;
        if (!is_live(state) || !*at_start)
            return false;
        if (change_state(slot, CAL_SLOT_STATE_LIVE, CAL_SLOT_STATE_BUSY))
            return true;
        /* One that is held is let go of in a moment. */
        cal__latch_acquire(&holding);
        cal__latch_release(&holding);
    }
}

static void end(struct cal__pool_range *range, struct cal__slot *slot)
{
    size_t requested = load(&slot->requested);
    if (!is_empty(range)) {
        char *start = cal__pool_slot(range, cal__pool_index(range, slot));
        char *block = block_of(range, slot);
        /* All of it: where it was refused before, more than the pages of this block may be open. */
        if (!cal__guard_shut(start, range->room, range->guard))
            memset(block - leading(block), 0, leading(block) + capacity_of(block, requested));
        atomic_fetch_sub_explicit(&range->live_bytes, requested, memory_order_relaxed);
    }
    atomic_fetch_sub_explicit(&range->live, 1, memory_order_relaxed);
    set_state(slot, CAL_SLOT_STATE_FREED);
    cal__pool_give(range, slot);
}

static bool deallocate(void *state, void *block, const struct cal_call *call)
{
    struct cal__pool_range *range = state;
    cal__pool_check(range);
    struct cal__slot *slot = slot_at(range, block);
    bool at_start = false;
    if (CAL_UNLIKELY(slot == NULL || !take_life(range, slot, block, &at_start)))
        return not_live(range, slot, block, at_start);
    if (range->traces != NULL)
        range->traces[cal__pool_index(range, slot)].freed = (struct cal__frames){0};
    check_call(range, slot, block, call);
    is_intact(range, slot);
    if (range->traces != NULL)
        cal__trace(&range->traces[cal__pool_index(range, slot)].freed);
    end(range, slot);
    return true;
}

/* Looking at blocks. */

static size_t usable(void *state, const void *block)
{
    const struct cal__pool_range *range = state;
    const struct cal__slot *slot = slot_at(range, block);
    if (slot == NULL || !is_live(state_of(slot)) || block_of(range, slot) != block)
        return 0;
    return is_empty(range) ? CAL_RANGE_EMPTY : load(&slot->requested);
}

/* A live block that nobody ends before let_go(). */
static bool hold(struct cal__slot *slot)
{
    if (state_of(slot) != CAL_SLOT_STATE_LIVE)
        return false;
    cal__latch_acquire(&holding);
    if (change_state(slot, CAL_SLOT_STATE_LIVE, CAL_SLOT_STATE_HELD))
        return true;
    cal__latch_release(&holding);
    return false;
}

static void let_go(struct cal__slot *slot)
{
    set_state(slot, CAL_SLOT_STATE_LIVE);
    cal__latch_release(&holding);
}

/* Whether it would still end at its guard page. */
static bool stays(const struct cal__pool_range *range, const struct cal__slot *slot,
                  const char *block, size_t bytes)
{
    size_t before = load(&slot->requested);
    size_t capacity = capacity_of(block, before);
    if (bytes == before)
        return true;
    return !is_empty(range) && bytes != 0 && bytes <= capacity &&
           capacity - bytes < CAL_BLOCK_ALIGNMENT;
}

/* What it had of the canary is not given away. */
static void resize_held(struct cal__pool_range *range, struct cal__slot *slot, char *block,
                        size_t bytes)
{
    size_t before = load(&slot->requested);
    is_intact(range, slot);
    if (bytes == before)
        return;
    if (bytes > before) {
        memset(block + before, 0, bytes - before);
        atomic_fetch_add_explicit(&range->allocated_bytes, bytes - before, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&range->live_bytes, bytes - before, memory_order_relaxed);
    atomic_store_explicit(&slot->requested, (uint32_t)bytes, memory_order_relaxed);
    guard_slack(range, block, bytes);
}

static bool resize(void *state, void *block, size_t bytes)
{
    struct cal__pool_range *range = state;
    struct cal__slot *slot = slot_at(range, block);
    if (slot == NULL || !is_live(state_of(slot)) || block_of(range, slot) != block ||
        !stays(range, slot, block, bytes) || !hold(slot))
        return false;
    bool done = block_of(range, slot) == block && stays(range, slot, block, bytes);
    if (done)
        resize_held(range, slot, block, bytes);
    let_go(slot);
    return done;
}

static void count(void *state, struct cal_range_counts *counts)
{
    const struct cal__pool_range *range = state;
    counts->live = atomic_load_explicit(&range->live, memory_order_relaxed);
    counts->live_bytes = atomic_load_explicit(&range->live_bytes, memory_order_relaxed);
    counts->allocations = atomic_load_explicit(&range->allocations, memory_order_relaxed);
    counts->allocated_bytes = atomic_load_explicit(&range->allocated_bytes, memory_order_relaxed);
}

static bool walk(void *state, bool (*visit)(void *block, size_t usable, void *argument),
                 void *argument)
{
    const struct cal__pool_range *range = state;
    uint32_t slots = atomic_load_explicit(&range->used, memory_order_acquire);
    for (uint32_t i = 0; i < slots; i++) {
        const struct cal__slot *slot = &range->records[i];
        if (is_live(state_of(slot)) &&
            !visit(block_of(range, slot), load(&slot->requested), argument))
            return false;
    }
    return true;
}

static const struct cal_owner functions = {
    .size = sizeof functions,
    .claim = claim,
    .deallocate = deallocate,
    .usable = usable,
    .resize = resize,
    .count = count,
    .walk = walk,
};

enum cal__pages_place cal__pages_find(const void *address, struct cal__pages_block *found)
{
    const struct cal__pool_range *range = cal__pool_find(address);
    if (range == NULL)
        return CAL_PAGES_FOREIGN;
    const struct cal__slot *slot = slot_at(range, address);
    if (slot == NULL || !is_live(state_of(slot)))
        return CAL_PAGES_NO_BLOCK;
    const char *block = block_of(range, slot);
    size_t requested = load(&slot->requested);
    if (address != block && (uintptr_t)address - (uintptr_t)block >= requested)
        return CAL_PAGES_NO_BLOCK;
    if (found != NULL)
        *found = (struct cal__pages_block){.block = block, .requested = requested};
    return CAL_PAGES_LIVE;
}

static size_t validate(const struct cal__pool_range *range)
{
    size_t damaged = 0;
    uint32_t slots = atomic_load_explicit(&range->used, memory_order_acquire);
    for (uint32_t i = 0; i < slots; i++) {
        struct cal__slot *slot = &range->records[i];
        if (!hold(slot))
            continue;
        damaged += !is_intact(range, slot);
        let_go(slot);
    }
    return damaged;
}

size_t cal__pages_validate(void)
{
    size_t damaged = 0;
    const struct cal__pool_range *range;
    for (uint32_t i = 0; (range = cal__pool_number(i)) != NULL; i++)
        damaged += is_empty(range) ? 0 : validate(range);
    return damaged;
}

#define ADD(part, range)                                          \
    do {                                                          \
        struct cal_range_counts counts = {.size = sizeof counts}; \
        count((range), &counts);                                  \
        (part).live += counts.live;                               \
        (part).live_bytes += counts.live_bytes;                   \
        (part).allocations += counts.allocations;                 \
        (part).ranges++;                                          \
        (part).reserved += (range)->length;                       \
    } while (0)

void cal__pages_totals(struct cal__pages_totals *totals)
{
    struct cal__pool_range *range;
    memset(totals, 0, sizeof *totals);
    for (uint32_t i = 0; (range = cal__pool_number(i)) != NULL; i++) {
        if (is_empty(range))
            ADD(totals->empty, range);
        else if (range->traces != NULL)
            ADD(totals->sampled, range);
        else
            ADD(totals->own, range);
    }
}

/* How far an address is from a block, in either direction. */
static size_t distance(const struct cal__pool_range *range, const struct cal__slot *slot,
                       uintptr_t address)
{
    uintptr_t block = (uintptr_t)block_of(range, slot);
    size_t requested = load(&slot->requested);
    return address < block               ? block - address
           : address < block + requested ? 0
                                         : address - block - requested + 1;
}

/* The nearest block that is or was in one of three slots. */
static const struct cal__slot *nearest(const struct cal__pool_range *range, uintptr_t address)
{
    /* The guard page before slot 0 is the last one of the slot before it. */
    size_t offset = address - (uintptr_t)range->first + cal__pool_page;
    size_t middle =
        is_empty(range) ? (offset - cal__pool_page) / range->stride : offset / range->stride;
    size_t slots = atomic_load_explicit(&range->used, memory_order_acquire);
    const struct cal__slot *best = NULL;
    for (size_t i = middle == 0 ? 0 : middle - 1; i <= middle + 1 && i < slots; i++) {
        const struct cal__slot *slot = &range->records[i];
        if (state_of(slot) == CAL_SLOT_STATE_FRESH)
            continue;
        if (best == NULL || distance(range, slot, address) < distance(range, best, address))
            best = slot;
    }
    return best;
}

bool cal__pages_explain(const void *address, struct cal__report *report)
{
    const struct cal__pool_range *range = cal__pool_find(address);
    const struct cal__slot *slot = range == NULL ? NULL : nearest(range, (uintptr_t)address);
    if (slot == NULL)
        return false;
    const char *block = block_of(range, slot);
    bool before = (uintptr_t)address < (uintptr_t)block;
    *report = (struct cal__report){
        .check = CAL_CHECKS,
        .what = !is_live(state_of(slot)) ? "use after free"
                : before                 ? "underflow"
                                         : "overflow",
        .address = block,
        .requested = load(&slot->requested),
        .requested_known = true,
        .damage =
            before ? (uintptr_t)block - (uintptr_t)address : (uintptr_t)address - (uintptr_t)block,
        .damage_before = before,
        .damage_known = true,
    };
    add_traces(report, range, slot);
    return true;
}

void cal__pages_start(const struct cal__settings *given)
{
    cal__pool_start();
    cal__pages_owner = functions;
    cal__trace_start();
    if (given->sample != 0)
        cal__place_start();
    /* Where only requests for nothing are due, all others are spared the question. */
    if (given->sample == 0 && !given->own_pages)
        cal__pages_owner.claims = 1;
    settings = given;
}

/* A slot that another thread has on its way in the parent stays there in the child. */
void cal__pages_lock(void)
{
    cal__latch_acquire(&holding);
    cal__pool_lock();
}

void cal__pages_unlock(bool in_child)
{
    cal__pool_unlock(in_child);
    if (in_child)
        cal__latch_reset(&holding);
    else
        cal__latch_release(&holding);
}
