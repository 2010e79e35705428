/* Runs of granules: cut, joined, grown, purged and unmapped, with the whole address space checked
 * in between. */
#include "support.h"

#include <calloc/hooks.h>

#include "options.h"
#include "os.h"
#include "span.h"

enum { REGIONS = 20000 };
static struct cal_region regions[REGIONS];
static size_t region_count;

static bool collect(const struct cal_region *region, void *argument)
{
    require(region_count < REGIONS);
    if (region->kind != CAL_REGION_MAPPING)
        regions[region_count++] = *region;
    return true;
}

static int by_address(const void *a, const void *b)
{
    const struct cal_region *first = a;
    const struct cal_region *second = b;
    return first->address < second->address ? -1 : first->address > second->address;
}

/* Regions fill the segments without gap or overlap, and free neighbours of the same state are one. */
static void assert_tidy(void)
{
    region_count = 0;
    assert_true(cal_walk_regions(collect, NULL));
    /* Now, as qsort() allocates. */
    struct cal__span_statistics now = cal__span_statistics();
    size_t bytes = 0;
    size_t free_bytes[2] = {0, 0};
    size_t free_runs[2] = {0, 0};
    qsort(regions, region_count, sizeof regions[0], by_address);
    for (size_t i = 0; i < region_count; i++) {
        const struct cal_region *region = &regions[i];
        bytes += region->length;
        if (region->kind == CAL_REGION_FREE) {
            free_bytes[region->dirty] += region->length;
            free_runs[region->dirty]++;
        }
        if (i + 1 == region_count)
            break;
        const struct cal_region *next = &regions[i + 1];
        char *end = (char *)region->address + region->length;
        assert_true(end <= (char *)next->address);
        if (end == (char *)next->address && region->kind == CAL_REGION_FREE &&
            next->kind == CAL_REGION_FREE)
            assert_int_not_equal(region->dirty, next->dirty);
    }
    assert_int_equal(bytes, now.segment_bytes);
    assert_int_equal(free_bytes[0], now.clean_bytes);
    assert_int_equal(free_bytes[1], now.dirty_bytes);
    assert_int_equal(free_runs[0], now.clean_runs);
    assert_int_equal(free_runs[1], now.dirty_runs);
}

static size_t used_bytes(void)
{
    struct cal__span_statistics now = cal__span_statistics();
    return now.segment_bytes - now.clean_bytes - now.dirty_bytes;
}

static struct cal__page *take(size_t granules, size_t alignment)
{
    struct cal__page *page = cal__span_allocate(granules, alignment, CAL_PAGE_RUN, false);
    assert_non_null(page);
    assert_int_equal(cal__page_granules(page), granules);
    assert_int_equal((page->tag) % alignment, 0);
    return page;
}

static void a_run_can_be_written_and_given_back(void **state)
{
    for (size_t granules = 1; granules <= 200; granules = granules * 3 / 2 + 1) {
        size_t before = used_bytes();
        struct cal__page *page = take(granules, 1);
        assert_int_equal(used_bytes(), before + granules * CAL_GRANULE);
        fill(cal__page_start(page), cal__page_bytes(page), granules);
        assert_true(is_filled(cal__page_start(page), cal__page_bytes(page), granules));
        cal__span_release(page);
        assert_int_equal(used_bytes(), before);
        assert_tidy();
    }
}

static void every_alignment_is_met(void **state)
{
    for (size_t alignment = 1; alignment <= 256; alignment *= 2) {
        struct cal__page *first = take(3, alignment);
        struct cal__page *second = take(1, alignment);
        struct cal__page *third = take(alignment, alignment);
        assert_tidy();
        cal__span_release(second);
        cal__span_release(first);
        cal__span_release(third);
        assert_tidy();
    }
}

static void neighbours_are_joined_in_any_order(void **state)
{
    /* A run of its own segment, cut into pieces which are then freed in each order. */
    static const unsigned orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2},
                                         {2, 0, 3, 1}, {0, 2, 1, 3}, {1, 2, 0, 3}};
    for (size_t order = 0; order < 6; order++) {
        struct cal__page *whole = take(3000, 1);
        char *start = cal__page_start(whole);
        /* Pieces are made by giving the end back and taking it again. */
        struct cal__page *pieces[4] = {whole};
        for (size_t i = 0; i < 3; i++) {
            cal__span_shrink(pieces[i], 100);
            pieces[i + 1] = take(2900 - 100 * i, 1);
            assert_ptr_equal(cal__page_start(pieces[i + 1]), start + (100 * (i + 1) << 16));
        }
        for (size_t i = 0; i < 4; i++) {
            cal__span_release(pieces[orders[order][i]]);
            assert_tidy();
        }
        /* Joined, they serve what only the whole can. */
        size_t segments = cal__span_statistics().segment_bytes;
        cal__span_release(take(3000, 1));
        assert_int_equal(cal__span_statistics().segment_bytes, segments);
    }
}

