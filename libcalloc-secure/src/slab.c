#include "slab.h"

#include <stdatomic.h>
#include <string.h>

#include "canary.h"
#include "guard.h"
#include "hardened.h"
#include "hold.h"
#include "kind.h"
#include "large.h"
#include "report.h"
#include "zeros.h"

/* The bits of a live slot's mark: the size that was asked for, below two for the kind. */
enum { KIND_SHIFT = 28 };
#define REQUESTED ((UINT32_C(1) << KIND_SHIFT) - 1)

/* The mark of a slot that is kept and zeros. One that is kept without this bit is busy: others look away. */
#define HELD (CAL_MARK_KEPT | 1)

struct state {
    struct cal__canary_key key;
    uint32_t looked_at; /* bytes at the start of a slot that are looked at when it is used again */
    enum cal__guard guard;
    bool fresh; /* the slab was made of memory that nobody had used */
};

/* A larger block has pages of its own. */
enum { UNTOUCHED_MIN = 4096 };

/* Slots of up to so many bytes have a way of their own. */
enum { QUICK_MAX = 256 };

static size_t guard_bytes(void)
{
    return CAL_HARDENED_PAGE;
}

static size_t state_bytes(uint32_t slots)
{
    return slots == 1 ? cal__large_state_bytes() : sizeof(struct state);
}

/* Marks. */

CAL_INLINE bool is_live(uint32_t mark)
{
    return (mark & CAL_MARK_LIVE) != 0;
}

/* Its bytes are zeros, if zero_on_free is on. */
CAL_INLINE bool is_free(uint32_t mark)
{
    return mark == HELD || (mark < CAL_MARK_KEPT && mark != CAL_MARK_WITHHELD);
}

/* The first slot, if it is there to be a neighbour only, is as good as free; other withheld ones reach into a guard. */
CAL_INLINE bool is_free_neighbour(uint32_t slot, uint32_t mark)
{
    return is_free(mark) || (mark == CAL_MARK_WITHHELD && slot == 0);
}

/* From now on others look away. */
CAL_INLINE void set_busy(struct cal_slab *slab, uint32_t slot)
{
    __atomic_store_n(&slab->marks[slot], CAL_MARK_KEPT, __ATOMIC_RELAXED);
    CAL_FENCE(memory_order_release);
}

CAL_INLINE void set_live(struct cal_slab *slab, uint32_t slot, uint32_t kind, size_t requested)
{
    cal_slot_set_mark(slab, slot, CAL_MARK_LIVE | kind << KIND_SHIFT | (uint32_t)requested);
}

CAL_INLINE size_t requested_in(uint32_t mark)
{
    return mark & REQUESTED;
}

CAL_INLINE unsigned recorded_kind(uint32_t mark)
{
    return (mark & CAL_MARK_ROLE) >> KIND_SHIFT;
}

size_t cal__slab_requested(const struct cal_slab *slab, uint32_t slot)
{
    if (slab->slots == 1)
        return cal__large_requested(slab);
    uint32_t mark = cal_slot_mark(slab, slot);
    return is_live(mark) ? requested_in(mark) : SIZE_MAX;
}

CAL_INLINE unsigned char *block_of(const struct cal_slab *slab, uint32_t slot)
{
    return (unsigned char *)slab->first + slot * slab->block_size;
}

CAL_INLINE uint64_t canary_of(const struct cal_slab *slab, uint32_t slot)
{
    const struct state *state = slab->state;
    return cal__canary_word(&state->key, slot);
}

/* Reports. */

static struct cal__report report_of(enum cal__check check, const struct cal_slab *slab,
                                    const void *block, size_t requested, size_t damage)
{
    return (struct cal__report){.check = check,
                                .address = block,
                                .block_size = slab->block_size,
                                .requested = requested,
                                .requested_known = requested != SIZE_MAX,
                                .damage = damage,
                                .damage_known = damage != SIZE_MAX};
}

static CAL_COLD void say(struct cal__report report)
{
    cal__report(&report, cal__settings_consequence(&cal__hardened.settings, report.check));
}

static struct cal__report overflow_of(const struct cal_slab *slab, uint32_t slot, size_t requested)
{
    const void *block = block_of(slab, slot);
    size_t damage = cal__canary_damage(canary_of(slab, slot), block, requested, slab->room,
                                       cal__hardened.settings.canary_bytes);
    return report_of(CAL_CHECK_overflow, slab, block, requested, damage);
}

