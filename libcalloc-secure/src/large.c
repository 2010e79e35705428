#include "large.h"

#include <calloc/calloc.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "canary.h"
#include "guard.h"
#include "hardened.h"
#include "kind.h"
#include "latch.h"
#include "record.h"
#include "report.h"
#include "slot.h"
#include "trace.h"

/* A validation looks at blocks that other threads hold. It may only do so from LIVE to LOOKED and back: before,
 * there is no canary yet, and who frees or resizes a block waits until nobody looks. */
enum stage { EMPTY, LIVE, LOOKED };

/* A guard page beside a block, and where it is. */
struct fence {
    enum cal__guard guard;
    char *address;
};

struct state {
    struct cal__quick_limits quick; /* both 0 */
    _Atomic unsigned stage;
    size_t requested;
    uint64_t word; /* the canary's, its own */
    enum cal__kind kind;
    struct fence before, after;
    enum cal__guard whole; /* while it waits */
    bool fresh;
};

/* Freed blocks in the order of their time, and how much address space they take. */
enum { PLACES = 4096 };
static struct cal__latch latch;
static struct {
    uint64_t block; /* encoded */
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

static size_t page_bytes(void)
{
    return cal__hardened.page;
}

void cal__large_guard(const struct cal_call *call, struct cal_guard *guard)
{
    (void)call;
    uint64_t guards = cal__hardened.settings.guard_large;
    guard->before = guards == 2 ? page_bytes() : 0;
    guard->after = guards != 0 ? page_bytes() : 0;
    guard->at_end = cal__hardened.settings.large_at_end != 0;
}

static char *page_down(const void *address)
{
    return (char *)((uintptr_t)address & ~(uintptr_t)(page_bytes() - 1));
}

/* The pages beside those that the block is in. What more the granules of its range leave over keeps its memory:
 * to give it back would cost a fault for each page when it is used again. */
static char *before_start(const struct cal_slab *slab)
{
    return page_down(slab->first) - page_bytes();
}

static char *after_start(const struct cal_slab *slab)
{
    return page_down((char *)slab->first + slab->block_size + page_bytes() - 1);
}

static bool starts_with_page(const struct cal_slab *slab)
{
    return page_down(slab->first) == slab->first;
}

/* A guard page before the start of a block is where its size wants it, so it is moved for nearly each one; a block that
 * does not start with a page has bytes of nobody's before it, which serve as well, but later. */
static bool fits_before(const struct cal_slab *slab)
{
    uint64_t guards = cal__hardened.settings.guard_large;
    return (guards == 2 || (guards == 1 && starts_with_page(slab))) &&
           before_start(slab) >= (char *)slab->address;
}

static bool fits_after(const struct cal_slab *slab)
{
    return cal__hardened.settings.guard_large != 0 &&
           after_start(slab) < (char *)slab->address + slab->length;
}

/* What is taken away is NONE, so that the next attempt goes on from there. */
static bool take_away(enum cal__guard *guard, void *address, size_t length)
{
    bool done = cal__guard_remove(address, length, *guard);
    if (done)
        *guard = CAL_GUARD_NONE;
    return done;
}

/* What stands where it has to stays. False: it stands where a block is to be. */
static bool put_fence(struct fence *fence, bool fits, char *address)
{
    if ((!fits || fence->address != address) &&
        !take_away(&fence->guard, fence->address, page_bytes()))
        return false;
    if (fence->guard == CAL_GUARD_NONE && fits) {
        fence->guard = cal__guard_install(address, page_bytes());
        fence->address = address;
    }
    return true;
}

static bool put_fences(const struct cal_slab *slab)
{
    struct state *state = slab->state;
    return put_fence(&state->before, fits_before(slab), before_start(slab)) &&
           put_fence(&state->after, fits_after(slab), after_start(slab));
}

bool cal__large_open(struct cal_slab *slab)
{
    struct state *state = slab->state;
    state->quick = (struct cal__quick_limits){0, 0};
    state->fresh = slab->fresh;
    return put_fences(slab);
}

bool cal__large_reopen(struct cal_slab *slab)
{
    struct state *state = slab->state;
    state->fresh = false;
    return put_fences(slab);
}

/* ALL: one call has taken the marks of all of them away. */
static bool remove_fence(struct fence *fence, bool all)
{
    if (!all || fence->guard != CAL_GUARD_MARKED)
        return take_away(&fence->guard, fence->address, page_bytes());
    cal__guard_forget(fence->guard);
    fence->guard = CAL_GUARD_NONE;
    return true;
}

void cal__large_close(struct cal_slab *slab)
{
    struct state *state = slab->state;
    bool marked = state->whole == CAL_GUARD_MARKED;
    bool done = take_away(&state->whole, slab->address, slab->length);
    bool all = done && marked;
    done &= remove_fence(&state->before, all);
    done &= remove_fence(&state->after, all);
    slab->faulting = !done;
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

/* In the page that the block starts in. */
static bool has_canary_before(const struct cal_slab *slab)
{
    return cal__hardened.settings.canary && cal__hardened.settings.guard_large == 1 &&
           !starts_with_page(slab);
}

/* How far before the block the first byte is that is not what it should be, 0: none. */
static size_t damage_before(const struct cal_slab *slab)
{
    if (!has_canary_before(slab))
        return 0;
    const unsigned char *start = slab->first;
    for (size_t i = 1; i <= CAL_CANARY_WORD; i++)
        if (*(start - i) != (unsigned char)(state_of(slab)->word >> 8 * (CAL_CANARY_WORD - i)))
            return i;
    return 0;
}

static void write_canary(const struct cal_slab *slab, void *block, size_t requested)
{
    if (has_canary(slab, requested))
        cal__canary_write(state_of(slab)->word, block, requested, slab->room,
                          cal__hardened.settings.canary_bytes);
    if (has_canary_before(slab))
        cal__canary_store((unsigned char *)block - CAL_CANARY_WORD, state_of(slab)->word);
}

static bool canary_is_whole(const struct cal_slab *slab, const void *block, size_t requested)
{
    return damage_before(slab) == 0 &&
           (!has_canary(slab, requested) ||
            cal__canary_verify(state_of(slab)->word, block, requested, slab->room,
                               cal__hardened.settings.canary_bytes));
}

static struct cal__report report_of(enum cal__check check, const struct cal_slab *slab)
{
    const struct state *state = slab->state;
    return (struct cal__report){.check = check,
                                .address = slab->first,
                                .block_size = slab->block_size,
                                .requested = state->requested,
                                .requested_known = true};
}

/* Byte by byte: whole words would begin with bytes that the program may be writing. The room where there is none. */
static size_t damage_behind(const struct cal_slab *slab)
{
    const struct state *state = slab->state;
    if (!has_canary(slab, state->requested))
        return slab->room;
    return cal__canary_damage(state->word, slab->first, state->requested, slab->room,
                              cal__hardened.settings.canary_bytes);
}

static struct cal__report overflow_of(const struct cal_slab *slab)
{
    struct cal__report report = report_of(CAL_CHECK_overflow, slab);
    size_t before = damage_before(slab);
    report.damage_known = true;
    report.damage_before = before != 0;
    report.damage = before != 0 ? before : damage_behind(slab);
    return report;
}

static CAL_COLD void say(struct cal__report report)
{
    cal__trace_report(&report, cal__settings_consequence(&cal__hardened.settings, report.check));
}

/* The one that has waited longest, if there are too many or they have more than LIMIT bytes together. */
static void *leave(size_t limit)
{
    void *block = NULL;
    cal__latch_acquire(&latch);
    if (bytes > limit || count == PLACES) {
        block = (void *)cal__record_encode(waiting[first].block);
        const struct cal_slab *slab = cal_slot_find(block, NULL);
        if (CAL_UNLIKELY(slab == NULL || slab->first != block ||
                         slab->length != waiting[first].length))
            cal__record_broken(block);
        bytes -= waiting[first].length;
        first = (first + 1) % PLACES;
        count--;
    }
    cal__latch_release(&latch);
    return block;
}

/* True: some left. */
static bool leave_down_to(size_t limit)
{
    bool any = false;
    for (void *block; (block = leave(limit)) != NULL; any = true)
        if (CAL_UNLIKELY(cal_slot_release(block) != 0))
            cal__record_broken(block);
    return any;
}

bool cal__large_drain(void)
{
    return leave_down_to(0);
}

/* A limit of address space that is set while the process runs is not told, and to ask for it is a call that
 * sandboxes kill for. So from time to time as much is mapped as waits, between the two bounds, and unmapped at
 * once. Where there is no room for that, what waits is in the way of the program, which may map memory of its own.
 * For a moment other threads cannot have that room either: so nobody looks where there was a limit at the start,
 * of which what waits has its part. */
enum { LOOK_EVERY = 16, GROWTH = 16 };
#define ROOM_MIN ((size_t)16 << 20)
#define ROOM_MAX ((size_t)256 << 20)

/* Bytes that may wait, as far as that is known; SIZE_MAX: as many as are set. */
static _Atomic size_t allowed = SIZE_MAX;

static size_t most_waiting(void)
{
    size_t set = cal__hardened.settings.address_quarantine;
    size_t now = atomic_load_explicit(&allowed, memory_order_relaxed);
    return now < set ? now : set;
}

static bool has_room(size_t length)
{
    int saved = errno;
    void *room = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has = room != MAP_FAILED || errno != ENOMEM;
    if (room != MAP_FAILED)
        munmap(room, length);
    errno = saved;
    return has;
}

static CAL_NOINLINE void look_for_room(void)
{
    size_t now = cal__large_waiting(), most = most_waiting();
    if (has_room(now < ROOM_MIN ? ROOM_MIN : now < ROOM_MAX ? now : ROOM_MAX)) {
        if (most < cal__hardened.settings.address_quarantine)
            atomic_store_explicit(&allowed, most + (most + ROOM_MIN) / GROWTH,
                                  memory_order_relaxed);
    } else if (now != 0) {
        atomic_store_explicit(&allowed, now / 2, memory_order_relaxed);
        cal_trim();
    }
}

static void consider_room(void)
{
    static _Atomic unsigned times;
    if (cal__hardened.settings.address_quarantine != 0 && !cal__hardened.addresses_limited &&
        atomic_fetch_add_explicit(&times, 1, memory_order_relaxed) % LOOK_EVERY == LOOK_EVERY - 1)
        look_for_room();
}

void *cal__large_allocated(struct cal_slab *slab, void *block, size_t size, unsigned how)
{
    struct state *state = slab->state;
    consider_room();
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
        say(report_of(CAL_CHECK_kind_mismatch, slab));
    if (CAL_UNLIKELY(cal__hardened.settings.sizes && call->bytes != CAL_CALL_UNKNOWN &&
                     call->bytes != state->requested))
        say(report_of(CAL_CHECK_size_mismatch, slab));
}

static bool enter(void *block, size_t length)
{
    cal__latch_acquire(&latch);
    bool entered = count < PLACES;
    if (entered) {
        uint32_t place = (first + count++) % PLACES;
        waiting[place].block = cal__record_encode((uintptr_t)block);
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
        say(overflow_of(slab));
    /* The structure is somebody else's once the block may leave. */
    size_t length = slab->length;
    if (length <= settings->address_quarantine) {
        /* Its addresses fault, and its memory goes back too. */
        state->whole = cal__guard_install(slab->address, length);
        if (state->whole != CAL_GUARD_NONE && enter(block, length)) {
            leave_down_to(most_waiting());
            consider_room();
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
        say(overflow_of(slab));
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
    bool whole = damage_before(slab) == 0 && damage_behind(slab) == slab->room;
    if (!whole)
        *found = overflow_of(slab);
    atomic_store_explicit(&state->stage, LIVE, memory_order_release);
    return whole;
}
