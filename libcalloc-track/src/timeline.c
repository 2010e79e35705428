#include "timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modules.h"
#include "mutex.h"
#include "process.h"
#include "thread.h"

static struct cal__mutex lock;
static struct cal__file_moment moments[CAL_MOMENTS_MAX];
static size_t used;
static uint64_t interval = 1000000; /* ns */
static _Atomic uint64_t next;
static _Atomic uint64_t last_mark;

bool cal__timeline_saw_mark(uint64_t mark)
{
    return atomic_exchange_explicit(&last_mark, mark, memory_order_relaxed) != mark;
}

/* Of the process, from /proc; 0: not known. */
static uint64_t resident_bytes(void)
{
    char text[128];
    uint64_t pages = 0;
    cal__process_file("/proc/self/statm", text, sizeof text);
    const char *at = strchr(text, ' ');
    for (at = at == NULL ? "" : at + 1; *at >= '0' && *at <= '9'; at++)
        pages = pages * 10 + (uint64_t)(*at - '0');
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void cal__timeline_now(struct cal__file_moment *moment)
{
    struct cal__totals totals = cal__thread_totals();
    /* Threads go on meanwhile, so a free may have been seen of a block that was not. */
    *moment = (struct cal__file_moment){
        .time = cal__modules_time(),
        .live_blocks = totals.allocations > totals.frees ? totals.allocations - totals.frees : 0,
        .live_bytes = totals.allocated_bytes > totals.freed_bytes
                          ? totals.allocated_bytes - totals.freed_bytes
                          : 0,
        .allocations = totals.allocations,
        .resident_bytes = resident_bytes(),
    };
}

void cal__timeline_look(void)
{
    uint64_t now = cal__modules_time();
    if (now < atomic_load_explicit(&next, memory_order_relaxed) || !cal__mutex_try(&lock))
        return;
    if (used == CAL_MOMENTS_MAX) {
        for (size_t i = 0; i < CAL_MOMENTS_MAX / 2; i++)
            moments[i] = moments[i * 2];
        used = CAL_MOMENTS_MAX / 2;
        interval *= 2;
    }
    cal__timeline_now(&moments[used++]);
    /* With many threads a point takes longer. */
    uint64_t took = cal__modules_time() - now;
    atomic_store_explicit(&next, now + (interval > took * 100 ? interval : took * 100),
                          memory_order_relaxed);
    cal__mutex_release(&lock);
}

size_t cal__timeline_copy(struct cal__file_moment *copy)
{
    cal__mutex_acquire(&lock);
    size_t count = used;
    memcpy(copy, moments, count * sizeof *moments);
    cal__mutex_release(&lock);
    return count;
}

void cal__timeline_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__timeline_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}