static struct cal__report writing_of(const struct cal_slab *slab, const void *block)
{
    return report_of(CAL_CHECK_write_after_free, slab, block, SIZE_MAX,
                     cal__zeros_length(block, slab->room));
}

static CAL_COLD void report_overflow(const struct cal_slab *slab, uint32_t slot, size_t requested)
{
    say(overflow_of(slab, slot, requested));
}

static CAL_COLD void report_written(const struct cal_slab *slab, void *block)
{
    say(writing_of(slab, block));
    /* What goes on goes on as it was to be. */
    memset(block, 0, slab->room);
}

/* Slabs. */

/* Every so many slabs the last page is a guard, and the slots that reach into it are not used. */
static void install_guard(struct cal_slab *slab, struct state *state)
{
    static _Atomic uint32_t opened;
    uint64_t interval = cal__hardened.settings.guard_interval;
    if (interval == 0 || (char *)slab->first != (char *)slab->address ||
        atomic_fetch_add_explicit(&opened, 1, memory_order_relaxed) % interval != 0)
        return;
    size_t end = slab->length - guard_bytes();
    uint32_t usable = (uint32_t)(end / slab->block_size);
    if (usable == 0)
        return;
    state->guard = cal__guard_install((char *)slab->address + end, guard_bytes());
    if (state->guard == CAL_GUARD_NONE)
        return;
    for (uint32_t slot = usable; slot < slab->slots; slot++)
        slab->free_slots[slot / 64] &= ~((uint64_t)1 << slot % 64);
}

/* The first slot stays free, so that there is a neighbour below each block, where that costs little. */
enum { NEIGHBOURS_MIN = 12, NEIGHBOURS_LEAST = 8 };

static void keep_first(struct cal_slab *slab)
{
    uint64_t neighbours = cal__hardened.settings.neighbours;
    if (neighbours == 0 || slab->slots < (neighbours == 1 ? NEIGHBOURS_MIN : NEIGHBOURS_LEAST))
        return;
    slab->free_slots[0] &= ~(uint64_t)1;
}

static size_t looked_at_of(size_t room)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    size_t bytes = settings->zero_on_free ? settings->write_after_free : 0;
    return (bytes < room ? bytes : room) & ~(CAL_BLOCK_ALIGNMENT - 1);
}

static bool open_slab(struct cal_slab *slab)
{
    if (slab->slots == 1)
        return cal__large_open(slab);
    struct state *state = slab->state;
    state->fresh = slab->fresh;
    state->looked_at = (uint32_t)looked_at_of(slab->room);
    if (cal__hardened.settings.canary)
        cal__canary_make_key(&state->key, cal__hardened_random());
    /* What is never looked at again need not be zeros. */
    if (!cal__hardened.clean && !slab->fresh && cal__hardened.settings.zero_on_free)
        memset(slab->address, 0, slab->length);
    install_guard(slab, state);
    keep_first(slab);
    return true;
}

static void close_slab(struct cal_slab *slab)
{
    if (slab->slots == 1) {
        cal__large_close(slab);
        return;
    }
    struct state *state = slab->state;
    if (cal__hardened.settings.validate_at_close && cal__hardened.settings.zero_on_free)
        for (uint32_t slot = 0; slot < slab->slots; slot++)
            if (cal_slot_mark(slab, slot) > CAL_MARK_WITHHELD &&
                is_free(cal_slot_mark(slab, slot)) &&
                cal__zeros_length(block_of(slab, slot), slab->room) != slab->room)
                report_written(slab, block_of(slab, slot));
    if (state->guard != CAL_GUARD_NONE)
        cal__guard_remove((char *)slab->address + slab->length - guard_bytes(), guard_bytes(),
                          state->guard);
}

static uint64_t random_bits(void)
{
    return cal__random_64(cal__hardened_random());
}

/* Blocks. */

static void write_canary(struct cal_slab *slab, uint32_t slot, size_t requested)
{
    if (cal__hardened.settings.canary)
        cal__canary_write(canary_of(slab, slot), block_of(slab, slot), requested, slab->room,
                          cal__hardened.settings.canary_bytes);
}

