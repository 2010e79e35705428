#include "mutex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Critical sections are short, so a waiter spins about as long as a system call takes first. */
#define SPINS 100

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

CAL_COLD void cal__mutex_wait(struct cal__mutex *mutex)
{
    int saved = errno;
    for (int i = 0; i < SPINS; i++) {
        uint32_t expected = 0;
        if (atomic_compare_exchange_weak_explicit(&mutex->state, &expected, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        pause_briefly();
    }
    while (atomic_exchange_explicit(&mutex->state, 2, memory_order_acquire) != 0) {
        if (syscall(SYS_futex, &mutex->state, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0) != 0)
            pause_briefly();
    }
    errno = saved;
}

CAL_COLD void cal__mutex_wake(struct cal__mutex *mutex)
{
    int saved = errno;
    syscall(SYS_futex, &mutex->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}
