#include "metadata.h"

#include "link.h"
#include "lock.h"
#include "os.h"

#define UNIT  ((size_t)128)
#define CHUNK ((size_t)4 * CAL_GRANULE)
/* With guard pages around them chunks are to be few. */
#define CHUNK_SHARE 4

/* Enough for a small process, so that it needs one system call less. */
static char first_chunk[16 * 1024] __attribute__((aligned(128)));

static struct cal__lock lock;
static char *next = first_chunk;
static char *end = first_chunk + sizeof first_chunk;
static size_t handed_out;

/* LENGTH bytes of whole granules; what can be used of them is from *START to *STOP. */
static bool map_guarded(size_t length, char **start, char **stop)
{
    size_t guard = cal__link_guards() ? cal__os_page_size() : 0;
    /* To align it to more would take system calls, at the start of a process. */
    char *memory = cal__os_map(length, cal__os_page_size(), NULL);
    if (memory == NULL)
        return false;
    if (guard != 0) {
        cal__link_guard(memory);
        cal__link_guard(memory + length - guard);
    }
    *start = memory + guard;
    *stop = memory + length - guard;
    return true;
}

/* Room for guard pages, where there are any. */
static size_t length_for(size_t size)
{
    size_t guards = cal__link_guards() ? 2 * cal__os_page_size() : 0;
    return cal__round_up(size + guards, CAL_GRANULE);
}

void *cal__metadata_map(size_t size)
{
    char *start, *stop;
    return map_guarded(length_for(size), &start, &stop) ? start : NULL;
}

static bool new_chunk(size_t size)
{
    size_t least = length_for(size);
    size_t share = cal__link_guards() ? cal__round_up(handed_out / CHUNK_SHARE, CAL_GRANULE) : 0;
    size_t length = cal__max(cal__max(CHUNK, share), least);
    return map_guarded(length, &next, &end) || (length > least && map_guarded(least, &next, &end));
}

/* The first one is beside other data, without guard pages. */
static bool is_first(void)
{
    return end == first_chunk + sizeof first_chunk;
}

void *cal__metadata_allocate(size_t size)
{
    size = cal__round_up(size, UNIT);
    void *result = NULL;
    cal__lock_acquire(&lock);
    if (size > (size_t)(end - next) || (cal__link_guards() && is_first()))
        new_chunk(size);
    if (size <= (size_t)(end - next)) {
        result = next;
        next += size;
        handed_out += size;
    }
    cal__lock_release(&lock);
    return result;
}

size_t cal__metadata_bytes(void)
{
    cal__lock_acquire(&lock);
    size_t bytes = handed_out;
    cal__lock_release(&lock);
    return bytes;
}

void cal__metadata_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__metadata_unlock(bool in_child)
{
    cal__lock_release_after_fork(&lock, in_child);
}
