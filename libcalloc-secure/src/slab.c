#include "slab.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "guard.h"
#include "hardened.h"
#include "hold.h"
#include "large.h"
#include "overlap.h"
#include "quick.h"
#include "record.h"
#include "report.h"
#include "slot.h"
#include "trace.h"
#include "zeros.h"

/* None where a page is as long as a slab. */
static size_t guard_bytes(void)
{
    return cal__hardened.page;
}

static size_t state_bytes(uint32_t slots)
{
    return slots == 1 ? cal__large_state_bytes() : sizeof(struct cal__slab_state);
}

size_t cal__slab_requested(const struct cal_slab *slab, uint32_t slot)
{
    if (slab->slots == 1)
        return cal__large_requested(slab);
    uint32_t mark = cal_slot_mark(slab, slot);
    return cal__mark_is_live(mark) ? cal__mark_requested(mark) : SIZE_MAX;
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
    cal__trace_report(&report, cal__settings_consequence(&cal__hardened.settings, report.check));
}

static struct cal__report overflow_of(const struct cal_slab *slab, uint32_t slot, size_t requested)
{
    const void *block = cal__slot_block(slab, slot);
    size_t damage = cal__canary_damage(cal__slot_canary(slab, slot), block, requested, slab->room,
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
static void install_guard(struct cal_slab *slab, struct cal__slab_state *state)
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

static void keep_first(struct cal_slab *slab, const struct cal__slab_state *state)
{
    uint64_t neighbours = cal__hardened.settings.neighbours;
    if (neighbours == 0 || slab->slots < (neighbours == 1 ? NEIGHBOURS_MIN : NEIGHBOURS_LEAST))
        return;
    slab->free_slots[0] &= ~(uint64_t)1;
    /* The word that is looked at. */
    if (!state->zeros)
        memset(cal__slot_block(slab, 0) + slab->room - CAL_CANARY_WORD, 0, CAL_CANARY_WORD);
}

static size_t looked_at_of(size_t room)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    size_t bytes = settings->zero_on_free ? settings->write_after_free : 0;
    return (bytes < room ? bytes : room) & ~(CAL_BLOCK_ALIGNMENT - 1);
}

/* The slack of which the functions of quick.h cover what is to be covered. */
static size_t quick_slack(const struct cal_slab *slab)
{
    bool all = cal__hardened.settings.canary_bytes == CAL_QUICK_BOUND;
    return all ? slab->room : CAL_QUICK_BOUND + CAL_CANARY_END;
}

static bool open_slab(struct cal_slab *slab)
{
    if (slab->slots == 1)
        return cal__large_open(slab);
    struct cal__slab_state *state = slab->state;
    state->fresh = slab->fresh;
    state->looked_at = (uint32_t)looked_at_of(slab->room);
    if (cal__hardened.settings.canary)
        cal__canary_make_key(&state->key, cal__hardened_random());
    state->zeros = slab->fresh || cal__hardened.clean;
    state->place = cal__slot_place(slab);
    size_t slack = quick_slack(slab);
    state->quick.allocated = state->looked_at <= CAL_QUICK_LOOK ? slack : 0;
    /* Of all these the first slot is not used, so that there is one below. */
    bool below = slab->slots >= NEIGHBOURS_MIN && cal__hardened.settings.neighbours;
    state->quick.freeing = slab->room <= CAL_HARDENED_PAGE && below ? slack : 0;
    install_guard(slab, state);
    keep_first(slab, state);
    return true;
}

static void close_slab(struct cal_slab *slab)
{
    if (slab->slots == 1) {
        cal__large_close(slab);
        return;
    }
    struct cal__slab_state *state = slab->state;
    if (cal__hardened.settings.validate_at_close && cal__hardened.settings.zero_on_free)
        for (uint32_t slot = 0; slot < slab->slots; slot++)
            if (cal_slot_mark(slab, slot) > CAL_MARK_WITHHELD &&
                cal__mark_is_free(cal_slot_mark(slab, slot)) &&
                !cal__zeros_all(cal__slot_block(slab, slot), slab->room))
                report_written(slab, cal__slot_block(slab, slot));
    char *end = (char *)slab->address + slab->length;
    slab->faulting = !cal__guard_remove(end - guard_bytes(), guard_bytes(), state->guard);
    if (!slab->faulting)
        state->guard = CAL_GUARD_NONE;
}

static uint64_t random_bits(void)
{
    return cal__random_64(cal__hardened_random());
}

/* The core's own records. */
static bool protect(void *address, size_t length, bool readable)
{
    if (!readable)
        return cal__guard_install(address, length) != CAL_GUARD_NONE;
    int saved = errno;
    bool done = mprotect(address, length, PROT_READ) == 0;
    errno = saved;
    return done;
}

/* Blocks. */

static void write_canary(struct cal_slab *slab, uint32_t slot, size_t requested)
{
    if (cal__hardened.settings.canary)
        cal__canary_write(cal__slot_canary(slab, slot), cal__slot_block(slab, slot), requested,
                          slab->room, cal__hardened.settings.canary_bytes);
}

static bool canary_is_whole(const struct cal_slab *slab, uint32_t slot, size_t requested)
{
    return !cal__hardened.settings.canary ||
           cal__canary_verify(cal__slot_canary(slab, slot), cal__slot_block(slab, slot), requested,
                              slab->room, cal__hardened.settings.canary_bytes);
}

/* Makes LENGTH bytes zeros, and touches no page that is. A program does not use all pages of each large block, and
 * those that it did not are to take no memory afterwards either. */
static void zero_pages(char *start, size_t length)
{
    while (length != 0) {
        size_t part = CAL_HARDENED_PAGE - (uintptr_t)start % CAL_HARDENED_PAGE;
        part = part < length ? part : length;
        if (!cal__zeros_all(start, part))
            memset(start, 0, part);
        start += part;
        length -= part;
    }
}

/* A slot that was never used, for BYTES. True: it is zeros. */
static bool first_use(const struct cal_slab *slab, const struct cal__slab_state *state, char *block,
                      size_t bytes)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    if (!state->zeros) {
        if (!settings->zero_on_free)
            return false;
        if (slab->room <= cal__hardened.page) {
            memset(block, 0, slab->room);
            return true;
        }
        /* What the program has, and the canary behind that. */
        cal__slot_touch(block);
        cal__slot_touch(block + (bytes < slab->room ? bytes : slab->room - 1));
        cal__slot_touch(block + slab->room - 1);
        zero_pages(block, slab->room);
        return true;
    }
    /* Pages that nobody has touched are left alone: reading them would cost a fault, for nothing. */
    if (state->fresh && slab->room > cal__hardened.page)
        return true;
    if (state->fresh)
        cal__slot_touch(block);
    if (CAL_UNLIKELY(!cal__zeros_all(block, state->looked_at)))
        report_written(slab, block);
    return state->looked_at == slab->room;
}

