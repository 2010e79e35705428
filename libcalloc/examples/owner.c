/* An add-on with the role owner: an arena with an interface of its own, whose blocks the program may
 * still give to cal_deallocate(), cal_reallocate() and cal_allocation_size(). */
#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <stdio.h>

#define LENGTH ((size_t)1 << 20)

/* For one thread. Before each block are 16 bytes with its size, which is 0 once it was given back. */
struct arena {
    char *start;
    size_t used;
    size_t live;
};

static size_t *size_of(const void *block)
{
    return (size_t *)(uintptr_t)((uintptr_t)block - 16);
}

static bool arena_deallocate(void *state, void *block, const struct cal_call *call)
{
    (void)call;
    struct arena *arena = state;
    if (*size_of(block) == 0)
        return false;
    *size_of(block) = 0;
    arena->live--;
    return true;
}

static size_t arena_usable(void *state, const void *block)
{
    (void)state;
    return *size_of(block);
}

static const struct cal_owner owner = {
    .size = sizeof owner,
    .deallocate = arena_deallocate,
    .usable = arena_usable,
};

static void *arena_allocate(struct arena *arena, size_t size)
{
    size_t whole = 16 + (size + 15) / 16 * 16;
    if (whole > LENGTH - arena->used)
        return NULL;
    char *block = arena->start + arena->used + 16;
    *size_of(block) = size;
    arena->used += whole;
    arena->live++;
    return block;
}

int main(void)
{
    static struct arena arena;
    arena.start = cal_range_map(&owner, LENGTH, 4096, &arena);
    if (arena.start == NULL)
        return 1;
    char *first = arena_allocate(&arena, 100);
    char *second = arena_allocate(&arena, 200);
    if (first == NULL || second == NULL)
        return 1;
    printf("%zu usable bytes\n", cal_allocation_size(first));
    /* It has no room to grow where it is: a block of the core takes its place. */
    char *moved = cal_reallocate(first, 5000);
    if (moved == NULL)
        return 1;
    cal_deallocate(moved);
    cal_deallocate(second);
    printf("%zu blocks live in the arena\n", arena.live);
    return arena.live == 0 && cal_range_unmap(&owner, arena.start) == 0 ? 0 : 1;
}
