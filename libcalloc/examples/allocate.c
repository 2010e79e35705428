/* A buffer that doubles: in place where the allocator can, by moving where it cannot. */
#include <calloc/calloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int moves;

/* Like cal_reallocate(), and counts how often the block had to move. */
static char *grow(char *buffer, size_t size)
{
    if (cal_try_reallocate_in_place(buffer, size) != NULL)
        return buffer;
    moves++;
    return cal_reallocate(buffer, size);
}

int main(void)
{
    size_t size = 1024;
    char *buffer = cal_allocate_zeroed(size);
    if (buffer == NULL)
        return 1;
    for (; size < 1048576; size *= 2) {
        char *larger = grow(buffer, 2 * size);
        if (larger == NULL) {
            cal_deallocate(buffer);
            return 1;
        }
        buffer = larger;
        memset(buffer + size, 1, size);
    }
    printf("%zu bytes usable after %d moves\n", cal_allocation_size(buffer), moves);
    cal_deallocate(buffer);

    /* A counter with a cache line for itself. */
    uint64_t *counter = cal_allocate_aligned(64, 64);
    if (counter == NULL || (uintptr_t)counter % 64 != 0)
        return 1;
    *counter = 1;
    cal_deallocate(counter);
    return 0;
}
