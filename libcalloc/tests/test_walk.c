/* Introspection: regions and blocks as they are, each once. */
#include "support.h"

#include <calloc/hooks.h>

enum { BLOCKS = 4000 };
static char *blocks[BLOCKS];
static size_t requested[BLOCKS];
static size_t visits[BLOCKS];
static size_t seen, seen_bytes;

/* No test may allocate while it walks, so blocks are found by a table sorted beforehand. */
static size_t order[BLOCKS];

static int by_address(const void *a, const void *b)
{
    const char *first = blocks[*(const size_t *)a];
    const char *second = blocks[*(const size_t *)b];
    return first < second ? -1 : first > second;
}

static void sort_blocks(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        order[i] = i;
        visits[i] = 0;
    }
    qsort(order, BLOCKS, sizeof order[0], by_address);
    seen = seen_bytes = 0;
}

/* The last block that starts at ADDRESS or below it, or -1. */
static long find(const char *address)
{
    size_t low = 0;
    size_t high = BLOCKS;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (blocks[order[middle]] <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? -1 : (long)order[low - 1];
}

static int allocate_mixture(void **state)
{
    struct random random = {12};
    for (size_t i = 0; i < BLOCKS; i++) {
        requested[i] = random_size(&random, i % 50 == 0 ? 21 : 13);
        blocks[i] = malloc(requested[i]);
        require(blocks[i] != NULL);
    }
    /* Holes, filled with blocks of other sizes. */
    for (size_t i = 0; i < BLOCKS; i += 3)
        free(blocks[i]);
    for (size_t i = 0; i < BLOCKS; i += 3) {
        requested[i] = random_size(&random, 12);
        blocks[i] = malloc(requested[i]);
        require(blocks[i] != NULL);
    }
    sort_blocks();
    return 0;
}

static int free_mixture(void **state)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    return 0;
}

static bool count_block(void *block, size_t usable, void *argument)
{
    require(argument == &seen);
    seen++;
    seen_bytes += usable;
    long i = find(block);
    if (i >= 0 && blocks[i] == block) {
        visits[i]++;
        require(usable >= requested[i]);
    }
    return true;
}

static void every_live_block_is_visited_once(void **state)
{
    struct cal_statistics now = statistics();
    assert_true(cal_walk_blocks(count_block, &seen));
    for (size_t i = 0; i < BLOCKS; i++)
        assert_int_equal(visits[i], 1);
    assert_int_equal(seen, now.active_allocations);
    if (!test_is_annotated())
        assert_int_equal(seen_bytes, now.active_bytes);
}

static void freed_blocks_are_not_visited(void **state)
{
    for (size_t i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);
    seen = seen_bytes = 0;
    size_t live = statistics().active_allocations;
    assert_true(cal_walk_blocks(count_block, &seen));
    assert_int_equal(seen, live);
    for (size_t i = 0; i < BLOCKS; i++)
        assert_int_equal(visits[i], i % 2);
    for (size_t i = 0; i < BLOCKS; i += 2)
        blocks[i] = NULL;
}

static void *free_odd(void *argument)
{
    for (size_t i = 1; i < BLOCKS; i += 2) {
        free(blocks[i]);
    }
    return argument;
}

/* They lie in lists of the pages that their owner has not looked at yet. */
static void remotely_freed_blocks_are_not_visited(void **state)
{
    warm_up_threads(1);
    pthread_t thread;
    start_thread(&thread, free_odd, NULL);
    join_thread(thread);
    size_t live = statistics().active_allocations;
    assert_true(cal_walk_blocks(count_block, &seen));
    assert_int_equal(seen, live);
    for (size_t i = 0; i < BLOCKS; i++)
        assert_int_equal(visits[i], (i + 1) % 2);
    for (size_t i = 1; i < BLOCKS; i += 2)
        blocks[i] = NULL;
}

static bool stop_after(void *block, size_t usable, void *argument)
{
    size_t *left = argument;
    require(*left > 0);
    return --*left != 0;
}

static void the_walk_of_blocks_stops_early(void **state)
{
    for (size_t count = 1; count < 200; count *= 3) {
        size_t left = count;
        assert_false(cal_walk_blocks(stop_after, &left));
        assert_int_equal(left, 0);
    }
}

/* Regions. */

enum { REGIONS = 5000 };
static struct cal_region regions[REGIONS];
static size_t region_count;

static bool collect(const struct cal_region *region, void *argument)
{
    require(argument == &region_count && region_count < REGIONS);
    regions[region_count++] = *region;
    return true;
}

static int by_start(const void *a, const void *b)
{
    const struct cal_region *first = a;
    const struct cal_region *second = b;
    return first->address < second->address ? -1 : first->address > second->address;
}

static void collect_regions(void)
{
    region_count = 0;
    assert_true(cal_walk_regions(collect, &region_count));
    qsort(regions, region_count, sizeof regions[0], by_start);
}

