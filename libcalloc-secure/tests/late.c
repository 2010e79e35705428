/* Loads the library of its first argument while it runs, and goes on to allocate. Its second says the level
 * that is expected; with a third an error follows. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 3000 };
static unsigned char *blocks[BLOCKS];

static int is_zero(const unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != 0)
            return 0;
    return 1;
}

static int use_heap(void)
{
    for (size_t i = 0; i < 60000; i++) {
        unsigned char **place = &blocks[i * 7919 % BLOCKS];
        size_t size = 1 + i % 3000;
        free(*place);
        if ((*place = calloc(1, size)) == NULL || !is_zero(*place, size))
            return 0;
        memset(*place, 0x5a, size);
    }
    return 1;
}

int main(int count, char **arguments)
{
    for (size_t i = 0; i < BLOCKS; i++)
        memset(blocks[i] = malloc(1 + i), 0x77, 1 + i);
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    int (*level)(void), (*validate)(void);
    *(void **)&level = dlsym(library, "cal_secure_level");
    *(void **)&validate = dlsym(library, "cal_secure_validate");
    if (level() != atoi(arguments[2]) || !use_heap() || validate() != 0)
        return 3;
    if (count == 4) {
        unsigned char *volatile block = malloc(41);
        block[41] ^= 1;
        free(block);
    }
    return 0;
}
