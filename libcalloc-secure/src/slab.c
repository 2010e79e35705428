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

/* What a record says; a live one has the kind above and the requested size plus LIVE. What is not above FREE
 * is free. */
enum { NEVER, FREE, BUSY, GUARDED, LIVE };

/* Two bits for the kind, the rest for the size. A slab of more slots than this has small ones. */
enum { WIDE_SLOTS = 64, WIDE_SHIFT = 30, NARROW_SHIFT = 14 };

struct state {
    struct cal__canary_key key;
    uint64_t choices; /* random bits to be used, the lowest first */
    uint32_t left;    /* how many */
    uint32_t word;    /* of free_slots: the one that is chosen from */
    enum cal__guard guard;
    bool fresh; /* the slab was made of memory that nobody had used */
    union {
        _Atomic uint16_t narrow[1];
        _Atomic uint32_t wide[1];
    } records;
};

/* A larger block has pages of its own. */
enum { UNTOUCHED_MIN = 4096 };

static size_t guard_bytes(void)
{
    return CAL_HARDENED_PAGE;
}

CAL_INLINE bool is_wide(const struct cal_slab *slab)
{
    return slab->slots <= WIDE_SLOTS;
}

static size_t state_bytes(uint32_t slots)
{
    if (slots == 1)
        return cal__large_state_bytes();
    return sizeof(struct state) + slots * (slots <= WIDE_SLOTS ? 4 : 2);
}

/* Records. */

/* WIDE is is_wide(), which those who look at it often find out once. */
CAL_INLINE uint32_t record_at(const struct cal_slab *slab, uint32_t slot, bool wide)
{
    const struct state *state = slab->state;
    return wide ? atomic_load_explicit(&state->records.wide[slot], memory_order_acquire)
                : atomic_load_explicit(&state->records.narrow[slot], memory_order_acquire);
}

static uint32_t record_of(const struct cal_slab *slab, uint32_t slot)
{
    return record_at(slab, slot, is_wide(slab));
}

CAL_INLINE void set_record(struct cal_slab *slab, uint32_t slot, uint32_t record, bool wide)
{
    struct state *state = slab->state;
    if (wide)
        atomic_store_explicit(&state->records.wide[slot], record, memory_order_release);
    else
        atomic_store_explicit(&state->records.narrow[slot], (uint16_t)record, memory_order_release);
}

/* From now on others look away. */
CAL_INLINE void set_busy(struct cal_slab *slab, uint32_t slot, bool wide)
{
    set_record(slab, slot, BUSY, wide);
    CAL_FENCE(memory_order_release);
}

CAL_INLINE unsigned shift_of(bool wide)
{
    return wide ? WIDE_SHIFT : NARROW_SHIFT;
}

CAL_INLINE void set_live(struct cal_slab *slab, uint32_t slot, unsigned kind, size_t requested,
                         bool wide)
{
    set_record(slab, slot, kind << shift_of(wide) | (uint32_t)(requested + LIVE), wide);
}

CAL_INLINE size_t requested_in(uint32_t record, bool wide)
{
    return (record & ((UINT32_C(1) << shift_of(wide)) - 1)) - LIVE;
}

static size_t requested_of(const struct cal_slab *slab, uint32_t record)
{
    return requested_in(record, is_wide(slab));
}

CAL_INLINE unsigned recorded_kind(uint32_t record, bool wide)
{
    return record >> shift_of(wide);
}

size_t cal__slab_requested(const struct cal_slab *slab, uint32_t slot)
{
    if (slab->slots == 1)
        return cal__large_requested(slab);
    uint32_t record = record_of(slab, slot);
    return record < LIVE ? SIZE_MAX : requested_of(slab, record);
}

