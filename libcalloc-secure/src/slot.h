/* A slot of a slab: what its mark says, and what stands beside and behind its block. */
#ifndef CAL_SLOT_H
#define CAL_SLOT_H

#include <calloc/hooks.h>
#include <stdatomic.h>

#include "canary.h"
#include "guard.h"
#include "kind.h"
#include "record.h"

/* The bits of a live slot's mark: the size that was asked for, below two for the kind. */
enum { CAL_MARK_KIND_SHIFT = 28 };
#define CAL_MARK_REQUESTED ((UINT32_C(1) << CAL_MARK_KIND_SHIFT) - 1)

/* The mark of a slot that is kept and zeros. One that is kept without this bit is busy: others look away. */
#define CAL_MARK_HELD (CAL_MARK_KEPT | 1)

/* What each state of a slab begins with: the slack of the longest requests that the functions of quick.h allocate and
 * free; 0: they do neither, as they must not where the rest of the state is another one. */
struct cal__quick_limits {
    size_t allocated, freeing;
};

struct cal__slab_state {
    struct cal__quick_limits quick;
    struct cal__canary_key key;
    uint64_t place;     /* cal__slot_place() of the slab */
    uint32_t looked_at; /* bytes at the start of a slot that are looked at when it is used again */
    enum cal__guard guard;
    bool fresh; /* the slab was made of memory that nobody had used */
    bool zeros; /* so slots that were never used are zeros, or because all free memory is */
};

CAL_INLINE bool cal__mark_is_live(uint32_t mark)
{
    return (mark & CAL_MARK_LIVE) != 0;
}

/* Its bytes are zeros, if zero_on_free is on. */
CAL_INLINE bool cal__mark_is_free(uint32_t mark)
{
    return mark == CAL_MARK_HELD || (mark < CAL_MARK_KEPT && mark != CAL_MARK_WITHHELD);
}

/* The first slot, if it is there to be a neighbour only, is as good as free; other withheld ones reach into a guard. */
CAL_INLINE bool cal__mark_is_free_neighbour(uint32_t slot, uint32_t mark)
{
    return cal__mark_is_free(mark) || (mark == CAL_MARK_WITHHELD && slot == 0);
}

/* From now on others look away. */
CAL_INLINE void cal__slot_set_busy(struct cal_slab *slab, uint32_t slot)
{
    __atomic_store_n(&slab->marks[slot], CAL_MARK_KEPT, __ATOMIC_RELAXED);
    CAL_FENCE(memory_order_release);
}

CAL_INLINE void cal__slot_set_live(struct cal_slab *slab, uint32_t slot, uint32_t kind,
                                   size_t requested)
{
    cal_slot_set_mark(slab, slot,
                      CAL_MARK_LIVE | kind << CAL_MARK_KIND_SHIFT | (uint32_t)requested);
}

CAL_INLINE size_t cal__mark_requested(uint32_t mark)
{
    return mark & CAL_MARK_REQUESTED;
}

CAL_INLINE unsigned cal__mark_kind(uint32_t mark)
{
    return (mark & CAL_MARK_ROLE) >> CAL_MARK_KIND_SHIFT;
}

/* Where its slots are, as nobody can say who does not know the secret. */
CAL_INLINE uint64_t cal__slot_place(const struct cal_slab *slab)
{
    return cal__record_encode((uintptr_t)slab->first + slab->block_size);
}

/* Who reads a page first gets that of zeros, and a second fault at the first write, for which all processors that the
 * process runs on are interrupted. So what is written next is not to be read first. For a word that nobody else uses. */
CAL_INLINE void cal__slot_touch(const void *address)
{
    uint64_t *word = (uint64_t *)((uintptr_t)address & ~(sizeof(uint64_t) - 1));
#ifdef __x86_64__
    /* A fault of this is one of a write, though it is not locked. */
    __asm__ volatile("orq $0, %0" : "+m"(*word));
#else
    __atomic_fetch_or(word, 0, __ATOMIC_RELAXED);
#endif
}

CAL_INLINE unsigned char *cal__slot_block(const struct cal_slab *slab, uint32_t slot)
{
    return (unsigned char *)slab->first + slot * slab->block_size;
}

CAL_INLINE uint64_t cal__slot_canary(const struct cal_slab *slab, uint32_t slot)
{
    const struct cal__slab_state *state = slab->state;
    return cal__canary_word(&state->key, slot);
}

/* Of the neighbour below: whoever wrote before the start of a block wrote there. It may be changing hands. */
__attribute__((no_sanitize_thread)) static inline uint64_t cal__slot_last_word(
    const struct cal_slab *slab, const unsigned char *block)
{
    return *(const volatile uint64_t *)(const void *)(block + slab->room - CAL_CANARY_WORD);
}

#endif
