/* A program with a malloc of its own, that prints what the library says of it. */
#include <calloc/secure.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static char memory[1 << 20];
static size_t used;

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void free(void *block);

void *malloc(size_t size)
{
    void *block = memory + used;
    used += (size + 15) & ~(size_t)15;
    return used <= sizeof memory ? block : NULL;
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size);
}

void *realloc(void *block, size_t size)
{
    void *moved = malloc(size);
    if (block != NULL && moved != NULL)
        memmove(moved, block, size);
    return moved;
}

void free(void *block)
{
    (void)block;
}

int main(void)
{
    struct cal_secure_state state = {.size = sizeof state};
    int (*function)(struct cal_secure_state *);
    *(void **)&function = dlsym(RTLD_DEFAULT, "cal_secure_state");
    if (function == NULL || function(&state) != 0)
        return 1;
    printf("%s\n", state.own_malloc == NULL ? "none" : "its own");
    return 0;
}
