/* An add-on that counts allocations and frees, and adds its counts to the statistics table. */
#ifndef _GNU_SOURCE
#    define _GNU_SOURCE /* dprintf */
#endif
#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_size_t allocated;
static atomic_size_t freed;

static void count_allocated(void *block, size_t requested, size_t usable)
{
    (void)block;
    (void)requested;
    (void)usable;
    atomic_fetch_add(&allocated, 1);
}

static void count_freeing(void *block, size_t usable)
{
    (void)block;
    (void)usable;
    atomic_fetch_add(&freed, 1);
}

static void print_counts(int descriptor)
{
    dprintf(descriptor, "  %-16s%14zu\n  %-16s%14zu\n", "counted", atomic_load(&allocated),
            "counted frees", atomic_load(&freed));
}

static const struct cal_observer observer = {
    .size = sizeof observer,
    .allocated = count_allocated,
    .freeing = count_freeing,
};

static const struct cal_lifecycle lifecycle = {
    .size = sizeof lifecycle,
    .print_statistics = print_counts,
};

static const struct cal_hooks hooks = {
    .size = sizeof hooks,
    .version = CAL_HOOKS_VERSION,
    .name = "count",
    .component_version = "1.0.0",
    .observer = &observer,
    .lifecycle = &lifecycle,
};

int main(void)
{
    if (cal_hooks_register(&hooks) != 0)
        return 1;
    for (int i = 0; i < 100; i++)
        cal_deallocate(cal_allocate(100));
    size_t seen = atomic_load(&allocated);
    printf("%zu allocations seen\n", seen);
    /* It stays registered: with CALLOC_OPTIONS=statistics=1 the table at exit has its lines. */
    return seen >= 100 ? 0 : 1;
}