static bool canary_is_whole(const struct cal_slab *slab, uint32_t slot, size_t requested)
{
    return !cal__hardened.settings.canary ||
           cal__canary_verify(canary_of(slab, slot), block_of(slab, slot), requested, slab->room,
                              cal__hardened.settings.canary_bytes);
}

static CAL_NOINLINE void *allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                                    unsigned how)
{
    if (slab->slots == 1)
        return cal__large_allocated(slab, block, bytes, how);
    const struct state *state = slab->state;
    size_t looked_at = state->looked_at;
    /* Pages that nobody has touched are left alone: reading them would cost a fault, for nothing. */
    bool untouched =
        slab->room > UNTOUCHED_MIN && state->fresh && cal_slot_mark(slab, slot) == CAL_MARK_NEVER;
    set_busy(slab, slot);
    if (!untouched && CAL_UNLIKELY(!cal__zeros_all(block, looked_at)))
        report_written(slab, block);
    write_canary(slab, slot, bytes);
    set_live(slab, slot, cal__kind_of((enum cal_call_kind)(how >> CAL_SLOT_KIND_SHIFT)), bytes);
    /* Without a look at them nobody knows that zeros are still there. */
    if ((how & (CAL_SLOT_ZERO | CAL_SLOT_ZEROED)) == CAL_SLOT_ZERO && !untouched &&
        looked_at < bytes)
        memset((char *)block + looked_at, 0, bytes - looked_at);
    return block;
}

/* The same where canaries and zeros are on, for slots of up to a cache line; about 50 instructions. It calls
 * nothing but what does all it would do, so that it need not save a register. */
static void *allocated_usually(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                               unsigned how)
{
    size_t room = slab->room;
    if (CAL_UNLIKELY(room > QUICK_MAX || room - bytes > 3 * CAL_CANARY_WORD ||
                     !cal__zeros_short(block, room)))
        return allocated(slab, slot, block, bytes, how);
    set_busy(slab, slot);
    cal__canary_write_short(canary_of(slab, slot), (char *)block + bytes, room - bytes);
    set_live(slab, slot, cal__kind_of((enum cal_call_kind)(how >> CAL_SLOT_KIND_SHIFT)), bytes);
    return block;
}

/* The neighbour below: whoever wrote before the start of a block wrote there. */

__attribute__((no_sanitize_thread)) static inline uint64_t last_word(const struct cal_slab *slab,
                                                                     const unsigned char *block)
{
    return *(const volatile uint64_t *)(const void *)(block + slab->room - CAL_CANARY_WORD);
}

/* False when something is wrong. Others may be about to change the slot: what is seen counts only if the
 * mark was the same before and after. */
static bool last_word_is_right(const struct cal_slab *slab, uint32_t slot)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    uint32_t mark = cal_slot_mark(slab, slot);
    uint64_t expected = 0;
    if (is_live(mark)) {
        size_t slack = slab->room - requested_in(mark);
        if (!settings->canary || slack < CAL_CANARY_WORD)
            return true;
        expected = cal__canary_turn(canary_of(slab, slot), slack);
    } else if (!is_free_neighbour(slot, mark) || !settings->zero_on_free) {
        return true;
    }
    if (CAL_LIKELY(last_word(slab, block_of(slab, slot)) == expected))
        return true;
    CAL_FENCE(memory_order_acquire);
    return cal_slot_mark(slab, slot) != mark;
}

/* A block may be freed and handed out with the same size between the two looks at its mark, but not
 * so many times in a row. */
enum { LOOKS = 64 };

static CAL_COLD void look_again(const struct cal_slab *slab, uint32_t slot)
{
    for (int look = 0; look < LOOKS; look++)
        if (last_word_is_right(slab, slot))
            return;
    uint32_t mark = cal_slot_mark(slab, slot);
    if (is_live(mark))
        report_overflow(slab, slot, requested_in(mark));
    else
        say(writing_of(slab, block_of(slab, slot)));
}

static void check_neighbour(const struct cal_slab *slab, uint32_t slot)
{
    if (slot != 0 && CAL_UNLIKELY(!last_word_is_right(slab, slot - 1)))
        look_again(slab, slot - 1);
}

/* What the caller says of a block has to be so. */
static CAL_COLD void report_mismatch(const struct cal_slab *slab, const void *block,
                                     size_t requested, bool kind)
{
    say(report_of(kind ? CAL_CHECK_kind_mismatch : CAL_CHECK_size_mismatch, slab, block, requested,
                  SIZE_MAX));
}