CAL_INLINE unsigned char *block_of(const struct cal_slab *slab, uint32_t slot)
{
    return (unsigned char *)slab->first + slot * slab->block_size;
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

static struct cal__report overflow_of(const struct cal_slab *slab, const void *block,
                                      size_t requested)
{
    const struct state *state = slab->state;
    size_t damage = cal__canary_damage(&state->key, block, requested, slab->room,
                                       cal__hardened.settings.canary_bytes);
    return report_of(CAL_CHECK_overflow, slab, block, requested, damage);
}

static struct cal__report writing_of(const struct cal_slab *slab, const void *block)
{
    return report_of(CAL_CHECK_write_after_free, slab, block, SIZE_MAX,
                     cal__zeros_length(block, slab->room));
}

static CAL_COLD void report_overflow(const struct cal_slab *slab, const void *block,
                                     size_t requested)
{
    say(overflow_of(slab, block, requested));
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
    for (uint32_t slot = usable; slot < slab->slots; slot++) {
        slab->free_slots[slot / 64] &= ~((uint64_t)1 << slot % 64);
        set_record(slab, slot, GUARDED, is_wide(slab));
    }
}

/* The first slot stays free, so that there is a neighbour below each block, where that costs little. */
enum { NEIGHBOURS_MIN = 12 };

static void keep_first(struct cal_slab *slab)
{
    if (!cal__hardened.settings.neighbours || slab->slots < NEIGHBOURS_MIN)
        return;
    slab->free_slots[0] &= ~(uint64_t)1;
}

static bool open_slab(struct cal_slab *slab)
{
    if (slab->slots == 1)
        return cal__large_open(slab);
    struct state *state = slab->state;
    state->fresh = slab->fresh;
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
            if (record_of(slab, slot) == FREE &&
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

CAL_INLINE void write_canary(struct cal_slab *slab, void *block, size_t requested)
{
    const struct state *state = slab->state;
    if (cal__hardened.settings.canary)
        cal__canary_write(&state->key, block, requested, slab->room,
                          cal__hardened.settings.canary_bytes);
}

CAL_INLINE bool canary_is_whole(const struct cal_slab *slab, const void *block, size_t requested)
{
    const struct state *state = slab->state;
    return !cal__hardened.settings.canary ||
           cal__canary_verify(&state->key, block, requested, slab->room,
                              cal__hardened.settings.canary_bytes);
}

/* Bytes at the start of a free block of ROOM bytes that are looked at when it is used again. */
CAL_INLINE size_t looked_at_of(size_t room)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    size_t bytes = settings->zero_on_free ? settings->write_after_free : 0;
    return (bytes < room ? bytes : room) & ~(CAL_BLOCK_ALIGNMENT - 1);
}

CAL_INLINE bool allocated_in(struct cal_slab *slab, uint32_t slot, void *block,
                             const struct cal_call *call, bool wide)
{
    const struct state *state = slab->state;
    size_t room = slab->room;
    size_t looked_at = looked_at_of(room);
    /* Pages that nobody has touched are left alone: reading them would cost a fault, for nothing. */
    bool untouched =
        wide && state->fresh && room > UNTOUCHED_MIN && record_at(slab, slot, wide) == NEVER;
    set_busy(slab, slot, wide);
    if (!untouched && CAL_UNLIKELY(!cal__zeros_all(block, looked_at)))
        report_written(slab, block);
    write_canary(slab, block, call->bytes);
    set_live(slab, slot, cal__kind_of(call), call->bytes, wide);
    /* Without a look at them nobody knows that zeros are still there. */
    return untouched || looked_at >= call->bytes;
}

static bool allocated(struct cal_slab *slab, uint32_t slot, void *block,
                      const struct cal_call *call)
{
    if (CAL_LIKELY(!is_wide(slab)))
        return allocated_in(slab, slot, block, call, false);
    if (slab->slots != 1)
        return allocated_in(slab, slot, block, call, true);
    return cal__large_allocated(slab, block, call);
}

/* The neighbour below: whoever wrote before the start of a block wrote there. */

__attribute__((no_sanitize_thread)) static inline uint64_t last_word(const struct cal_slab *slab,
                                                                     const unsigned char *block)
{
    return *(const volatile uint64_t *)(const void *)(block + slab->room - CAL_CANARY_WORD);
}

CAL_INLINE uint64_t expected_last_word(const struct cal_slab *slab, const void *block,
                                       uint32_t record, bool wide)
{
    const struct state *state = slab->state;
    if (record <= FREE)
        return 0;
    uint64_t word = cal__canary_word(&state->key, block);
    return cal__canary_turn(word, slab->room - requested_in(record, wide));
}

/* False when something is wrong. Others may be about to change the slot: what is seen counts only if the
 * record was the same before and after. */
CAL_INLINE bool last_word_is_right(const struct cal_slab *slab, uint32_t slot, bool wide)
{
    uint32_t record = record_at(slab, slot, wide);
    if (record == BUSY || record == GUARDED)
        return true;
    if (record <= FREE ? !cal__hardened.settings.zero_on_free
                       : !cal__hardened.settings.canary ||
                             slab->room - requested_in(record, wide) < CAL_CANARY_WORD)
        return true;
    const unsigned char *block = block_of(slab, slot);
    if (CAL_LIKELY(last_word(slab, block) == expected_last_word(slab, block, record, wide)))
        return true;
    CAL_FENCE(memory_order_acquire);
    return record_at(slab, slot, wide) != record;
}

/* A block may be freed and handed out with the same size between the two looks at its record, but not
 * so many times in a row. */
enum { LOOKS = 64 };

static CAL_COLD void look_again(const struct cal_slab *slab, uint32_t slot)
{
    for (int look = 0; look < LOOKS; look++)
        if (last_word_is_right(slab, slot, is_wide(slab)))
            return;
    uint32_t record = record_of(slab, slot);
    unsigned char *block = block_of(slab, slot);
    if (record >= LIVE)
        report_overflow(slab, block, requested_of(slab, record));
    else
        say(writing_of(slab, block));
}

CAL_INLINE void check_neighbour(const struct cal_slab *slab, uint32_t slot, bool wide)
{
    if (slot != 0 && CAL_UNLIKELY(!last_word_is_right(slab, slot - 1, wide)))
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
                           const struct cal_call *call, uint32_t record, bool wide)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    if (CAL_UNLIKELY(settings->kinds &&
                     cal__kinds_differ(recorded_kind(record, wide), cal__kind_of(call))))
        report_mismatch(slab, block, requested_in(record, wide), true);
    if (CAL_UNLIKELY(call->bytes != CAL_CALL_UNKNOWN && settings->sizes &&
                     call->bytes != requested_in(record, wide)))
        report_mismatch(slab, block, requested_in(record, wide), false);
}

/* All that may have been written: what was asked for, and the canary. */
CAL_INLINE void make_zero(const struct cal_slab *slab, void *block, size_t requested)
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

CAL_INLINE enum cal_slot_verdict freeing_in(struct cal_slab *slab, uint32_t slot, void *block,
                                            const struct cal_call *call, bool wide)
{
    uint32_t record = record_at(slab, slot, wide);
    size_t requested = requested_in(record, wide);
    check_call(slab, block, call, record, wide);
    if (CAL_UNLIKELY(!canary_is_whole(slab, block, requested))) {
        report_overflow(slab, block, requested);
        /* What goes on wrote anywhere in the slack. */
        requested = slab->room;
    }
    if (cal__hardened.settings.neighbours)
        check_neighbour(slab, slot, wide);
    set_busy(slab, slot, wide);
    if (cal__hardened.settings.zero_on_free)
        make_zero(slab, block, requested);
    set_record(slab, slot, FREE, wide);
    return cal__hold_block(block, slab->block_size) ? CAL_SLOT_KEEP : CAL_SLOT_RELEASE;
}

static enum cal_slot_verdict freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                     const struct cal_call *call)
{
    if (CAL_LIKELY(!is_wide(slab)))
        return freeing_in(slab, slot, block, call, false);
    if (slab->slots != 1)
        return freeing_in(slab, slot, block, call, true);
    return cal__large_freeing(slab, block, call);
}

