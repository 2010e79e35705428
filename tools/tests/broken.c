/* Has the name of the core, and ends every program that it is preloaded into. */
#include <stddef.h>
#include <stdlib.h>

void *malloc(size_t size);

void *malloc(size_t size)
{
    return size == 0 ? NULL : (void *)size;
}

__attribute__((constructor)) static void start(void)
{
    abort();
}
