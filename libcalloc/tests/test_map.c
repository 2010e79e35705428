/* The map from addresses to descriptors, with descriptors of places where nothing is. */
#include "support.h"

#include "map.h"
#include "span.h"

/* One window of the map, in granules. */
#define WINDOW ((uint64_t)CAL_MAP_ENTRIES)

static void describe(struct cal__page *page, uint64_t first, size_t granules)
{
    memset(page, 0, sizeof *page);
    atomic_store(&page->granules, (uint32_t)granules);
    atomic_store(&page->tag, first);
}

/* The first of COUNT granules in an empty part of the address space whose entries in the window
 * are free, so that a test knows who will have them. */
static uint64_t unused_granules(size_t count)
{
    for (uint64_t low = 0; low + count < WINDOW; low += count) {
        bool taken = false;
        for (uint64_t i = low; i < low + count; i++)
            taken |= cal__map.entry[i] != 0;
        if (!taken)
            return 5 * WINDOW + low;
    }
    fail();
    return 0;
}

static void nothing_is_found_where_nothing_is(void **state)
{
    assert_null(cal__map_find(0));
    assert_null(cal__map_find(unused_granules(1)));
    assert_null(cal__map_find(UINT64_MAX));
    assert_null(cal__map_find(UINT64_MAX >> CAL_GRANULE_SHIFT));
}

static void a_page_is_found_until_it_is_cleared(void **state)
{
    static struct cal__page page;
    uint64_t first = unused_granules(1);
    describe(&page, first, 1);
    assert_true(cal__map_reserve(first, 1));
    assert_null(cal__map_find(first));
    cal__map_set(&page, first, 1);
    assert_ptr_equal(cal__map_find(first), &page);
    assert_ptr_equal(cal__map_candidate((void *)(first << CAL_GRANULE_SHIFT)), &page);
    cal__map_clear(&page, first, 1);
    assert_null(cal__map_find(first));
}

static void all_granules_of_a_slab_are_found_and_no_more(void **state)
{
    static struct cal__page page;
    uint64_t first = unused_granules(10) + 1;
    describe(&page, first, 8);
    assert_true(cal__map_reserve(first, 8));
    cal__map_set(&page, first, 8);
    assert_null(cal__map_find(first - 1));
    for (uint64_t i = 0; i < 8; i++)
        assert_ptr_equal(cal__map_find(first + i), &page);
    assert_null(cal__map_find(first + 8));
    cal__map_clear(&page, first, 8);
    for (uint64_t i = 0; i < 8; i++)
        assert_null(cal__map_find(first + i));
}

/* Only the first granule of a large block is known: its inside is no block. */
static void a_page_may_be_known_by_one_granule_only(void **state)
{
    static struct cal__page page;
    uint64_t first = unused_granules(4);
    describe(&page, first, 4);
    assert_true(cal__map_reserve(first, 4));
    cal__map_set(&page, first, 1);
    assert_ptr_equal(cal__map_find(first), &page);
    for (uint64_t i = 1; i < 4; i++)
        assert_null(cal__map_find(first + i));
    cal__map_clear(&page, first, 1);
}

enum { RIVALS = 4 };
static struct cal__page rivals[RIVALS];

/* Pages whose granules have the same entry in the window. */
static uint64_t set_rivals(void)
{
    uint64_t first = unused_granules(1);
    for (uint64_t i = 0; i < RIVALS; i++) {
        describe(&rivals[i], first + i * WINDOW, 1);
        assert_true(cal__map_reserve(first + i * WINDOW, 1));
        cal__map_set(&rivals[i], first + i * WINDOW, 1);
    }
    return first;
}

static void conflicts_overflow_into_leaves(void **state)
{
    uint64_t first = set_rivals();
    for (uint64_t i = 0; i < RIVALS; i++)
        assert_ptr_equal(cal__map_find(first + i * WINDOW), &rivals[i]);
    assert_null(cal__map_find(first + RIVALS * WINDOW));
    for (uint64_t i = 0; i < RIVALS; i++)
        cal__map_clear(&rivals[i], first + i * WINDOW, 1);
}

