/* A mutex of four bytes on futex(2), after Drepper, "Futexes Are Tricky" (2011), third version.
 *
 * pthread mutexes are not used because a forked child must be able to reset ours from outside,
 * and because nothing here may depend on how far libpthread has got. When futex is refused
 * (seccomp) waiting degrades to spinning. */
#ifndef CAL_LOCK_H
#define CAL_LOCK_H

#include <stdatomic.h>

#include "base.h"

/* 0 free, 1 held, 2 held and somebody waits. */
struct cal__lock {
    _Atomic uint32_t state;
};

void cal__lock_wait(struct cal__lock *lock);
void cal__lock_wake(struct cal__lock *lock);

CAL_INLINE void cal__lock_acquire(struct cal__lock *lock)
{
    uint32_t expected = 0;
    if (CAL_UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &lock->state, &expected, 1, memory_order_acquire, memory_order_relaxed)))
        cal__lock_wait(lock);
}

CAL_INLINE void cal__lock_release(struct cal__lock *lock)
{
    if (CAL_UNLIKELY(atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2))
        cal__lock_wake(lock);
}

/* Releases a lock that was taken before a fork. In the child whoever waits for it no longer exists. */
CAL_INLINE void cal__lock_release_after_fork(struct cal__lock *lock, bool in_child)
{
    if (in_child)
        atomic_store_explicit(&lock->state, 0, memory_order_relaxed);
    else
        cal__lock_release(lock);
}

#endif
