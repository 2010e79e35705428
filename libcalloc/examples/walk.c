/* What the heap consists of, region by region, and how many blocks are alive. */
#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <stdio.h>

struct sum {
    size_t regions[CAL_REGION_RANGE + 1];
    size_t bytes[CAL_REGION_RANGE + 1];
};

/* Must neither allocate nor free: it only adds up. */
static bool add_region(const struct cal_region *region, void *argument)
{
    struct sum *sum = argument;
    sum->regions[region->kind]++;
    sum->bytes[region->kind] += region->length;
    return true;
}

static bool add_block(void *block, size_t usable, void *argument)
{
    (void)block;
    size_t *bytes = argument;
    *bytes += usable;
    return true;
}

int main(void)
{
    void *small = cal_allocate(100);
    void *large = cal_allocate(300000);
    void *huge = cal_allocate(8000000);

    struct sum sum = {{0}, {0}};
    size_t bytes = 0;
    if (!cal_walk_regions(add_region, &sum) || !cal_walk_blocks(add_block, &bytes))
        return 1;

    static const char *const names[] = {[CAL_REGION_SLAB] = "slab",
                                        [CAL_REGION_RUN] = "run",
                                        [CAL_REGION_MAPPING] = "mapping",
                                        [CAL_REGION_FREE] = "free",
                                        [CAL_REGION_RANGE] = "range"};
    for (int kind = CAL_REGION_SLAB; kind <= CAL_REGION_RANGE; kind++)
        printf("%-8s %4zu regions %8zu KiB\n", names[kind], sum.regions[kind],
               sum.bytes[kind] / 1024);
    printf("%zu KiB in live blocks\n", bytes / 1024);

    cal_deallocate(small);
    cal_deallocate(large);
    cal_deallocate(huge);
    return bytes >= 100 + 300000 + 8000000 ? 0 : 1;
}