/* Each order of leaving: those who stay are found, those who left are not. */
static void rivals_may_leave_in_any_order(void **state)
{
    static const unsigned orders[][RIVALS] = {
        {0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}};
    for (size_t order = 0; order < 4; order++) {
        uint64_t first = set_rivals();
        bool there[RIVALS] = {true, true, true, true};
        for (size_t step = 0; step < RIVALS; step++) {
            unsigned who = orders[order][step];
            cal__map_clear(&rivals[who], first + who * WINDOW, 1);
            there[who] = false;
            for (uint64_t i = 0; i < RIVALS; i++)
                assert_ptr_equal(cal__map_find(first + i * WINDOW), there[i] ? &rivals[i] : NULL);
        }
        assert_int_equal(cal__map.entry[first & (WINDOW - 1)], 0);
    }
}

static void a_free_window_entry_is_taken_again(void **state)
{
    uint64_t first = set_rivals();
    cal__map_clear(&rivals[0], first, 1);
    cal__map_set(&rivals[0], first, 1);
    assert_ptr_equal(cal__map_candidate((void *)(first << CAL_GRANULE_SHIFT)), &rivals[0]);
    for (uint64_t i = 0; i < RIVALS; i++) {
        assert_ptr_equal(cal__map_find(first + i * WINDOW), &rivals[i]);
        cal__map_clear(&rivals[i], first + i * WINDOW, 1);
    }
}

static void a_page_may_lie_across_two_windows(void **state)
{
    static struct cal__page page;
    uint64_t first = 9 * WINDOW - 4;
    describe(&page, first, 8);
    assert_true(cal__map_reserve(first, 8));
    cal__map_set(&page, first, 8);
    for (uint64_t i = 0; i < 8; i++)
        assert_ptr_equal(cal__map_find(first + i), &page);
    cal__map_clear(&page, first, 8);
    for (uint64_t i = 0; i < 8; i++)
        assert_null(cal__map_find(first + i));
}

static void addresses_beyond_user_space_are_refused(void **state)
{
    uint64_t end = (uint64_t)1 << (CAL_ADDRESS_BITS - CAL_GRANULE_SHIFT);
    assert_true(cal__map_reserve(end - 1, 1));
    assert_false(cal__map_reserve(end, 1));
    assert_false(cal__map_reserve(end - 1, 2));
}

/* Any value may be asked about; the answer is NULL or a page that contains it. */
static void any_64_bit_value_may_be_asked(void **state)
{
    struct random random = {77};
    void *block = malloc(100);
    uintptr_t anchor = (uintptr_t)block;
    for (size_t i = 0; i < test_repeat(2000000); i++) {
        uintptr_t value = random_next(&random);
        switch (i % 4) {
        case 0:
            value >>= 16;
            break;
        case 1: /* near what there is */
            value = anchor + (value & 0xffffff) - 0x800000;
            break;
        case 2: /* the same place in other windows */
            value = anchor ^ (value << 34);
            break;
        default:
            break;
        }
        uint64_t granule = cal__granule_of((void *)value);
        struct cal__page *page = cal__map_find(granule);
        if (page != NULL) {
            assert_true(granule >= page->tag);
            assert_true(granule - page->tag < cal__page_granules(page));
        }
    }
    assert_non_null(cal__map_find(cal__granule_of(block)));
    free(block);
}

static void live_blocks_are_found(void **state)
{
    static const size_t sizes[] = {1, 1000, 8192, 8193, 131072, 200000, 1 << 20, 3000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *block = malloc(sizes[i]);
        struct cal__page *page = cal__map_find(cal__granule_of(block));
        assert_non_null(page);
        assert_true(cal__page_start(page) <= block);
        free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_found_where_nothing_is),
        cmocka_unit_test(a_page_is_found_until_it_is_cleared),
        cmocka_unit_test(all_granules_of_a_slab_are_found_and_no_more),
        cmocka_unit_test(a_page_may_be_known_by_one_granule_only),
        cmocka_unit_test(conflicts_overflow_into_leaves),
        cmocka_unit_test(rivals_may_leave_in_any_order),
        cmocka_unit_test(a_free_window_entry_is_taken_again),
        cmocka_unit_test(a_page_may_lie_across_two_windows),
        cmocka_unit_test(addresses_beyond_user_space_are_refused),
        cmocka_unit_test(any_64_bit_value_may_be_asked),
        cmocka_unit_test(live_blocks_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
