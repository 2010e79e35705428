/* A mutex of four bytes on futex(2), as the core has one, and for its reasons: a forked child resets it, and
 * it works before libc does. */
#ifndef CAL_TRACK_MUTEX_H
#define CAL_TRACK_MUTEX_H

#include <stdatomic.h>

#include "base.h"

/* 0 free, 1 held, 2 held and somebody waits. */
struct cal__mutex {
    _Atomic uint32_t state;
};

void cal__mutex_wait(struct cal__mutex *mutex);
void cal__mutex_wake(struct cal__mutex *mutex);

CAL_INLINE void cal__mutex_acquire(struct cal__mutex *mutex)
{
    uint32_t expected = 0;
    if (CAL_UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &mutex->state, &expected, 1, memory_order_acquire, memory_order_relaxed)))
        cal__mutex_wait(mutex);
}

/* False: somebody holds it. */
CAL_INLINE bool cal__mutex_try(struct cal__mutex *mutex)
{
    uint32_t expected = 0;
    return atomic_compare_exchange_strong_explicit(&mutex->state, &expected, 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

CAL_INLINE void cal__mutex_release(struct cal__mutex *mutex)
{
    if (CAL_UNLIKELY(atomic_exchange_explicit(&mutex->state, 0, memory_order_release) == 2))
        cal__mutex_wake(mutex);
}

/* Releases a lock that was taken before a fork. In the child whoever waits for it no longer exists. */
CAL_INLINE void cal__mutex_release_after_fork(struct cal__mutex *mutex, bool in_child)
{
    if (in_child)
        atomic_store_explicit(&mutex->state, 0, memory_order_relaxed);
    else
        cal__mutex_release(mutex);
}

#endif