CAL_INLINE void check_call(const struct cal_slab *slab, const void *block,
                           const struct cal_call *call, uint32_t bits)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    if (CAL_UNLIKELY(settings->kinds &&
                     cal__kinds_differ(recorded_kind(bits), cal__kind_of(call->kind))))
        report_mismatch(slab, block, requested_in(bits), true);
    if (CAL_UNLIKELY(call->bytes != CAL_CALL_UNKNOWN && settings->sizes &&
                     call->bytes != requested_in(bits)))
        report_mismatch(slab, block, requested_in(bits), false);
}

/* All that may have been written: what was asked for, and the canary. */
static void make_zero(const struct cal_slab *slab, void *block, size_t requested)
{
    size_t bound = cal__hardened.settings.canary_bytes;
    size_t slack = slab->room - requested;
    if (CAL_LIKELY(slack <= bound + CAL_CANARY_END)) {
        memset(block, 0, slab->room);
        return;
    }
    memset(block, 0, requested + bound);
    memset((char *)block + slab->room - CAL_CANARY_END, 0, CAL_CANARY_END);
}

static CAL_NOINLINE enum cal_slot_verdict freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                                  uint32_t bits, const struct cal_call *call)
{
    if (slab->slots == 1)
        return cal__large_freeing(slab, block, call);
    size_t requested = requested_in(bits);
    check_call(slab, block, call, bits);
    if (CAL_UNLIKELY(!canary_is_whole(slab, slot, requested))) {
        report_overflow(slab, slot, requested);
        /* What goes on wrote anywhere in the slack. */
        requested = slab->room;
    }
    if (cal__hardened.settings.neighbours)
        check_neighbour(slab, slot);
    if (cal__hardened.settings.zero_on_free)
        make_zero(slab, block, requested);
    if (CAL_LIKELY(cal__hardened.settings.quarantine == 0))
        return CAL_SLOT_RELEASE;
    cal_slot_set_mark(slab, slot, HELD);
    return cal__hold_block(block, slab->block_size) ? CAL_SLOT_KEEP : CAL_SLOT_RELEASE;
}

/* Whether the last word of the slot below is what it should be, of whose number the canary is CANARY; true also
 * where that is not certain. */
CAL_INLINE bool neighbour_is_right(const struct cal_slab *slab, uint32_t slot,
                                   const unsigned char *block, uint64_t canary)
{
    uint32_t mark = cal_slot_mark(slab, slot);
    uint64_t expected =
        is_live(mark) ? cal__canary_turn(canary, slab->room - requested_in(mark)) : 0;
    return CAL_LIKELY(last_word(slab, block) == expected);
}

/* The same where canaries, neighbours and zeros are on, kinds and quarantine off. As allocated_usually(); about
 * 60 instructions. */
static enum cal_slot_verdict freeing_usually(struct cal_slab *slab, uint32_t slot, void *block,
                                             uint32_t bits, const struct cal_call *call)
{
    size_t room = slab->room, requested = requested_in(bits);
    const struct state *state = slab->state;
    uint64_t sum = cal__canary_sum(&state->key, slot);
    unsigned char *start = block;
    if (CAL_UNLIKELY(room > QUICK_MAX || room - requested > 3 * CAL_CANARY_WORD ||
                     (call->bytes != CAL_CALL_UNKNOWN && call->bytes != requested) || slot == 0 ||
                     !cal__canary_verify_short(cal__canary_of_sum(sum), start + requested,
                                               room - requested) ||
                     !neighbour_is_right(slab, slot - 1, start - slab->block_size,
                                         cal__canary_of_sum(sum - state->key.multiplier))))
        return freeing(slab, slot, block, bits, call);
    cal__zeros_make_short(block, room);
    return CAL_SLOT_RELEASE;
}

void cal__slab_leave(void *block)
{
    uint32_t slot;
    struct cal_slab *slab = cal_slot_find(block, &slot);
    if (slab == NULL || block_of(slab, slot) != block)
        return;
    const struct state *state = slab->state;
    if (CAL_UNLIKELY(!cal__zeros_all(block, state->looked_at)))
        report_written(slab, block);
    cal_slot_release(block);
}

