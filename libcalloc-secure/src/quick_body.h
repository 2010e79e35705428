/* The two functions of quick.h, for the vectors that the compiler is told it may use: in quick.c for any processor,
 * in quick_avx2.c for some. They call nothing but what does all they would do, so they need not save a register. */
#ifndef CAL_QUICK_BODY_H
#define CAL_QUICK_BODY_H

#include <string.h>

#include "hardened.h"
#include "hold.h"
#include "overlap.h"
#include "quick.h"
#include "slab.h"
#include "slot.h"

/* Whether a slab, and a request for BYTES, are what these functions are for. */
CAL_INLINE bool is_usual(const struct cal_slab *slab, size_t bytes)
{
    const struct cal__slab_state *state = slab->state;
    return slab->room - bytes <= state->quick.allocated && cal__slot_place(slab) == state->place;
}

/* Whether all that the program is to find zero is known to be, where the start of the block was looked at. */
CAL_INLINE bool are_enough(const struct cal__slab_state *state, size_t bytes, unsigned how)
{
    /* One comparison: a choice between sizes is a guess. */
    _Static_assert(CAL_SLOT_ZERO == 1, "its negative is all bits");
    return (bytes & -(size_t)(how & CAL_SLOT_ZERO)) <= state->looked_at;
}

CAL_INLINE void *hand_out(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                          unsigned how)
{
    cal__slot_set_busy(slab, slot);
    cal__overlap_write(cal__slot_canary(slab, slot), block, slab->room, slab->room - bytes);
    cal__slot_set_live(slab, slot, cal__kind_of((enum cal_call_kind)(how >> CAL_SLOT_KIND_SHIFT)),
                       bytes);
    return block;
}

/* A slot that was never used; of memory that was, its zeros are made now. */
static CAL_NOINLINE void *allocated_first(struct cal_slab *slab, uint32_t slot, void *block,
                                          size_t bytes, unsigned how)
{
    const struct cal__slab_state *state = slab->state;
    if (CAL_UNLIKELY(!is_usual(slab, bytes) || cal_slot_mark(slab, slot) != CAL_MARK_NEVER ||
                     slab->room > CAL_QUICK_ZERO))
        return cal__slab_allocated(slab, slot, block, bytes, how);
    if (state->fresh)
        cal__slot_touch(block);
    if (!state->zeros) {
        cal__slot_set_busy(slab, slot);
        cal__overlap_clear(block, slab->room);
    } else if (CAL_UNLIKELY(!cal__overlap_are_zeros(block, state->looked_at) ||
                            !are_enough(state, bytes, how))) {
        return cal__slab_allocated(slab, slot, block, bytes, how);
    }
    return hand_out(slab, slot, block, bytes, how);
}

static void *allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how)
{
    const struct cal__slab_state *state = slab->state;
    if (CAL_UNLIKELY(!is_usual(slab, bytes) || cal_slot_mark(slab, slot) != CAL_MARK_FREED ||
                     !cal__overlap_are_zeros(block, state->looked_at) ||
                     !are_enough(state, bytes, how)))
        return allocated_first(slab, slot, block, bytes, how);
    return hand_out(slab, slot, block, bytes, how);
}

static CAL_NOINLINE enum cal_slot_verdict release_zeroed(void *block, size_t room)
{
    memset(block, 0, room);
    return CAL_SLOT_RELEASE;
}

_Static_assert((int)CAL_SLOT_RELEASE == false && (int)CAL_SLOT_KEEP == true, "what keeps says so");

static CAL_NOINLINE enum cal_slot_verdict hold_zeroed(struct cal_slab *slab, uint32_t slot,
                                                      void *block)
{
    size_t room = slab->room;
    if (CAL_LIKELY(room <= CAL_QUICK_ZERO))
        cal__overlap_clear(block, room);
    else
        memset(block, 0, room);
    cal_slot_set_mark(slab, slot, CAL_MARK_HELD);
    return (enum cal_slot_verdict)cal__hold_block(block, slab->block_size);
}

/* Whether the last word of the slot below is what it should be, whose canary is CANARY; false also where that is
 * not certain. */
CAL_INLINE bool neighbour_is_right(const struct cal_slab *slab, uint32_t slot,
                                   const unsigned char *block, uint64_t canary)
{
    uint32_t mark = cal_slot_mark(slab, slot);
    uint64_t word = cal__canary_turn(canary, slab->room - cal__mark_requested(mark));
    /* No branch, as none of the two is likely. */
    uint64_t expected = word & -(uint64_t)cal__mark_is_live(mark);
    return CAL_LIKELY(cal__slot_last_word(slab, block) == expected);
}

/* Whether nothing is wrong with a block that is freed. */
CAL_INLINE bool is_right(const struct cal_slab *slab, uint32_t slot, void *block, uint32_t bits,
                         const struct cal_call *call)
{
    size_t room = slab->room, requested = cal__mark_requested(bits);
    const struct cal__slab_state *state = slab->state;
    uint64_t sum = cal__canary_sum(&state->key, slot);
    const unsigned char *start = block;
    return room - requested <= state->quick.freeing &&
           (call->bytes == CAL_CALL_UNKNOWN || call->bytes == requested) &&
           cal__overlap_verify(cal__canary_of_sum(sum), block, room, room - requested) &&
           neighbour_is_right(slab, slot - 1, start - slab->block_size,
                              cal__canary_of_sum(sum - state->key.multiplier));
}

static enum cal_slot_verdict freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call)
{
    if (CAL_UNLIKELY(!is_right(slab, slot, block, bits, call)))
        return cal__slab_freeing(slab, slot, block, bits, call);
    size_t room = slab->room;
    if (CAL_UNLIKELY(room > CAL_QUICK_ZERO))
        return release_zeroed(block, room);
    cal__overlap_clear(block, room);
    return CAL_SLOT_RELEASE;
}

static enum cal_slot_verdict holding(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call)
{
    if (CAL_UNLIKELY(cal__kinds_differ(cal__mark_kind(bits), cal__kind_of(call->kind)) ||
                     !is_right(slab, slot, block, bits, call)))
        return cal__slab_freeing(slab, slot, block, bits, call);
    return hold_zeroed(slab, slot, block);
}

#endif