static void a_run_grows_into_free_neighbours_only(void **state)
{
    struct cal__page *page = take(200, 1);
    char *start = cal__page_start(page);
    cal__span_shrink(page, 50);
    assert_int_equal(cal__page_granules(page), 50);
    fill(start, cal__page_bytes(page), 1);
    assert_true(cal__span_extend(page, 120));
    assert_int_equal(cal__page_granules(page), 120);
    assert_ptr_equal(cal__page_start(page), start);
    assert_true(is_filled(start, 50 * CAL_GRANULE, 1));
    memset(start, 1, cal__page_bytes(page));
    /* The next granules belong to somebody now. */
    struct cal__page *neighbour = take(80, 1);
    if (cal__page_start(neighbour) == start + cal__page_bytes(page)) {
        assert_false(cal__span_extend(page, 121));
        assert_int_equal(cal__page_granules(page), 120);
    }
    assert_false(cal__span_extend(page, 1000000));
    cal__span_release(neighbour);
    cal__span_release(page);
    assert_tidy();
}

static void purged_memory_is_zero_and_clean(void **state)
{
    cal__options.purge_delay = 3600000;
    struct cal__page *page = take(70, 1);
    memset(cal__page_start(page), 0xff, cal__page_bytes(page));
    cal__span_release(page);
    assert_true(cal__span_statistics().dirty_bytes >= 70 * CAL_GRANULE);
    assert_true(cal__span_purge_all());
    assert_int_equal(cal__span_statistics().dirty_bytes, 0);
    assert_false(cal__span_purge_all());
    for (int i = 0; i < 20; i++) {
        page = cal__span_allocate(30, 1, CAL_PAGE_RUN, true);
        assert_non_null(page);
        assert_true(page->zeroed);
        assert_true(is_zero(cal__page_start(page), cal__page_bytes(page)));
        cal__span_release(page);
        cal__span_purge_all();
    }
    cal__options.purge_delay = 500;
    assert_tidy();
}

static void with_no_delay_memory_is_purged_at_once(void **state)
{
    cal__options.purge_delay = 0;
    struct cal__page *page = take(20, 1);
    memset(cal__page_start(page), 0xff, cal__page_bytes(page));
    cal__span_release(page);
    cal__options.purge_delay = 500;
    assert_int_equal(cal__span_statistics().dirty_bytes, 0);
    assert_tidy();
}

static void unmapping_leaves_only_what_is_used(void **state)
{
    struct cal__page *pages[50];
    for (size_t i = 0; i < 50; i++) {
        pages[i] = take(1 + i * 5, 1);
        *cal__page_start(pages[i]) = 1;
    }
    for (size_t i = 0; i < 50; i += 2)
        cal__span_release(pages[i]);
    cal__span_unmap_all();
    struct cal__span_statistics now = cal__span_statistics();
    assert_int_equal(now.clean_bytes, 0);
    assert_int_equal(now.dirty_bytes, 0);
    assert_tidy();
    for (size_t i = 1; i < 50; i += 2) {
        assert_int_equal(*cal__page_start(pages[i]), 1);
        cal__span_release(pages[i]);
    }
    assert_tidy();
}

static void address_space_is_recycled(void **state)
{
    size_t mapped = 0;
    for (int round = 0; round < 300; round++) {
        struct cal__page *pages[40];
        for (size_t i = 0; i < 40; i++)
            pages[i] = take(1 + (i * 29 + (size_t)round) % 60, 1);
        for (size_t i = 0; i < 40; i++)
            cal__span_release(pages[(i * 7) % 40]);
        if (round % 3 == 0)
            cal__span_purge_all();
        if (round == 20)
            mapped = cal__os_mapped_peak();
    }
    /* 40 runs of up to 60 granules are 150 MiB at most; the peak is found early on. */
    assert_true(cal__os_mapped_peak() <= mapped + mapped / 4);
    assert_tidy();
}

