#include "guard.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "file.h"

/* Of Linux 6.13; the headers may be older. */
#ifndef MADV_GUARD_INSTALL
#    define MADV_GUARD_INSTALL 102
#    define MADV_GUARD_REMOVE  103
#endif

enum { MAPPINGS_PER_GUARD = 2, MAPPINGS_DEFAULT = 65530 };

/* A process that has made so many times `protect_first` guards is no small one, whatever has become of them. */
enum { EARLY_TIMES = 16 };

/* Set at start. */
static bool can_mark;
static size_t protect_first;

static _Atomic size_t budget;
static _Atomic size_t marked;
static _Atomic size_t protected_now;
static _Atomic size_t protected_ever;
static _Atomic size_t refused;

static size_t load(_Atomic size_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void add(_Atomic size_t *count, size_t value)
{
    atomic_fetch_add_explicit(count, value, memory_order_relaxed);
}

static void subtract(_Atomic size_t *count, size_t value)
{
    atomic_fetch_sub_explicit(count, value, memory_order_relaxed);
}

/* A kernel from 6.13 on marks, earlier ones do not know the advice, and filters answer what they like. */
static bool probe(void *unused, size_t unused_length)
{
    size_t page = getauxval(AT_PAGESZ);
    bool maps = unused_length < page || (uintptr_t)unused % page != 0;
    void *memory = unused;
    if (maps)
        memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    bool can = madvise(memory, page, MADV_GUARD_INSTALL) == 0 &&
               madvise(memory, page, MADV_GUARD_REMOVE) == 0;
    if (maps)
        munmap(memory, page);
    return can;
}

/* What the file has: a number and the end of the line. */
static size_t mappings_allowed(void)
{
    char text[24] = {0};
    int descriptor = cal__file_open("/proc/sys/vm/max_map_count", false);
    long length = descriptor < 0 ? 0 : cal__file_take(descriptor, text, sizeof text);
    size_t value = 0;
    long i = 0;
    for (; i < length && i < 10 && text[i] >= '0' && text[i] <= '9'; i++)
        value = 10 * value + (size_t)(text[i] - '0');
    return i > 0 && value != 0 ? value : MAPPINGS_DEFAULT;
}

void cal__guard_start(const struct cal__guard_limits *limits)
{
    int saved = errno;
    can_mark = !limits->protect_only && probe(limits->unused, limits->unused_length);
    protect_first = limits->protect_first;
    size_t percent = limits->percent < 100 ? limits->percent : 100;
    /* Where guards are marked hardly any other takes a mapping, and every process is spared the question. */
    size_t allowed = can_mark ? MAPPINGS_DEFAULT : mappings_allowed();
    atomic_store_explicit(&budget, allowed * percent / 100 / MAPPINGS_PER_GUARD,
                          memory_order_relaxed);
    errno = saved;
}

static bool mark(void *address, size_t length)
{
    if (madvise(address, length, MADV_GUARD_INSTALL) != 0)
        return false;
    add(&marked, 1);
    return true;
}

/* How many protected guards there may be before others are marked. */
static size_t early_ones(void)
{
    if (load(&protected_ever) >= EARLY_TIMES * protect_first)
        return 0;
    size_t allowed = load(&budget);
    return protect_first < allowed ? protect_first : allowed;
}

/* At most LIMIT of them. */
static bool protect(void *address, size_t length, size_t limit)
{
    if (atomic_fetch_add_explicit(&protected_now, 1, memory_order_relaxed) >= limit) {
        subtract(&protected_now, 1);
        return false;
    }
    /* As marking does. Where it is refused, in locked memory or a sandbox, what was there would come back with
     * the pages: so they are mapped anew. */
    if (madvise(address, length, MADV_DONTNEED) == 0
            ? mprotect(address, length, PROT_NONE) == 0
            : mmap(address, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
                  MAP_FAILED) {
        add(&protected_ever, 1);
        return true;
    }
    bool used_up = errno == ENOMEM;
    /* The kernel changes one mapping after the other, and may have stopped between two: what faults in part is a
     * guard, until all of it can be taken away. */
    if (mprotect(address, length, PROT_READ | PROT_WRITE) != 0 && errno == ENOMEM)
        return true;
    subtract(&protected_now, 1);
    /* Somebody else has used up the mappings. They are to have what is left. */
    if (used_up)
        atomic_store_explicit(&budget, load(&protected_now), memory_order_relaxed);
    return false;
}

static enum cal__guard install(void *address, size_t length)
{
    if (can_mark) {
        size_t early = early_ones();
        if (load(&protected_now) < early && protect(address, length, early))
            return CAL_GUARD_PROTECTED;
        /* Refused for locked memory, in which the kernel may not give pages back. */
        if (mark(address, length))
            return CAL_GUARD_MARKED;
    }
    if (protect(address, length, load(&budget)))
        return CAL_GUARD_PROTECTED;
    add(&refused, 1);
    return CAL_GUARD_NONE;
}

enum cal__guard cal__guard_install(void *address, size_t length)
{
    int saved = errno;
    enum cal__guard guard = install(address, length);
    errno = saved;
    return guard;
}

void cal__guard_forget(enum cal__guard guard)
{
    if (guard == CAL_GUARD_MARKED)
        subtract(&marked, 1);
    else if (guard == CAL_GUARD_PROTECTED)
        subtract(&protected_now, 1);
}

bool cal__guard_remove(void *address, size_t length, enum cal__guard guard)
{
    if (guard == CAL_GUARD_NONE)
        return true;
    int saved = errno;
    bool removed = guard == CAL_GUARD_MARKED
                       ? madvise(address, length, MADV_GUARD_REMOVE) == 0
                       : mprotect(address, length, PROT_READ | PROT_WRITE) == 0;
    /* A sandbox that was entered after the guard was made may refuse the one and let the other pass. ENOMEM:
     * there is no such mapping, or no memory for the kernel's tables. */
    if (!removed && errno != ENOMEM)
        removed = mmap(address, length, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
    errno = saved;
    if (!removed)
        return false;
    cal__guard_forget(guard);
    return true;
}

enum cal__guard cal__guard_next(void)
{
    size_t now = load(&protected_now);
    if (can_mark)
        return now < early_ones() ? CAL_GUARD_PROTECTED : CAL_GUARD_MARKED;
    return now < load(&budget) ? CAL_GUARD_PROTECTED : CAL_GUARD_NONE;
}

bool cal__guard_can_mark(void)
{
    return can_mark;
}

bool cal__guard_install_as(void *address, size_t length, enum cal__guard guard)
{
    int saved = errno;
    bool done = guard == CAL_GUARD_MARKED      ? can_mark && mark(address, length)
                : guard == CAL_GUARD_PROTECTED ? protect(address, length, load(&budget))
                                               : false;
    errno = saved;
    if (!done)
        add(&refused, 1);
    return done;
}

bool cal__guard_charge(enum cal__guard guard)
{
    if (guard == CAL_GUARD_MARKED) {
        add(&marked, 1);
        return true;
    }
    if (atomic_fetch_add_explicit(&protected_now, 1, memory_order_relaxed) < load(&budget))
        return true;
    subtract(&protected_now, 1);
    add(&refused, 1);
    return false;
}

bool cal__guard_open(void *address, size_t length, enum cal__guard guard)
{
    int saved = errno;
    int result = guard == CAL_GUARD_MARKED ? madvise(address, length, MADV_GUARD_REMOVE)
                                           : mprotect(address, length, PROT_READ | PROT_WRITE);
    errno = saved;
    return result == 0;
}

bool cal__guard_shut(void *address, size_t length, enum cal__guard guard)
{
    int saved = errno;
    bool done = guard == CAL_GUARD_MARKED ? madvise(address, length, MADV_GUARD_INSTALL) == 0
                                          : mprotect(address, length, PROT_NONE) == 0;
    /* Afterwards, so that nobody writes to it in between. Locked memory stays, with what is in it. */
    if (done && guard == CAL_GUARD_PROTECTED && madvise(address, length, MADV_DONTNEED) != 0 &&
        mprotect(address, length, PROT_READ | PROT_WRITE) == 0) {
        memset(address, 0, length);
        done = mprotect(address, length, PROT_NONE) == 0;
    }
    errno = saved;
    return done;
}

struct cal__guard_counts cal__guard_counts(void)
{
    return (struct cal__guard_counts){
        .can_mark = can_mark,
        .marked = load(&marked),
        .protected = load(&protected_now),
        .budget = load(&budget),
        .refused = load(&refused),
    };
}
