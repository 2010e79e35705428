/* Runs of granules: cut, joined, grown, purged and unmapped, with the whole address space checked
 * in between. */
#include "support.h"

#include <calloc/hooks.h>
#include <sys/resource.h>

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

/* Regions fill the segments without gap or overlap but for huge blocks, and free neighbours of the
 * same state are one. */
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

static void assert_few_faults(long before, size_t most)
{
    if (!test_is_slow())
        assert_in_range(faults() - before, 0, most);
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

static void stamp(struct cal__page *page, size_t seed)
{
    for (size_t i = 0; i < cal__page_granules(page); i++)
        fill(cal__page_start(page) + i * CAL_GRANULE, 64, seed + i);
}

static bool is_stamped(const struct cal__page *page, size_t granules, size_t seed)
{
    bool good = true;
    for (size_t i = 0; i < granules; i++)
        good = good && is_filled(cal__page_start(page) + i * CAL_GRANULE, 64, seed + i);
    return good;
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
        bool huge = i % 4 == 0;
        if (pages[i] == NULL) {
            pages[i] = cal__span_allocate(1 + random_below(&random, huge ? 60 : 20),
                                          (size_t)1 << random_below(&random, 4),
                                          huge ? CAL_PAGE_HUGE : CAL_PAGE_RUN, action < 2);
            assert_non_null(pages[i]);
            if (pages[i]->zeroed)
                assert_true(is_zero(cal__page_start(pages[i]), cal__page_bytes(pages[i])));
        } else {
            size_t old = cal__page_granules(pages[i]);
            assert_true(is_stamped(pages[i], old, seeds[i]));
            if (action < 5) {
                cal__span_release(pages[i]);
                pages[i] = NULL;
                continue;
            }
            if (action < 7)
                cal__span_extend(pages[i], old + 1 + random_below(&random, 3));
            else if (action < 9 && old > 1)
                cal__span_shrink(pages[i], 1 + random_below(&random, old - 1));
            else if (huge)
                assert_true(cal__span_move(pages[i], old + 1 + random_below(&random, 50)));
            size_t now = cal__page_granules(pages[i]);
            assert_true(is_stamped(pages[i], old < now ? old : now, seeds[i]));
        }
        seeds[i] = step;
        stamp(pages[i], step);
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
    /* qsort() may have got itself slabs meanwhile. */
    assert_in_range(used_bytes(), before, before + 32 * CAL_GRANULE);
    assert_tidy();
}

/* Blocks of several granules with something live between them, all but those freed. */
enum { ISLANDS = 12 };

static void leave_islands(struct cal__page *islands[ISLANDS], size_t granules)
{
    struct cal__page *between[ISLANDS];
    for (size_t i = 0; i < ISLANDS; i++) {
        between[i] = take(granules, 1);
        islands[i] = take(1, 1);
        fill(cal__page_start(between[i]), cal__page_bytes(between[i]), 9);
        fill(cal__page_start(islands[i]), CAL_GRANULE, i);
    }
    for (size_t i = 0; i < ISLANDS; i++)
        cal__span_release(between[i]);
}

static void release_islands(struct cal__page *islands[ISLANDS])
{
    for (size_t i = 0; i < ISLANDS; i++) {
        assert_true(is_filled(cal__page_start(islands[i]), CAL_GRANULE, i));
        cal__span_release(islands[i]);
    }
}

static struct cal__page *take_huge(size_t granules, bool zeroed)
{
    struct cal__page *page = cal__span_allocate(granules, 1, CAL_PAGE_HUGE, zeroed);
    assert_non_null(page);
    return page;
}

static int keep_free_runs(void **state)
{
    cal__options.purge_delay = 3600000;
    cal__span_unmap_all();
    return 0;
}

static int as_usual(void **state)
{
    cal__options.purge_delay = 500;
    cal__options.retain = UINT64_MAX;
    cal__span_unmap_all();
    return 0;
}

static void pages_of_several_runs_make_one_block(void **state)
{
    struct cal__page *islands[ISLANDS];
    leave_islands(islands, 40);
    assert_in_range(cal__span_statistics().dirty_bytes, ISLANDS * 40 * CAL_GRANULE, SIZE_MAX);
    long before = faults();
    struct cal__page *page = take_huge(ISLANDS * 40, false);
    assert_false(page->zeroed);
    memset(cal__page_start(page), 1, cal__page_bytes(page));
    /* A fault for each of its pages would be sixteen per granule. */
    assert_few_faults(before, ISLANDS * 40 * 2);
    assert_in_range(cal__span_statistics().dirty_bytes, 0, 10 * CAL_GRANULE);
    assert_tidy();
    release_islands(islands);
    cal__span_release(page);
    assert_tidy();
}

static void what_was_moved_can_be_moved_again(void **state)
{
    struct cal__page *islands[ISLANDS];
    leave_islands(islands, 30);
    struct cal__page *page = take_huge(ISLANDS * 30, false);
    fill(cal__page_start(page), cal__page_bytes(page), 5);
    for (size_t granules = ISLANDS * 30 + 100; granules < 2000; granules += 333) {
        size_t old = cal__page_granules(page);
        char *start = cal__page_start(page);
        long before = faults();
        assert_true(cal__span_move(page, granules));
        assert_ptr_not_equal(cal__page_start(page), start);
        const struct cal__page *there = cal__map_find(cal__granule_of(start));
        assert_true(there == NULL || there->kind == CAL_PAGE_FREE);
        assert_ptr_equal(cal__map_find(cal__granule_of(cal__page_start(page))), page);
        assert_int_equal(cal__page_granules(page), granules);
        assert_true(is_filled(cal__page_start(page), old * CAL_GRANULE, 5));
        assert_few_faults(before, old);
        fill(cal__page_start(page), cal__page_bytes(page), 5);
        assert_tidy();
    }
    release_islands(islands);
    cal__span_release(page);
    assert_tidy();
}

static void zeros_are_zeros_also_in_pages_that_were_moved(void **state)
{
    struct cal__page *islands[ISLANDS];
    leave_islands(islands, 50);
    for (size_t granules = 100; granules <= 1600; granules *= 2) {
        struct cal__page *page = take_huge(granules, true);
        if (page->zeroed)
            assert_true(is_zero(cal__page_start(page), cal__page_bytes(page)));
        memset(cal__page_start(page), 1, cal__page_bytes(page));
        cal__span_release(page);
        assert_tidy();
    }
    release_islands(islands);
}

/* Runs that are too short to be moved go back when fresh memory comes on top. */
static void free_memory_does_not_add_to_the_peak(void **state)
{
    enum { COUNT = 400 };
    static struct cal__page *pages[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        pages[i] = take(1, 1);
        *cal__page_start(pages[i]) = 1;
    }
    for (size_t i = 0; i < COUNT; i += 2)
        cal__span_release(pages[i]);
    assert_in_range(cal__span_statistics().dirty_bytes, COUNT / 2 * CAL_GRANULE, SIZE_MAX);
    size_t used = used_bytes();
    struct cal__page *page = take_huge(20000, false);
    size_t most = used + cal__page_bytes(page);
    assert_in_range(most + cal__span_statistics().dirty_bytes, 0, most + most / 16 + CAL_GRANULE);
    cal__span_release(page);
    cal__span_unmap_all();
    for (size_t i = 0; i < COUNT; i += 2) {
        pages[i] = take(1, 1);
        *cal__page_start(pages[i]) = 1;
    }
    for (size_t i = 0; i < COUNT; i += 2)
        cal__span_release(pages[i]);
    for (size_t i = 1; i < COUNT; i += 2)
        cal__span_release(pages[i]);
    assert_tidy();
}

/* What a slab has not cut takes no room of what may be retained. */
static void slabs_are_in_use_as_far_as_they_are_touched(void **state)
{
    enum { COUNT = 100 };
    static struct cal__page *slabs[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        slabs[i] = cal__span_allocate(8, 1, CAL_PAGE_SLAB, true);
        assert_non_null(slabs[i]);
        assert_true(slabs[i]->zeroed);
        assert_int_equal(slabs[i]->touched, 0);
        cal__span_touch(slabs[i], 1 + i % 8);
        assert_int_equal(slabs[i]->touched, 1 + i % 8);
    }
    for (size_t i = 0; i < COUNT; i++)
        cal__span_release(slabs[i]);
    assert_tidy();
    /* All of it is dirty now, and in use from the start. */
    for (size_t i = 0; i < COUNT; i++) {
        slabs[i] = cal__span_allocate(8, 1, CAL_PAGE_SLAB, false);
        assert_non_null(slabs[i]);
        assert_int_equal(slabs[i]->touched, 8);
    }
    for (size_t i = 0; i < COUNT; i++)
        cal__span_release(slabs[i]);
    assert_tidy();
}

/* Slabs that grow bring no more memory on top of what was in use once than large blocks do. */
static void growing_slabs_do_not_add_to_the_peak(void **state)
{
    enum { COUNT = 400 };
    static struct cal__page *slabs[COUNT];
    static struct cal__page *runs[COUNT];
    size_t used = used_bytes();
    struct cal__page *page = take_huge(22000, true);
    size_t most = used + cal__page_bytes(page);
    cal__span_release(page);
    cal__span_unmap_all();
    /* As much again in short runs, so that the pages of none can be moved. */
    for (size_t i = 0; i < COUNT; i++)
        runs[i] = take(55, 1);
    for (size_t i = 0; i < COUNT; i++)
        slabs[i] = cal__span_allocate(8, 1, CAL_PAGE_SLAB, true);
    for (size_t i = 0; i < COUNT; i++)
        cal__span_release(runs[i]);
    size_t dirty = cal__span_statistics().dirty_bytes;
    assert_in_range(dirty, COUNT * 55 * CAL_GRANULE, SIZE_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        require(slabs[i] != NULL);
        cal__span_touch(slabs[i], 8);
    }
    assert_in_range(used_bytes() + cal__span_statistics().dirty_bytes, 0,
                    most + most / 16 + CAL_GRANULE);
    assert_in_range(cal__span_statistics().dirty_bytes, 0, dirty - 1);
    for (size_t i = 0; i < COUNT; i++)
        cal__span_release(slabs[i]);
    assert_tidy();
}

static void no_more_is_kept_than_the_option_allows(void **state)
{
    cal__options.retain = 100 * CAL_GRANULE;
    struct cal__page *page = take_huge(500, false);
    fill(cal__page_start(page), cal__page_bytes(page), 1);
    cal__span_shrink(page, 450);
    assert_int_equal(cal__span_statistics().dirty_bytes, 50 * CAL_GRANULE);
    cal__span_release(page);
    assert_int_equal(cal__span_statistics().dirty_bytes, 100 * CAL_GRANULE);
    assert_tidy();
    cal__options.retain = 0;
    cal__span_release(take(3, 1));
    assert_int_equal(cal__span_statistics().dirty_bytes, 0);
    assert_tidy();
}

static void a_block_grows_over_several_free_neighbours(void **state)
{
    struct cal__page *page = take_huge(200, true);
    char *start = cal__page_start(page);
    fill(start, cal__page_bytes(page), 2);
    /* Behind what stays: dirty, then clean. */
    cal__span_shrink(page, 160);
    cal__span_purge_all();
    assert_true(cal__span_extend(page, 180));
    start[179 * CAL_GRANULE] = 1;
    cal__span_shrink(page, 140);
    assert_tidy();
    size_t used = cal__span_statistics().dirty_bytes + cal__span_statistics().clean_bytes;
    assert_true(cal__span_extend(page, 195));
    assert_int_equal(cal__span_statistics().dirty_bytes + cal__span_statistics().clean_bytes,
                     used - 55 * CAL_GRANULE);
    assert_true(is_filled(start, 140 * CAL_GRANULE, 2));
    fill(start, cal__page_bytes(page), 3);
    assert_true(is_filled(start, cal__page_bytes(page), 3));
    assert_tidy();
    cal__span_release(page);
    assert_tidy();
}

static void huge_pages_are_asked_for(void **state)
{
    cal__options.huge_pages = 1;
    for (size_t granules = 32; granules < 3000; granules = granules * 2 + 7) {
        struct cal__page *page = take_huge(granules, false);
        char *start = cal__page_start(page);
        assert_int_equal((uintptr_t)start % (2 << 20), 0);
        fill(start, cal__page_bytes(page), granules);
        assert_true(cal__span_move(page, granules + 1000));
        assert_true(is_filled(cal__page_start(page), granules * CAL_GRANULE, granules));
        cal__span_release(page);
        assert_tidy();
    }
    cal__options.huge_pages = 0;
}

static void prefaulted_blocks_have_their_pages(void **state)
{
    cal__options.prefault = 1;
    struct cal__page *page = take_huge(300, false);
    long before = faults();
    for (size_t i = 0; i < cal__page_bytes(page); i += CAL_OS_PAGE)
        cal__page_start(page)[i] = 1;
    if (can_populate())
        assert_few_faults(before, 300);
    cal__span_release(page);
    cal__options.prefault = 0;
    assert_tidy();
}

#define test(function) cmocka_unit_test_setup_teardown(function, keep_free_runs, as_usual)

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
        test(pages_of_several_runs_make_one_block),
        test(what_was_moved_can_be_moved_again),
        test(zeros_are_zeros_also_in_pages_that_were_moved),
        test(free_memory_does_not_add_to_the_peak),
        test(slabs_are_in_use_as_far_as_they_are_touched),
        test(growing_slabs_do_not_add_to_the_peak),
        test(no_more_is_kept_than_the_option_allows),
        test(a_block_grows_over_several_free_neighbours),
        test(huge_pages_are_asked_for),
        test(prefaulted_blocks_have_their_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