void cal__slab_leave(void *block)
{
    uint32_t slot;
    struct cal_slab *slab = cal_slot_find(block, &slot);
    if (slab == NULL || block_of(slab, slot) != block)
        return;
    if (CAL_UNLIKELY(!cal__zeros_all(block, looked_at_of(slab->room))))
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
    bool wide = is_wide(slab);
    uint32_t record = record_of(slab, slot);
    size_t requested = requested_of(slab, record);
    check_call(slab, block, &(struct cal_call){.kind = call->kind, .bytes = CAL_CALL_UNKNOWN},
               record, wide);
    if (CAL_UNLIKELY(!canary_is_whole(slab, block, requested)))
        report_overflow(slab, block, requested);
    set_busy(slab, slot, wide);
    /* Neither the canary nor what was given up may be read. */
    char *start = block;
    if (cal__hardened.settings.zero_on_free || cal__hardened.settings.canary) {
        size_t least = call->bytes < requested ? call->bytes : requested;
        memset(start + least, 0, slab->room - least);
    }
    write_canary(slab, block, call->bytes);
    set_live(slab, slot, recorded_kind(record, wide), call->bytes, wide);
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
    uint32_t record = slab->slots == 1 ? LIVE : record_of(slab, slot);
    return record != NEVER && record != GUARDED;
}

static bool is_right(const struct cal_slab *slab, uint32_t slot)
{
    uint32_t record = record_of(slab, slot);
    const unsigned char *block = block_of(slab, slot);
    bool right = record == FREE
                     ? !cal__hardened.settings.zero_on_free || cal__zeros_all(block, slab->room)
                 : record < LIVE ? true
                                 : canary_is_whole(slab, block, requested_of(slab, record));
    CAL_FENCE(memory_order_acquire);
    return right || record_of(slab, slot) != record;
}

bool cal__slab_check(const struct cal_slab *slab, uint32_t slot, struct cal__report *found)
{
    if (slab->slots == 1)
        return cal__large_check(slab, found);
    for (int look = 0; look < LOOKS; look++)
        if (is_right(slab, slot))
            return true;
    uint32_t record = record_of(slab, slot);
    const unsigned char *block = block_of(slab, slot);
    *found = record >= LIVE ? overflow_of(slab, block, requested_of(slab, record))
                            : writing_of(slab, block);
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
}
