#include "memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "mutex.h"

enum { CHUNK = 256 << 10 };

static _Atomic size_t mapped;
static size_t most = SIZE_MAX;

static struct cal__mutex lock;
static char *chunk;
static size_t used = CHUNK;

void cal__memory_limit(size_t bytes)
{
    most = bytes;
}

static _Atomic unsigned exceeding;

void cal__memory_exceed(void)
{
    atomic_fetch_add_explicit(&exceeding, 1, memory_order_relaxed);
}

void cal__memory_comply(void)
{
    atomic_fetch_sub_explicit(&exceeding, 1, memory_order_relaxed);
}

static bool is_too_much(size_t before, size_t length)
{
    return (before > most || length > most - before) &&
           atomic_load_explicit(&exceeding, memory_order_relaxed) == 0;
}

size_t cal__memory_mapped(void)
{
    return atomic_load_explicit(&mapped, memory_order_relaxed);
}

static size_t round_up(size_t length)
{
    return (length + 4095) & ~(size_t)4095;
}

void *cal__memory_map(size_t length)
{
    length = round_up(length);
    size_t before = atomic_fetch_add_explicit(&mapped, length, memory_order_relaxed);
    int saved = errno;
    void *address = is_too_much(before, length) ? MAP_FAILED
                                                : mmap(NULL, length, PROT_READ | PROT_WRITE,
                                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    if (address != MAP_FAILED)
        return address;
    atomic_fetch_sub_explicit(&mapped, length, memory_order_relaxed);
    return NULL;
}

void cal__memory_unmap(void *address, size_t length)
{
    if (address == NULL)
        return;
    length = round_up(length);
    int saved = errno;
    if (munmap(address, length) == 0)
        atomic_fetch_sub_explicit(&mapped, length, memory_order_relaxed);
    errno = saved;
}

void *cal__memory_take(size_t length)
{
    size_t alignment = length >= 64 ? 64 : 16;
    length = (length + alignment - 1) & ~(alignment - 1);
    if (length > CHUNK / 4)
        return cal__memory_map(length);
    void *result = NULL;
    cal__mutex_acquire(&lock);
    size_t from = (used + alignment - 1) & ~(alignment - 1);
    if (from + length > CHUNK) {
        char *fresh = cal__memory_map(CHUNK);
        if (fresh != NULL)
            chunk = fresh;
        from = fresh != NULL ? 0 : CHUNK;
    }
    if (from + length <= CHUNK) {
        result = chunk + from;
        used = from + length;
    }
    cal__mutex_release(&lock);
    return result;
}

void cal__memory_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__memory_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}
