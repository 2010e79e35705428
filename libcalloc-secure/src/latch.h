/* A mutex of four bytes on futex(2), after Drepper, "Futexes Are Tricky" (2011), third version: the
 * same as the core's, which add-ons cannot reach.
 *
 * All zeros is a free latch. It is not recursive. A forked child resets it from outside. When futex
 * is refused (seccomp), waiting degrades to spinning. */
#ifndef CAL_LATCH_H
#define CAL_LATCH_H

#include <stdatomic.h>

#include "base.h"

/* 0 free, 1 held, 2 held and somebody waits. */
struct cal__latch {
    _Atomic uint32_t state;
};

void cal__latch_wait(struct cal__latch *latch);
void cal__latch_wake(struct cal__latch *latch);

CAL_INLINE void cal__latch_acquire(struct cal__latch *latch)
{
    uint32_t expected = 0;
    if (CAL_UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &latch->state, &expected, 1, memory_order_acquire, memory_order_relaxed)))
        cal__latch_wait(latch);
}

CAL_INLINE void cal__latch_release(struct cal__latch *latch)
{
    if (CAL_UNLIKELY(atomic_exchange_explicit(&latch->state, 0, memory_order_release) == 2))
        cal__latch_wake(latch);
}

/* In the child of a fork: free, whoever held it in the parent. */
CAL_INLINE void cal__latch_reset(struct cal__latch *latch)
{
    atomic_store_explicit(&latch->state, 0, memory_order_relaxed);
}

#endif
