/* Loads the library of its first argument when it has allocated already, and allocates then. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *volatile kept[2];

__attribute__((noinline)) static void allocate_late(void)
{
    kept[1] = malloc(333);
    free(kept[0]);
    __asm__ volatile("" ::: "memory");
}

int main(int count, char **arguments)
{
    kept[0] = malloc(222);
    if (count < 2 || dlopen(arguments[1], RTLD_NOW) == NULL) {
        fprintf(stderr, "%s\n", count < 2 ? "which library?" : dlerror());
        return 1;
    }
    allocate_late();
    return 0;
}
