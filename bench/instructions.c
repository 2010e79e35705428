/*
 * Allocation patterns for counting instructions: instructions PATTERN OPERATIONS
 *
 * instructions.py runs one pattern with two operation counts and divides the difference, so
 * whatever does not grow with the count (start-up, lazy binding) cancels out. The loops are part
 * of the figure. They are kept as short as C allows and do not look at what malloc returned: a
 * check would add the same instructions to every allocator and blur the ratios. Changing a loop
 * invalidates every recorded figure.
 *
 * Compile with -fno-builtin, or the compiler removes the pairs altogether.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1000, SLOTS = 4096, REALLOC_STEP = 40, REALLOC_LAST = 800 };

static void *slots[SLOTS];

/* An operation is one malloc and its free. */
static void malloc32_free(long operations)
{
    for (long i = 0; i < operations; i++)
        free(malloc(32));
}

/* An operation is one malloc and its free; so are the next two. */
static void lifo1000(long operations)
{
    for (long done = 0; done < operations; done += BATCH) {
        for (int i = 0; i < BATCH; i++)
            slots[i] = malloc(64);
        for (int i = BATCH - 1; i >= 0; i--)
            free(slots[i]);
    }
}

static void fifo1000(long operations)
{
    for (long done = 0; done < operations; done += BATCH) {
        for (int i = 0; i < BATCH; i++)
            slots[i] = malloc(64);
        for (int i = 0; i < BATCH; i++)
            free(slots[i]);
    }
}

/*
 * The slots start empty, so early operations free NULL: the smaller of the two counts has to be
 * several times SLOTS for this to cancel out.
 */
static void random4096(long operations)
{
    uint32_t random = 0x7f4a7c15;

    for (long i = 0; i < operations; i++) {
        random = random * 1664525 + 1013904223;
        void **slot = &slots[(random >> 8) % SLOTS];
        free(*slot);
        *slot = malloc(8 + (random >> 20) % 1016);
    }
}

static void large100000(long operations)
{
    for (long i = 0; i < operations; i++)
        free(malloc(100000));
}

static void calloc64_free(long operations)
{
    for (long i = 0; i < operations; i++)
        free(calloc(1, 64));
}

/*
 * An operation is one realloc; the first of each round allocates, and the free at its end is
 * shared between the 20 of them.
 */
static void realloc_grow(long operations)
{
    for (long done = 0; done < operations; done += REALLOC_LAST / REALLOC_STEP) {
        void *block = NULL;
        for (size_t size = REALLOC_STEP; size <= REALLOC_LAST; size += REALLOC_STEP)
            block = realloc(block, size);
        free(block);
    }
}

static void aligned64_free(long operations)
{
    for (long i = 0; i < operations; i++)
        free(aligned_alloc(64, 128));
}

static const struct {
    const char *name;
    void (*run)(long operations);
} patterns[] = {
    {"malloc32_free", malloc32_free}, {"lifo1000", lifo1000},
    {"fifo1000", fifo1000},           {"random4096", random4096},
    {"large100000", large100000},     {"calloc64_free", calloc64_free},
    {"realloc_grow", realloc_grow},   {"aligned64_free", aligned64_free},
};

int main(int argc, char **argv)
{
    if (argc == 3) {
        for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
            if (!strcmp(argv[1], patterns[i].name)) {
                patterns[i].run(atol(argv[2]));
                return 0;
            }
        }
    }
    fprintf(stderr, "usage: instructions PATTERN OPERATIONS\n");
    return 2;
}
