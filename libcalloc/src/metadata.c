#include "metadata.h"

#include "lock.h"
#include "os.h"

#define UNIT  ((size_t)128)
#define CHUNK ((size_t)4 * CAL_GRANULE)

/* Enough for a small process, so that it needs one system call less. */
static char first_chunk[16 * 1024] __attribute__((aligned(128)));

static struct cal__lock lock;
static char *next = first_chunk;
static char *end = first_chunk + sizeof first_chunk;
static size_t handed_out;

void *cal__metadata_allocate(size_t size)
{
    size = cal__round_up(size, UNIT);
    void *result = NULL;
    cal__lock_acquire(&lock);
    if (size > (size_t)(end - next)) {
        size_t length = cal__max(CHUNK, cal__round_up(size, CAL_GRANULE));
        char *chunk = cal__os_map(length, CAL_GRANULE, NULL);
        if (chunk != NULL) {
            next = chunk;
            end = chunk + length;
        }
    }
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