static size_t usable(struct cal_slab *slab, uint32_t slot, const void *block)
{
    (void)block;
    return cal__slab_requested(slab, slot);
}

static bool resize(struct cal_slab *slab, uint32_t slot, void *block, const struct cal_call *call)
{
    if (slab->slots == 1)
        return cal__large_fit(slab, block, call);
    uint32_t mark = cal_slot_mark(slab, slot);
    size_t requested = requested_in(mark);
    check_call(slab, block, &(struct cal_call){.kind = call->kind, .bytes = CAL_CALL_UNKNOWN},
               mark);
    if (CAL_UNLIKELY(!canary_is_whole(slab, slot, requested)))
        report_overflow(slab, slot, requested);
    set_busy(slab, slot);
    /* Neither the canary nor what was given up may be read. */
    char *start = block;
    if (cal__hardened.settings.zero_on_free || cal__hardened.settings.canary) {
        size_t least = call->bytes < requested ? call->bytes : requested;
        memset(start + least, 0, slab->room - least);
    }
    write_canary(slab, slot, call->bytes);
    set_live(slab, slot, recorded_kind(mark), call->bytes);
    return true;
}

static bool error(enum cal_error error, const void *address)
{
    static const enum cal__check checks[] = {[CAL_ERROR_INVALID_FREE] = CAL_CHECK_invalid_free,
                                             [CAL_ERROR_DOUBLE_FREE] = CAL_CHECK_double_free,
                                             [CAL_ERROR_FREE_OF_KEPT] = CAL_CHECK_double_free,
                                             [CAL_ERROR_INVALID_POINTER] = CAL_CHECK_invalid_use};
    bool known = error >= CAL_ERROR_INVALID_FREE && error <= CAL_ERROR_INVALID_POINTER;
    enum cal__check check = known ? checks[error] : CAL_CHECK_invalid_use;
    uint32_t slot;
    struct cal_slab *slab = cal_slot_find(address, &slot);
    say((struct cal__report){
        .check = check, .address = address, .block_size = slab == NULL ? 0 : slab->block_size});
    return true;
}

/* Validation. */

bool cal__slab_is_used(const struct cal_slab *slab, uint32_t slot)
{
    return slab->slots == 1 || cal_slot_mark(slab, slot) > CAL_MARK_WITHHELD;
}

static bool is_right(const struct cal_slab *slab, uint32_t slot)
{
    uint32_t mark = cal_slot_mark(slab, slot);
    const unsigned char *block = block_of(slab, slot);
    bool right = is_live(mark) ? canary_is_whole(slab, slot, requested_in(mark))
                               : !is_free(mark) || !cal__hardened.settings.zero_on_free ||
                                     cal__zeros_all(block, slab->room);
    CAL_FENCE(memory_order_acquire);
    return right || cal_slot_mark(slab, slot) != mark;
}

bool cal__slab_check(const struct cal_slab *slab, uint32_t slot, struct cal__report *found)
{
    if (slab->slots == 1)
        return cal__large_check(slab, found);
    for (int look = 0; look < LOOKS; look++)
        if (is_right(slab, slot))
            return true;
    uint32_t mark = cal_slot_mark(slab, slot);
    const unsigned char *block = block_of(slab, slot);
    *found = is_live(mark) ? overflow_of(slab, slot, requested_in(mark)) : writing_of(slab, block);
    return false;
}

struct cal_slots cal__slab_role = {
    .size = sizeof cal__slab_role,
    .state_bytes = state_bytes,
    .guard = cal__large_guard,
    .open = open_slab,
    .close = close_slab,
    .allocated = allocated,
    .freeing = freeing,
    .usable = usable,
    .resize = resize,
    .error = error,
};

void cal__slab_start(void)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    cal__slab_role.extra = settings->canary ? CAL_CANARY_WORD : 0;
    cal__slab_role.random = settings->random_slots ? random_bits : NULL;
    bool usual = settings->canary && settings->zero_on_free &&
                 settings->write_after_free >= QUICK_MAX &&
                 settings->canary_bytes >= CAL_CANARY_WORD;
    if (usual)
        cal__slab_role.allocated = allocated_usually;
    if (usual && settings->neighbours && !settings->kinds && settings->quarantine == 0)
        cal__slab_role.freeing = freeing_usually;
}