/* One that was. True: the BYTES are zeros; without a look at them nobody knows that they still are. */
static bool used_again(const struct cal_slab *slab, const struct cal__slab_state *state,
                       void *block, size_t bytes)
{
    if (CAL_UNLIKELY(!cal__zeros_all(block, state->looked_at)))
        report_written(slab, block);
    return state->looked_at >= bytes;
}

void *cal__slab_allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                          unsigned how)
{
    if (slab->slots == 1)
        return cal__large_allocated(slab, block, bytes, how);
    const struct cal__slab_state *state = slab->state;
    uint32_t mark = cal_slot_mark(slab, slot);
    if (CAL_UNLIKELY((mark != CAL_MARK_FREED && mark != CAL_MARK_NEVER) ||
                     cal__slot_place(slab) != state->place || bytes > slab->room))
        cal__record_broken(slab);
    cal__slot_set_busy(slab, slot);
    bool zeros = mark == CAL_MARK_NEVER ? first_use(slab, state, block, bytes)
                                        : used_again(slab, state, block, bytes);
    write_canary(slab, slot, bytes);
    cal__slot_set_live(slab, slot, cal__kind_of((enum cal_call_kind)(how >> CAL_SLOT_KIND_SHIFT)),
                       bytes);
    if ((how & (CAL_SLOT_ZERO | CAL_SLOT_ZEROED)) == CAL_SLOT_ZERO && !zeros)
        memset(block, 0, bytes);
    return block;
}

/* False when something is wrong. Others may be about to change the slot: what is seen counts only if the
 * mark was the same before and after. */
static bool last_word_is_right(const struct cal_slab *slab, uint32_t slot)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    const struct cal__slab_state *state = slab->state;
    uint32_t mark = cal_slot_mark(slab, slot);
    uint64_t expected = 0;
    if (cal__mark_is_live(mark)) {
        size_t slack = slab->room - cal__mark_requested(mark);
        if (!settings->canary || slack < CAL_CANARY_WORD)
            return true;
        expected = cal__canary_turn(cal__slot_canary(slab, slot), slack);
    } else if (mark == CAL_MARK_NEVER && !state->zeros) {
        return true;
    } else if (!cal__mark_is_free_neighbour(slot, mark) || !settings->zero_on_free) {
        return true;
    }
    if (CAL_LIKELY(cal__slot_last_word(slab, cal__slot_block(slab, slot)) == expected))
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
    if (cal__mark_is_live(mark))
        report_overflow(slab, slot, cal__mark_requested(mark));
    else
        say(writing_of(slab, cal__slot_block(slab, slot)));
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
                     cal__kinds_differ(cal__mark_kind(bits), cal__kind_of(call->kind))))
        report_mismatch(slab, block, cal__mark_requested(bits), true);
    if (CAL_UNLIKELY(call->bytes != CAL_CALL_UNKNOWN && settings->sizes &&
                     call->bytes != cal__mark_requested(bits)))
        report_mismatch(slab, block, cal__mark_requested(bits), false);
}

