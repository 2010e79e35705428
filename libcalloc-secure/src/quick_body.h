/* The two functions of quick.h, for the vectors that the compiler is told it may use: in quick.c for any processor,
 * in quick_avx2.c for some. They call nothing but what does all they would do, so they need not save a register. */
#ifndef CAL_QUICK_BODY_H
#define CAL_QUICK_BODY_H

#include <string.h>

#include "hardened.h"
#include "hold.h"
#include "quick.h"
#include "slab.h"
#include "slot.h"
#include "vector.h"

/* Whether the SIZE bytes, a multiple of 16 from 16 on, are zeros. By loads that overlap at the end. */
CAL_INLINE bool are_zeros(const void *memory, size_t size)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias));
    const char *start = memory, *end = start + size;
    if (size <= 32) {
        pair sum = *(const pair *)(const void *)start | *(const pair *)(const void *)(end - 16);
        return (sum[0] | sum[1]) == 0;
    }
    enum { STEP = 2 * sizeof(vector) };
    vector one = *(const vector *)(const void *)start;
    vector other = *(const vector *)(const void *)(end - sizeof(vector));
    if (sizeof(vector) < 32 || size > STEP) {
        one |= *(const vector *)(const void *)(start + sizeof(vector));
        other |= *(const vector *)(const void *)(end - STEP);
        for (const char *next = start + STEP; next < end - STEP; next += STEP) {
            one |= *(const vector *)(const void *)next;
            other |= *(const vector *)(const void *)(next + sizeof(vector));
        }
    }
    return is_zero(one | other);
}

/* Makes them zeros. */
CAL_INLINE void make_zeros(void *memory, size_t size)
{
    char *start = memory, *end = start + size;
    if (size <= 32) {
        memset(start, 0, 16);
        memset(end - 16, 0, 16);
        return;
    }
    enum { STEP = 2 * sizeof(vector) };
    const vector zero = {0};
    *(vector *)(void *)start = zero;
    *(vector *)(void *)(end - sizeof(vector)) = zero;
    if (sizeof(vector) < 32 || size > STEP) {
        *(vector *)(void *)(start + sizeof(vector)) = zero;
        *(vector *)(void *)(end - STEP) = zero;
        for (char *next = start + STEP; next < end - STEP; next += STEP) {
            *(vector *)(void *)next = zero;
            *(vector *)(void *)(next + sizeof(vector)) = zero;
        }
    }
}

/* The canary WORD in a slack of 8 to CAL_QUICK_SLACK bytes, all of it: words of eight bytes or vectors of them, of
 * which the last ends with the slack and overlaps the one before. */
#define SPREAD(type, word) ((type)((type){0} + (word)))

CAL_INLINE void write_canary(uint64_t word, char *slack, size_t length)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias, aligned(1)));
    typedef uint64_t wide __attribute__((vector_size(sizeof(vector)), may_alias, aligned(1)));
    char *end = slack + length;
    uint64_t last = cal__canary_turn(word, length);
    if (CAL_LIKELY(length <= 16)) {
        cal__canary_write_short(word, slack, length);
    } else if (length <= 32) {
        *(pair *)(void *)slack = SPREAD(pair, word);
        *(pair *)(void *)(end - 16) = SPREAD(pair, last);
    } else {
        for (; slack < end - sizeof(wide); slack += sizeof(wide))
            *(wide *)(void *)slack = SPREAD(wide, word);
        *(wide *)(void *)(end - sizeof(wide)) = SPREAD(wide, last);
    }
}

CAL_INLINE bool canary_is_whole(uint64_t word, const char *slack, size_t length)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias, aligned(1)));
    typedef uint64_t wide __attribute__((vector_size(sizeof(vector)), may_alias, aligned(1)));
    const char *end = slack + length;
    uint64_t last = cal__canary_turn(word, length);
    if (CAL_LIKELY(length <= 16))
        return cal__canary_verify_short(word, slack, length);
    if (length <= 32) {
        pair difference = (*(const pair *)(const void *)slack ^ SPREAD(pair, word)) |
                          (*(const pair *)(const void *)(end - 16) ^ SPREAD(pair, last));
        return (difference[0] | difference[1]) == 0;
    }
    wide difference = *(const wide *)(const void *)(end - sizeof(wide)) ^ SPREAD(wide, last);
    for (; slack < end - sizeof(wide); slack += sizeof(wide))
        difference |= *(const wide *)(const void *)slack ^ SPREAD(wide, word);
    return is_zero(difference);
}

static void *allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how)
{
    size_t room = slab->room;
    const struct cal__slab_state *state = slab->state;
    if (CAL_UNLIKELY(
            room - bytes > state->quick_allocated || cal__slot_place(slab) != state->place ||
            cal_slot_mark(slab, slot) != CAL_MARK_FREED || !are_zeros(block, state->looked_at) ||
            ((how & CAL_SLOT_ZERO) != 0 && state->looked_at < bytes)))
        return cal__slab_allocated(slab, slot, block, bytes, how);
    cal__slot_set_busy(slab, slot);
    write_canary(cal__slot_canary(slab, slot), (char *)block + bytes, room - bytes);
    cal__slot_set_live(slab, slot, cal__kind_of((enum cal_call_kind)(how >> CAL_SLOT_KIND_SHIFT)),
                       bytes);
    return block;
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
        make_zeros(block, room);
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
    uint64_t expected = 0;
    if (CAL_LIKELY(cal__mark_is_live(mark)))
        expected = cal__canary_turn(canary, slab->room - cal__mark_requested(mark));
    return CAL_LIKELY(cal__slot_last_word(slab, block) == expected);
}

/* Whether nothing is wrong with a block that is freed. */
CAL_INLINE bool is_right(const struct cal_slab *slab, uint32_t slot, const void *block,
                         uint32_t bits, const struct cal_call *call)
{
    size_t room = slab->room, requested = cal__mark_requested(bits);
    const struct cal__slab_state *state = slab->state;
    uint64_t sum = cal__canary_sum(&state->key, slot);
    const unsigned char *start = block;
    return room - requested <= state->quick_freeing &&
           (call->bytes == CAL_CALL_UNKNOWN || call->bytes == requested) &&
           canary_is_whole(cal__canary_of_sum(sum), (const char *)start + requested,
                           room - requested) &&
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
    make_zeros(block, room);
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
