#include "large.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "canary.h"
#include "guard.h"
#include "hardened.h"
#include "kind.h"
#include "latch.h"
#include "report.h"

/* A validation looks at blocks that other threads hold. It may only do so from LIVE to LOOKED and back: before,
 * there is no canary yet, and who frees or resizes a block waits until nobody looks. */
enum stage { EMPTY, LIVE, LOOKED };

struct state {
    _Atomic unsigned stage;
    size_t requested;
    uint64_t word; /* the canary's, its own */
    enum cal__kind kind;
    enum cal__guard before, after;
    enum cal__guard whole; /* while it waits */
    bool fresh;
};

/* Freed blocks in the order of their time, and how much address space they take. */
enum { PLACES = 4096 };
static struct cal__latch latch;
static struct {
    void *block;
    size_t length;
} waiting[PLACES];
static uint32_t first, count;
static size_t bytes;

size_t cal__large_state_bytes(void)
{
    return sizeof(struct state);
}

size_t cal__large_requested(const struct cal_slab *slab)
{
    struct state *state = slab->state;
    return atomic_load_explicit(&state->stage, memory_order_acquire) == EMPTY ? SIZE_MAX
                                                                              : state->requested;
}

static void begin_life(struct state *state)
{
    atomic_store_explicit(&state->stage, LIVE, memory_order_release);
}

/* A look is short. Nobody may look while a process forks: walks hold locks that fork takes. */
static void end_life(struct state *state)
{
    unsigned expected = LIVE;
    while (!atomic_compare_exchange_weak_explicit(&state->stage, &expected, EMPTY,
                                                  memory_order_acquire, memory_order_relaxed) &&
           expected != EMPTY)
        expected = LIVE;
}

size_t cal__large_waiting(void)
{
    cal__latch_acquire(&latch);
    size_t now = bytes;
    cal__latch_release(&latch);
    return now;
}

void cal__large_lock(void)
{
    cal__latch_acquire(&latch);
}

void cal__large_unlock(bool in_child)
{
    if (in_child)
        cal__latch_reset(&latch);
    else
        cal__latch_release(&latch);
}

/* Guard space. */

void cal__large_guard(const struct cal_call *call, struct cal_guard *guard)
{
    (void)call;
    uint64_t guards = cal__hardened.settings.guard_large;
    guard->before = guards == 2 ? CAL_HARDENED_PAGE : 0;
    guard->after = guards != 0 ? CAL_HARDENED_PAGE : 0;
    guard->at_end = cal__hardened.settings.large_at_end != 0;
}

static char *page_down(const void *address)
{
    return (char *)((uintptr_t)address & ~(uintptr_t)(CAL_HARDENED_PAGE - 1));
}

/* The pages beside those that the block is in. What more the granules of its range leave over keeps its memory:
 * to give it back would cost a fault for each page when it is used again. */
static char *before_start(const struct cal_slab *slab)
{
    return page_down(slab->first) - CAL_HARDENED_PAGE;
}

static char *after_start(const struct cal_slab *slab)
{
    return page_down((char *)slab->first + slab->block_size + CAL_HARDENED_PAGE - 1);
}

static size_t before_bytes(const struct cal_slab *slab)
{
    return before_start(slab) >= (char *)slab->address ? CAL_HARDENED_PAGE : 0;
}

static size_t after_bytes(const struct cal_slab *slab)
{
    return after_start(slab) < (char *)slab->address + slab->length ? CAL_HARDENED_PAGE : 0;
}

static enum cal__guard protect(void *address, size_t length)
{
    return length == 0 ? CAL_GUARD_NONE : cal__guard_install(address, length);
}

bool cal__large_open(struct cal_slab *slab)
{
    struct state *state = slab->state;
    state->fresh = slab->fresh;
    if (cal__hardened.settings.guard_large == 0)
        return true;
    if (cal__hardened.settings.guard_large == 2)
        state->before = protect(before_start(slab), before_bytes(slab));
    state->after = protect(after_start(slab), after_bytes(slab));
    return true;
}

void cal__large_close(struct cal_slab *slab)
{
    struct state *state = slab->state;
    cal__guard_remove(slab->address, slab->length, state->whole);
    /* One call has taken the marks of all of them away. */
    bool all = state->whole == CAL_GUARD_MARKED;
    if (all && state->before == CAL_GUARD_MARKED)
        cal__guard_forget(state->before);
    else
        cal__guard_remove(before_start(slab), before_bytes(slab), state->before);
    if (all && state->after == CAL_GUARD_MARKED)
        cal__guard_forget(state->after);
    else
        cal__guard_remove(after_start(slab), after_bytes(slab), state->after);
}

/* Blocks. The slack of those at the end of their pages is less than their alignment. */

static const struct state *state_of(const struct cal_slab *slab)
{
    return slab->state;
}

static bool has_canary(const struct cal_slab *slab, size_t requested)
{
    return cal__hardened.settings.canary && slab->room > requested;
}

static void write_canary(const struct cal_slab *slab, void *block, size_t requested)
{
    if (has_canary(slab, requested))
        cal__canary_write(state_of(slab)->word, block, requested, slab->room,
                          cal__hardened.settings.canary_bytes);
}

static bool canary_is_whole(const struct cal_slab *slab, const void *block, size_t requested)
{
    return !has_canary(slab, requested) ||
           cal__canary_verify(state_of(slab)->word, block, requested, slab->room,
                              cal__hardened.settings.canary_bytes);
}

static struct cal__report report_of(enum cal__check check, const struct cal_slab *slab,
                                    size_t damage)
{
    const struct state *state = slab->state;
    return (struct cal__report){.check = check,
                                .address = slab->first,
                                .block_size = slab->block_size,
                                .requested = state->requested,
                                .requested_known = true,
                                .damage = damage,
                                .damage_known = damage != SIZE_MAX};
}

