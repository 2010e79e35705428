/* A library that is loaded and unloaded, twice with different code: PLUGIN is what its function is called. */
#include <stdlib.h>

#define NAMED_(name) allocate_in_##name
#define NAMED(name)  NAMED_(name)

void *plugin_allocate(size_t bytes);

__attribute__((noinline)) static void *NAMED(PLUGIN)(size_t bytes)
{
    void *block = malloc(bytes);
    __asm__ volatile("" ::: "memory");
    return block;
}

void *plugin_allocate(size_t bytes)
{
    void *block = NAMED(PLUGIN)(bytes);
    __asm__ volatile("" ::: "memory");
    return block;
}