static void regions_do_not_overlap(void **state)
{
    collect_regions();
    assert_true(region_count > 10);
    for (size_t i = 0; i + 1 < region_count; i++) {
        char *end = (char *)regions[i].address + regions[i].length;
        assert_true(end <= (char *)regions[i + 1].address);
    }
}

static void every_block_is_in_one_region(void **state)
{
    static size_t inside[REGIONS];
    memset(inside, 0, sizeof inside);
    collect_regions();
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t found = 0;
        for (size_t j = 0; j < region_count; j++) {
            const struct cal_region *region = &regions[j];
            char *start = region->address;
            if (blocks[i] < start || blocks[i] >= start + region->length)
                continue;
            found++;
            inside[j]++;
            assert_int_not_equal(region->kind, CAL_REGION_FREE);
            assert_true(region->block_size >= requested[i]);
            assert_true(blocks[i] + requested[i] <= start + region->length);
            if (region->kind == CAL_REGION_SLAB)
                assert_int_equal((size_t)(blocks[i] - start) % region->block_size, 0);
            else if (!TEST_SLOTS)
                assert_ptr_equal(blocks[i], start);
        }
        assert_int_equal(found, 1);
    }
    for (size_t j = 0; j < region_count; j++)
        assert_true(inside[j] <= regions[j].live);
}

static void counts_of_regions_add_up(void **state)
{
    struct cal_statistics now = statistics();
    region_count = 0;
    assert_true(cal_walk_regions(collect, &region_count));
    size_t live = 0;
    for (size_t i = 0; i < region_count; i++) {
        const struct cal_region *region = &regions[i];
        assert_int_equal(region->size, sizeof *region);
        assert_true(region->live <= region->blocks);
        if (region->kind == CAL_REGION_SLAB)
            assert_true(region->blocks * region->block_size <= region->length);
        if (region->kind == CAL_REGION_FREE)
            assert_int_equal(region->live, 0);
        live += region->live;
    }
    assert_int_equal(live, now.active_allocations);
}

static bool stop_at_third(const struct cal_region *region, void *argument)
{
    return ++*(size_t *)argument < 3;
}

static void the_walk_of_regions_stops_early(void **state)
{
    size_t count = 0;
    assert_false(cal_walk_regions(stop_at_third, &count));
    assert_int_equal(count, 3);
}

/* A kept mapping is known, and not live. */
static void a_freed_large_block_is_a_free_region(void **state)
{
    malloc_trim(0);
    char *block = malloc((size_t)7 << 20);
    for (int freed = 0; freed < 2; freed++) {
        if (freed)
            free(block);
        collect_regions();
        size_t found = 0;
        for (size_t i = 0; i < region_count; i++) {
            char *start = regions[i].address;
            if (start > block || block >= start + regions[i].length)
                continue;
            found++;
            assert_int_equal(regions[i].kind, freed ? CAL_REGION_FREE : CAL_REGION_MAPPING);
            assert_int_equal(regions[i].live, freed ? 0 : 1);
            assert_int_equal(regions[i].dirty, freed);
        }
        assert_int_equal(found, 1);
    }
}

static void a_merged_block_is_visited_once_with_all_its_bytes(void **state)
{
    if (test_is_annotated()) {
        print_message("under memcheck no block grows in place: nothing to see here\n");
        return;
    }
    char *row[30];
    for (size_t i = 0; i < 30; i++)
        row[i] = malloc(832);
    for (size_t i = 0; i < 29; i++) {
        if (row[i + 1] != row[i] + 832)
            continue;
        free(row[i + 1]);
        row[i + 1] = NULL;
        if (cal_try_reallocate_in_place(row[i], 1664) != row[i])
            fail();
        blocks[0] = row[i];
        requested[0] = 1664;
        for (size_t j = 1; j < BLOCKS; j++)
            blocks[j] = NULL;
        sort_blocks();
        size_t live = statistics().active_allocations;
        assert_true(cal_walk_blocks(count_block, &seen));
        assert_int_equal(visits[0], 1);
        assert_int_equal(seen, live);
        for (size_t j = 0; j < 30; j++)
            free(row[j]);
        return;
    }
    fail_msg("no two neighbours among thirty blocks");
}

#define mixed(function) cmocka_unit_test_setup_teardown(function, allocate_mixture, free_mixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        mixed(every_live_block_is_visited_once),
        mixed(freed_blocks_are_not_visited),
        mixed(remotely_freed_blocks_are_not_visited),
        mixed(the_walk_of_blocks_stops_early),
        mixed(regions_do_not_overlap),
        mixed(every_block_is_in_one_region),
        mixed(counts_of_regions_add_up),
        mixed(the_walk_of_regions_stops_early),
        cmocka_unit_test(a_freed_large_block_is_a_free_region),
        cmocka_unit_test(a_merged_block_is_visited_once_with_all_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