static CAL_COLD void report(enum cal__check check, const struct cal_slab *slab, size_t damage)
{
    struct cal__report what = report_of(check, slab, damage);
    cal__report(&what, cal__settings_consequence(&cal__hardened.settings, check));
}

static size_t damage_of(const struct cal_slab *slab)
{
    const struct state *state = slab->state;
    return cal__canary_damage(state->word, slab->first, state->requested, slab->room,
                              cal__hardened.settings.canary_bytes);
}

void *cal__large_allocated(struct cal_slab *slab, void *block, size_t size, unsigned how)
{
    struct state *state = slab->state;
    state->requested = size;
    state->kind = cal__kind_of((enum cal_call_kind)(how >> CAL_SLOT_KIND_SHIFT));
    state->word = cal__canary_of_sum(cal__random_64(cal__hardened_random()));
    write_canary(slab, block, size);
    cal_slot_set_mark(slab, 0, CAL_MARK_LIVE);
    begin_life(state);
    if ((how & (CAL_SLOT_ZERO | CAL_SLOT_ZEROED)) == CAL_SLOT_ZERO && !state->fresh)
        memset(block, 0, size);
    return block;
}

static void check_call(const struct cal_slab *slab, const struct cal_call *call)
{
    const struct state *state = slab->state;
    if (CAL_UNLIKELY(cal__hardened.settings.kinds &&
                     cal__kinds_differ(state->kind, cal__kind_of(call->kind))))
        report(CAL_CHECK_kind_mismatch, slab, SIZE_MAX);
    if (CAL_UNLIKELY(cal__hardened.settings.sizes && call->bytes != CAL_CALL_UNKNOWN &&
                     call->bytes != state->requested))
        report(CAL_CHECK_size_mismatch, slab, SIZE_MAX);
}

/* One that leaves, if there are too many or they are too large together. */
static void *leave(void)
{
    size_t limit = cal__hardened.settings.address_quarantine;
    void *block = NULL;
    cal__latch_acquire(&latch);
    if (bytes > limit || count == PLACES) {
        block = waiting[first].block;
        bytes -= waiting[first].length;
        first = (first + 1) % PLACES;
        count--;
    }
    cal__latch_release(&latch);
    return block;
}

static bool enter(void *block, size_t length)
{
    cal__latch_acquire(&latch);
    bool entered = count < PLACES;
    if (entered) {
        uint32_t place = (first + count++) % PLACES;
        waiting[place].block = block;
        waiting[place].length = length;
        bytes += length;
    }
    cal__latch_release(&latch);
    return entered;
}

/* Its memory goes back to the kernel; where that is refused it is overwritten. */
static void give_up(struct cal_slab *slab)
{
    int saved = errno;
    char *start = page_down(slab->first);
    if (madvise(start, (size_t)(after_start(slab) - start), MADV_DONTNEED) != 0)
        memset(slab->first, 0, slab->room);
    errno = saved;
}

enum cal_slot_verdict cal__large_freeing(struct cal_slab *slab, void *block,
                                         const struct cal_call *call)
{
    struct state *state = slab->state;
    const struct cal__settings *settings = &cal__hardened.settings;
    end_life(state);
    check_call(slab, call);
    if (CAL_UNLIKELY(!canary_is_whole(slab, block, state->requested)))
        report(CAL_CHECK_overflow, slab, damage_of(slab));
    /* The structure is somebody else's once the block may leave. */
    size_t length = slab->length;
    if (length <= settings->address_quarantine) {
        /* Its addresses fault, and its memory goes back too. */
        state->whole = protect(slab->address, length);
        if (state->whole != CAL_GUARD_NONE && enter(block, length)) {
            for (void *old; (old = leave()) != NULL;)
                cal_slot_release(old);
            return CAL_SLOT_KEEP;
        }
    }
    if (settings->zero_large && state->whole == CAL_GUARD_NONE)
        give_up(slab);
    return CAL_SLOT_RELEASE;
}

bool cal__large_fit(struct cal_slab *slab, void *block, const struct cal_call *call)
{
    struct state *state = slab->state;
    check_call(slab, &(struct cal_call){.kind = call->kind, .bytes = CAL_CALL_UNKNOWN});
    if (CAL_UNLIKELY(!canary_is_whole(slab, block, state->requested)))
        report(CAL_CHECK_overflow, slab, damage_of(slab));
    /* A block at the end of its pages would have its end somewhere else. */
    if (cal__hardened.settings.large_at_end && call->bytes + CAL_BLOCK_ALIGNMENT <= slab->room)
        return false;
    end_life(state);
    size_t least = call->bytes < state->requested ? call->bytes : state->requested;
    memset((char *)block + least, 0, slab->room - least);
    state->requested = call->bytes;
    write_canary(slab, block, call->bytes);
    begin_life(state);
    return true;
}

bool cal__large_check(const struct cal_slab *slab, struct cal__report *found)
{
    struct state *state = slab->state;
    unsigned expected = LIVE;
    if (!atomic_compare_exchange_strong_explicit(&state->stage, &expected, LOOKED,
                                                 memory_order_acquire, memory_order_relaxed))
        return true;
    /* Byte by byte: whole words would begin with bytes that the program may be writing. */
    size_t damage = has_canary(slab, state->requested) ? damage_of(slab) : slab->room;
    bool whole = damage == slab->room;
    if (!whole)
        *found = report_of(CAL_CHECK_overflow, slab, damage);
    atomic_store_explicit(&state->stage, LIVE, memory_order_release);
    return whole;
}
