#include "latch.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static void futex(struct cal__latch *latch, int operation, uint32_t value)
{
    int saved = errno;
    syscall(SYS_futex, &latch->state, operation, value, NULL, NULL, 0);
    errno = saved;
}

CAL_COLD void cal__latch_wait(struct cal__latch *latch)
{
    while (atomic_exchange_explicit(&latch->state, 2, memory_order_acquire) != 0)
        futex(latch, FUTEX_WAIT_PRIVATE, 2);
}

CAL_COLD void cal__latch_wake(struct cal__latch *latch)
{
    futex(latch, FUTEX_WAKE_PRIVATE, 1);
}
