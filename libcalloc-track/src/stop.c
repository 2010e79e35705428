/* Real-time signals that the program has no handler for are tried from the highest one down. The handler runs on
 * the stack that the thread is on, so everything it was doing is above the handler's frame. */
#include "stop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"
#include "mutex.h"
#include "process.h"

enum { SECONDS = 2, RESUME_SECONDS = 60, THREADS_MAX = 32768 };

static struct cal__mutex lock;
static struct cal__stopped *_Atomic places;
static uint32_t places_count;
static _Atomic uint32_t arrived;  /* threads that have taken a place */
static _Atomic uint32_t standing; /* of these, whose place is filled in */
static _Atomic uint32_t gone_on;
static _Atomic uint32_t round_now; /* odd: stand still */

uintptr_t cal__stop_thread_pointer(void)
{
    return (uintptr_t)__builtin_thread_pointer();
}

static void wait_on(_Atomic uint32_t *word, uint32_t value, time_t seconds, long nanoseconds)
{
    struct timespec time = {.tv_sec = seconds, .tv_nsec = nanoseconds};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &time, NULL, 0);
}

static void wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void handler(int number, siginfo_t *information, void *context)
{
    (void)number;
    (void)information;
    (void)context;
    int saved = errno;
    uint32_t now = atomic_load_explicit(&round_now, memory_order_acquire);
    if (now % 2 == 1) {
        struct cal__stopped *threads = atomic_load_explicit(&places, memory_order_acquire);
        uint32_t place = atomic_fetch_add_explicit(&arrived, 1, memory_order_acq_rel);
        if (place < places_count) {
            threads[place] = (struct cal__stopped){.low = (uintptr_t)__builtin_frame_address(0),
                                                   .pointer = cal__stop_thread_pointer()};
        }
        atomic_fetch_add_explicit(&standing, 1, memory_order_acq_rel);
        wake(&standing);
        /* Should whoever stopped us be gone, the program goes on some time. */
        uint64_t end = cal__clock_now(CLOCK_MONOTONIC) + RESUME_SECONDS * UINT64_C(1000000000);
        while (atomic_load_explicit(&round_now, memory_order_acquire) == now &&
               cal__clock_now(CLOCK_MONOTONIC) < end)
            wait_on(&round_now, now, 1, 0);
        atomic_fetch_add_explicit(&gone_on, 1, memory_order_acq_rel);
        wake(&gone_on);
    }
    errno = saved;
}

/* Threads that were asked to stand still, or need not be. */
struct asked {
    int *tids; /* negative: it was not sent the signal */
    uint32_t count;
    uint32_t most;
    uint32_t running; /* that can be neither asked nor left as they are, in the last round */
};

static bool is_asked(const struct asked *asked, int tid)
{
    for (uint32_t i = 0; i < asked->count; i++)
        if (asked->tids[i] == tid || asked->tids[i] == -tid)
            return true;
    return false;
}

static int number_of(const char *name)
{
    int number = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        number = number * 10 + (*name - '0');
    return *name == '\0' ? number : 0;
}

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static size_t read_of_thread(int tid, const char *name, char *bytes, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, name);
    return cal__process_file(path, bytes, size);
}

static bool blocks_signal(int tid, int number)
{
    char status[4096];
    const char *at;
    if (read_of_thread(tid, "status", status, sizeof status) == 0 ||
        (at = strstr(status, "SigBlk:")) == NULL)
        return false;
    return (strtoull(at + 7, NULL, 16) >> (number - 1) & 1) != 0;
}

/* The stack pointer of a thread that waits in a system call, of which the kernel tells; 0: it does not wait. */
static uintptr_t waits_at(int tid)
{
    char text[512];
    if (read_of_thread(tid, "syscall", text, sizeof text) == 0)
        return 0;
    /* The number, six arguments, the stack pointer and the place in the code; or "running". */
    const char *at = text;
    for (int i = 0; i < 7 && at != NULL; i++) {
        at = strchr(at, ' ');
        at = at == NULL ? NULL : at + 1;
    }
    return at == NULL ? 0 : (uintptr_t)strtoull(at, NULL, 16);
}

/* One that cannot be asked, since it blocks the signal: most of these only wait for others. What is on its stack is
 * known then. It does not stand still, but a thread that begins to run now has no block that it has not from there. False:
 * it runs, and may block it for a short while only, as a thread does that begins. */
static bool take_waiting(struct cal__stop *stop, int tid)
{
    uintptr_t low = waits_at(tid);
    if (low != 0 && stop->waiting_count < THREADS_MAX)
        stop->waiting[stop->waiting_count++] = low;
    return low != 0;
}