/* All that may have been written: what was asked for, and the canary. */
static void make_zero(const struct cal_slab *slab, void *block, size_t requested)
{
    size_t bound = cal__hardened.settings.canary_bytes;
    size_t slack = slab->room - requested;
    char *start = block;
    if (slack > bound + CAL_CANARY_END) {
        memset(start + requested, 0, bound);
        memset(start + slab->room - CAL_CANARY_END, 0, CAL_CANARY_END);
        requested = (requested + CAL_BLOCK_ALIGNMENT - 1) & ~(CAL_BLOCK_ALIGNMENT - 1);
    } else {
        requested = slab->room;
    }
    if (requested > CAL_HARDENED_PAGE)
        zero_pages(start, requested);
    else
        memset(start, 0, requested);
}

enum cal_slot_verdict cal__slab_freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                        uint32_t bits, const struct cal_call *call)
{
    if (slab->slots == 1)
        return cal__large_freeing(slab, block, call);
    size_t requested = cal__mark_requested(bits);
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
    cal_slot_set_mark(slab, slot, CAL_MARK_HELD);
    return cal__hold_block(block, slab->block_size) ? CAL_SLOT_KEEP : CAL_SLOT_RELEASE;
}

/* All of the block that is to be looked at is when it is used again; what is written there until then is written still. */
enum { LEAVING_LOOK = 256 };

void cal__slab_leave(struct cal_slab *slab, uint32_t slot, void *block, size_t size)
{
    if (CAL_UNLIKELY(slab == NULL || slab->block_size != size ||
                     cal__slot_block(slab, slot) != block ||
                     cal_slot_mark(slab, slot) != CAL_MARK_HELD))
        cal__record_broken(block);
    const struct cal__slab_state *state = slab->state;
    size_t bytes = state->looked_at < LEAVING_LOOK ? state->looked_at : LEAVING_LOOK;
    if (CAL_UNLIKELY(bytes != 0 && !cal__overlap_are_zeros(block, bytes)))
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
    size_t requested = cal__mark_requested(mark);
    check_call(slab, block, &(struct cal_call){.kind = call->kind, .bytes = CAL_CALL_UNKNOWN},
               mark);
    if (CAL_UNLIKELY(!canary_is_whole(slab, slot, requested)))
        report_overflow(slab, slot, requested);
    cal__slot_set_busy(slab, slot);
    /* Neither the canary nor what was given up may be read. */
    char *start = block;
    if (cal__hardened.settings.zero_on_free || cal__hardened.settings.canary) {
        size_t least = call->bytes < requested ? call->bytes : requested;
        memset(start + least, 0, slab->room - least);
    }
    write_canary(slab, slot, call->bytes);
    cal__slot_set_live(slab, slot, cal__mark_kind(mark), call->bytes);
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
    const unsigned char *block = cal__slot_block(slab, slot);
    bool right = cal__mark_is_live(mark)
                     ? canary_is_whole(slab, slot, cal__mark_requested(mark))
                     : !cal__mark_is_free(mark) || !cal__hardened.settings.zero_on_free ||
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
    const unsigned char *block = cal__slot_block(slab, slot);
    *found = cal__mark_is_live(mark) ? overflow_of(slab, slot, cal__mark_requested(mark))
                                     : writing_of(slab, block);
    return false;
}

struct cal_slots cal__slab_role = {
    .size = sizeof cal__slab_role,
    .state_bytes = state_bytes,
    .guard = cal__large_guard,
    .open = open_slab,
    .close = close_slab,
    .allocated = cal__slab_allocated,
    .freeing = cal__slab_freeing,
    .usable = usable,
    .resize = resize,
    .error = error,
};

void cal__slab_start(void)
{
    const struct cal__settings *settings = &cal__hardened.settings;
    cal__slab_role.extra = settings->canary ? CAL_CANARY_WORD : 0;
    /* Blocks whose memory goes back to the kernel have no use for it. */
    bool rest = !settings->zero_large && settings->address_quarantine == 0;
    cal__slab_role.reopen = rest ? cal__large_reopen : NULL;
    cal__slab_role.random = settings->random_slots ? random_bits : NULL;
    cal__slab_role.secret = settings->metadata ? random_bits : NULL;
    cal__slab_role.protect = settings->metadata ? protect : NULL;
    cal__slab_role.place = settings->random_places ? random_bits : NULL;
    bool usual = settings->canary && settings->zero_on_free && settings->write_after_free >= 16 &&
                 settings->canary_bytes >= CAL_QUICK_BOUND;
    const struct cal__quick *quick = cal__quick_best();
    cal__hardened.wide_vectors = quick != &cal__quick_any;
    if (usual)
        cal__slab_role.allocated = quick->allocated;
    if (usual && settings->neighbours)
        cal__slab_role.freeing =
            settings->kinds || settings->quarantine != 0 ? quick->holding : quick->freeing;
}
