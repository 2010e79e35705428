/* Frees a block twice, the second time with an argument: places.sh looks at what is said of it. */
#include <stdlib.h>

#define APART __attribute__((noinline))

static void *volatile block;

APART static void allocate_here(void)
{
    block = malloc(100);
}

APART static void free_here(void)
{
    free(block);
    *(void *volatile *)&block; /* not a jump to free() in the place of the call */
}

int main(int count, char **arguments)
{
    allocate_here();
    free_here();
    if (count > 1)
        free_here();
    return 0;
}