static void random_work_stays_tidy(void **state)
{
    enum { COUNT = 300 };
    static struct cal__page *pages[COUNT];
    static size_t seeds[COUNT];
    struct random random = {99};
    size_t steps = test_repeat(20000);
    size_t before = used_bytes();
    for (size_t step = 0; step < steps; step++) {
        size_t i = random_below(&random, COUNT);
        size_t action = random_below(&random, 10);
        if (pages[i] == NULL) {
            pages[i] = take(1 + random_below(&random, 20), (size_t)1 << random_below(&random, 4));
            seeds[i] = step;
            fill(cal__page_start(pages[i]), 64, step);
        } else {
            assert_true(is_filled(cal__page_start(pages[i]), 64, seeds[i]));
            if (action < 5) {
                cal__span_release(pages[i]);
                pages[i] = NULL;
            } else if (action < 7) {
                cal__span_extend(pages[i], cal__page_granules(pages[i]) + 1);
            } else if (action < 9 && cal__page_granules(pages[i]) > 1) {
                cal__span_shrink(pages[i],
                                 1 + random_below(&random, cal__page_granules(pages[i]) - 1));
            }
        }
        if (step % 1000 == 0)
            cal__span_purge_all();
        if (step % 2500 == 0)
            cal__span_unmap_all();
        if (step % 500 == 0)
            assert_tidy();
    }
    for (size_t i = 0; i < COUNT; i++)
        if (pages[i] != NULL)
            cal__span_release(pages[i]);
    /* qsort() may have got itself a slab meanwhile. */
    assert_in_range(used_bytes(), before, before + 16 * CAL_GRANULE);
    assert_tidy();
}

static void mappings_are_known_while_registered(void **state)
{
    size_t size = 3 * CAL_GRANULE;
    char *first = cal__os_map(size, CAL_GRANULE, NULL);
    char *second = cal__os_map(size, CAL_GRANULE, NULL);
    assert_non_null(first);
    assert_non_null(second);
    struct cal__page *page = cal__span_register(first, size);
    assert_non_null(page);
    assert_int_equal(page->kind, CAL_PAGE_HUGE);
    assert_int_equal(page->size, size);
    assert_ptr_equal(cal__map_find(cal__granule_of(first)), page);
    assert_null(cal__map_find(cal__granule_of(first) + 1));
    assert_true(cal__span_rebase(page, second));
    assert_null(cal__map_find(cal__granule_of(first)));
    assert_ptr_equal(cal__map_find(cal__granule_of(second)), page);
    assert_ptr_equal(cal__page_start(page), second);
    cal__span_hide(page);
    assert_null(cal__map_find(cal__granule_of(second)));
    cal__span_unregister(page);
    assert_true(cal__os_unmap(first, size));
    assert_true(cal__os_unmap(second, size));
}

static void a_donated_mapping_serves_as_a_run(void **state)
{
    size_t before = cal__span_statistics().segment_bytes;
    size_t size = 500 * CAL_GRANULE + 4096;
    char *mapping = cal__os_map(size, CAL_GRANULE, NULL);
    assert_non_null(mapping);
    struct cal__page *page = cal__span_register(mapping, size);
    assert_non_null(page);
    cal__span_hide(page);
    cal__span_donate(page, size, true);
    assert_int_equal(cal__span_statistics().segment_bytes, before + 500 * CAL_GRANULE);
    assert_tidy();
    cal__span_unmap_all();
    assert_tidy();
    assert_true(cal__os_unmap(mapping + 500 * CAL_GRANULE, 4096));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_can_be_written_and_given_back),
        cmocka_unit_test(every_alignment_is_met),
        cmocka_unit_test(neighbours_are_joined_in_any_order),
        cmocka_unit_test(a_run_grows_into_free_neighbours_only),
        cmocka_unit_test(purged_memory_is_zero_and_clean),
        cmocka_unit_test(with_no_delay_memory_is_purged_at_once),
        cmocka_unit_test(unmapping_leaves_only_what_is_used),
        cmocka_unit_test(address_space_is_recycled),
        cmocka_unit_test(random_work_stays_tidy),
        cmocka_unit_test(mappings_are_known_while_registered),
        cmocka_unit_test(a_donated_mapping_serves_as_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