/* Asks all threads that were not asked; how many these were, or -1. */
static int ask(struct asked *asked, struct cal__stop *stop, int number)
{
    int file =
        (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return -1;
    asked->running = 0;
    int self = (int)syscall(SYS_gettid), process = (int)syscall(SYS_getpid), fresh = 0;
    char bytes[4096] __attribute__((aligned(8))) = "";
    long length;
    while ((length = syscall(SYS_getdents64, file, bytes, sizeof bytes)) > 0) {
        for (long at = 0; at < length;) {
            const struct entry *entry = (const struct entry *)(bytes + at);
            int tid = number_of(entry->name);
            at += entry->length;
            if (tid == 0 || tid == self || asked->count == asked->most || is_asked(asked, tid))
                continue;
            if (blocks_signal(tid, number)) {
                if (take_waiting(stop, tid))
                    asked->tids[asked->count++] = -tid;
                else
                    asked->running++;
            } else if (syscall(SYS_tgkill, process, tid, number) == 0) {
                asked->tids[asked->count++] = tid;
                fresh++;
            }
        }
    }
    syscall(SYS_close, file);
    return fresh;
}

/* Threads that were sent the signal and are there. */
static uint32_t still_there(const struct asked *asked)
{
    int process = (int)syscall(SYS_getpid);
    uint32_t count = 0;
    for (uint32_t i = 0; i < asked->count; i++)
        count += asked->tids[i] > 0 && syscall(SYS_tgkill, process, asked->tids[i], 0) == 0;
    return count;
}

static int unused_signal(void)
{
    for (int number = SIGRTMAX - 1; number > SIGRTMIN; number--) {
        struct sigaction old;
        if (sigaction(number, NULL, &old) == 0 && (old.sa_flags & SA_SIGINFO) == 0 &&
            old.sa_handler == SIG_DFL)
            return number;
    }
    return 0;
}

void cal__stop_begin(void)
{
    cal__mutex_acquire(&lock);
}

void cal__stop_end(void)
{
    cal__mutex_release(&lock);
}

static struct sigaction before;
static int used_signal;

bool cal__stop_threads(struct cal__stop *stop)
{
    /* Addresses of those that wait come behind the list of the others. */
    size_t bytes = THREADS_MAX * (sizeof(struct cal__stopped) + sizeof(uintptr_t));
    size_t list_bytes = THREADS_MAX * sizeof(int);
    *stop = (struct cal__stop){.threads = cal__memory_map(bytes), .mapped = bytes};
    struct asked asked = {.tids = cal__memory_map(list_bytes), .most = THREADS_MAX};
    if (stop->threads == NULL || asked.tids == NULL) {
        cal__memory_unmap(stop->threads, bytes);
        cal__memory_unmap(asked.tids, list_bytes);
        return false;
    }
    stop->waiting = (uintptr_t *)(stop->threads + THREADS_MAX);
    atomic_store_explicit(&places, stop->threads, memory_order_release);
    places_count = THREADS_MAX;
    atomic_store_explicit(&arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&standing, 0, memory_order_relaxed);
    atomic_store_explicit(&gone_on, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&round_now, 1, memory_order_acq_rel);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    used_signal = unused_signal();
    uint32_t sent = 0, now = 0;
    uint64_t end = cal__clock_now(CLOCK_MONOTONIC) + SECONDS * UINT64_C(1000000000);
    int fresh = used_signal != 0 && sigaction(used_signal, &action, &before) == 0
                    ? ask(&asked, stop, used_signal)
                    : -1;
    if (fresh < 0)
        stop->missed++;
    /* Until all stand still and there are no others, which those had begun. */
    while (fresh > 0 ||
           (fresh == 0 && asked.running != 0 && cal__clock_now(CLOCK_MONOTONIC) < end)) {
        sent += (uint32_t)fresh;
        if (asked.running != 0)
            wait_on(&gone_on, 0, 0, 1000000);
        while ((now = atomic_load_explicit(&standing, memory_order_acquire)) < sent &&
               cal__clock_now(CLOCK_MONOTONIC) < end) {
            wait_on(&standing, now, 0, 10000000);
            /* Some may end instead. */
            uint32_t there = still_there(&asked);
            sent = there < sent ? there : sent;
        }
        fresh = ask(&asked, stop, used_signal);
    }
    now = atomic_load_explicit(&standing, memory_order_acquire);
    stop->count = now < THREADS_MAX ? now : THREADS_MAX;
    stop->missed += asked.running + (now < sent ? sent - now : 0);
    cal__memory_unmap(asked.tids, list_bytes);
    return true;
}

void cal__stop_resume(struct cal__stop *stop)
{
    atomic_fetch_add_explicit(&round_now, 1, memory_order_acq_rel);
    wake(&round_now);
    uint64_t end = cal__clock_now(CLOCK_MONOTONIC) + SECONDS * UINT64_C(1000000000);
    uint32_t now;
    while ((now = atomic_load_explicit(&gone_on, memory_order_acquire)) <
               atomic_load_explicit(&standing, memory_order_acquire) &&
           cal__clock_now(CLOCK_MONOTONIC) < end)
        wait_on(&gone_on, now, 0, 10000000);
    /* Where one has not answered, the signal may still come: the handler stays then, and does nothing. */
    if (used_signal != 0 && stop->missed == 0)
        sigaction(used_signal, &before, NULL);
    cal__memory_unmap(stop->threads, stop->mapped);
}

void cal__stop_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__stop_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}
