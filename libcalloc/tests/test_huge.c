/* Blocks in mappings of their own: the cache of freed ones, resizing, moving. */
#include "support.h"

#include "huge.h"
#include "map.h"
#include "options.h"
#include "os.h"

#define MIB ((size_t)1 << 20)

_Static_assert(CAL_RUN_MAX < 8 * MIB, "all blocks of these tests are in mappings of their own");

/* Less by the redzone that each block has under memcheck, so that mappings are of SIZE there too. */
static void *get(size_t size)
{
    void *block = malloc(size - 16);
    require(block != NULL);
    return block;
}

static int keep_mappings(void **state)
{
    /* Long enough that no delay ends within a test. */
    cal__options.purge_delay = 3600000;
    cal__huge_purge(true);
    return 0;
}

static void a_freed_mapping_is_used_again(void **state)
{
    void *first = get(9 * MIB);
    free(first);
    assert_int_equal(cal__huge_statistics().cached_bytes, 9 * MIB);
    void *second = get(9 * MIB);
    assert_ptr_equal(second, first);
    assert_int_equal(cal__huge_statistics().cached_bytes, 0);
    free(second);
}

static void a_kept_mapping_serves_no_much_smaller_block(void **state)
{
    void *large = get(40 * MIB);
    free(large);
    void *small = get(8 * MIB);
    assert_ptr_not_equal(small, large);
    assert_int_equal(cal__huge_statistics().cached_bytes, 40 * MIB);
    void *slightly_smaller = get(39 * MIB);
    assert_ptr_equal(slightly_smaller, large);
    assert_in_range(malloc_usable_size(slightly_smaller), 39 * MIB - 16, 39 * MIB);
    free(small);
    free(slightly_smaller);
}

static void calloc_of_a_kept_mapping_is_zero(void **state)
{
    unsigned char *block = get(10 * MIB);
    memset(block, 0xff, 10 * MIB - 16);
    free(block);
    unsigned char *again = calloc(1, 10 * MIB - 16);
    assert_ptr_equal(again, block);
    assert_true(is_zero(again, 10 * MIB - 16));
    free(again);
}

static void the_cache_has_a_limit_in_bytes(void **state)
{
    void *blocks[6];
    for (size_t i = 0; i < 6; i++)
        blocks[i] = get(20 * MIB);
    for (size_t i = 0; i < 6; i++) {
        free(blocks[i]);
        assert_true(cal__huge_statistics().cached_bytes <= cal__options.huge_cache);
    }
    assert_true(cal__huge_statistics().cached_bytes >= 20 * MIB);
}

static void free_many(void)
{
    void *blocks[40];
    for (size_t i = 0; i < 40; i++)
        require((blocks[i] = get(CAL_RUN_MAX + 65536 * (i + 1))) != NULL);
    for (size_t i = 0; i < 40; i++)
        free(blocks[i]);
}

static void the_cache_has_a_limit_in_mappings(void **state)
{
    uint64_t saved = cal__options.huge_cache;
    cal__options.huge_cache = (uint64_t)1 << 30;
    /* Once beforehand, for the descriptors and the map. */
    free_many();
    cal__huge_purge(true);
    size_t before = cal__os_mapped();
    free_many();
    size_t kept = cal__huge_statistics().cached_bytes;
    assert_in_range(kept, 10 * CAL_RUN_MAX, 16 * (CAL_RUN_MAX + 65536 * 40));
    assert_int_equal(cal__os_mapped(), before + kept);
    assert_true(cal__huge_purge(true));
    assert_int_equal(cal__huge_statistics().cached_bytes, 0);
    assert_int_equal(cal__os_mapped(), before);
    assert_false(cal__huge_purge(true));
    cal__options.huge_cache = saved;
}

static void without_a_delay_nothing_is_kept(void **state)
{
    size_t before = cal__os_mapped();
    cal__options.purge_delay = 0;
    free(get(8 * MIB));
    cal__options.purge_delay = 3600000;
    assert_int_equal(cal__huge_statistics().cached_bytes, 0);
    assert_int_equal(cal__os_mapped(), before);
}

static void without_a_cache_nothing_is_kept(void **state)
{
    uint64_t saved = cal__options.huge_cache;
    cal__options.huge_cache = 0;
    free(get(8 * MIB));
    cal__options.huge_cache = saved;
    assert_int_equal(cal__huge_statistics().cached_bytes, 0);
}

static void kept_mappings_stay_until_their_delay_is_over(void **state)
{
    free(get(8 * MIB));
    assert_false(cal__huge_purge(false));
    assert_int_equal(cal__huge_statistics().cached_bytes, 8 * MIB);
}

static bool annotated(void)
{
    if (test_is_annotated())
        print_message("under memcheck blocks are resized by copying: nothing to see here\n");
    return test_is_annotated();
}

static void shrinking_gives_the_end_back(void **state)
{
    if (annotated())
        return;
    unsigned char *block = get(30 * MIB);
    fill(block, 3 * MIB, 1);
    size_t before = cal__os_mapped();
    assert_ptr_equal(cal_try_reallocate_in_place(block, 3 * MIB), block);
    assert_int_equal(malloc_usable_size(block), 3 * MIB);
    assert_int_equal(cal__os_mapped(), before - 27 * MIB);
    assert_true(is_filled(block, 3 * MIB, 1));
    free(block);
}

/* The pages move, their bytes are not copied: memory does not exist twice at any time. */
static void growing_moves_the_mapping_and_keeps_contents(void **state)
{
    if (annotated())
        return;
    size_t size = 8 * MIB;
    size_t obstacles = 0;
    unsigned char *block = malloc(size);
    fill(block, size, 7);
    size_t before = cal__huge_statistics().allocations;
    while (size < 2510 * MIB) {
        /* Something in the way, so that growth in place is not always possible. */
        void *obstacle = get(8 * MIB);
        obstacles++;
        unsigned char *grown = realloc(block, size * 2);
        assert_non_null(grown);
        assert_true(is_filled(grown, 8 * MIB, 7));
        if (size > 8 * MIB)
            assert_int_equal(grown[size - 1], 5);
        size *= 2;
        grown[size - 1] = 5;
        block = grown;
        free(obstacle);
    }
    /* Only the obstacles were allocated: no realloc was malloc and copy. */
    assert_int_equal(cal__huge_statistics().allocations - before, obstacles);
    free(block);
}

static void after_a_move_the_old_address_is_nobodys(void **state)
{
    if (annotated())
        return;
    void *block = get(8 * MIB);
    struct cal__page *page = cal__map_find(cal__granule_of(block));
    fill(block, 8 * MIB - 16, 3);
    void *moved = cal__huge_move(page, 20 * MIB);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    assert_ptr_equal(cal__map_find(cal__granule_of(moved)), page);
    assert_null(cal__map_find(cal__granule_of(block)));
    assert_int_equal(page->size, 20 * MIB);
    assert_true(is_filled(moved, 8 * MIB - 16, 3));
    free(moved);
}

static void alignment_is_met_also_from_the_cache(void **state)
{
    for (size_t alignment = 8 * MIB; alignment <= 2510 * MIB; alignment *= 2) {
        for (int i = 0; i < 3; i++) {
            void *block = aligned_alloc(alignment, 11 * MIB);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % alignment, 0);
            free(block);
            free(get(11 * MIB));
        }
    }
}

static void blocks_over_4_gib_work(void **state)
{
    size_t size = ((size_t)5 << 30) + 12345;
    unsigned char *block = malloc(size);
    if (block == NULL) {
        print_message("the kernel refuses 5 GiB (overcommit or a limit): only ENOMEM is checked\n");
        assert_int_equal(errno, ENOMEM);
        return;
    }
    assert_true(malloc_usable_size(block) >= size);
    for (size_t at = 0; at < size; at += (size_t)1 << 29)
        block[at] = (unsigned char)(at >> 29);
    block[size - 1] = 99;
    for (size_t at = 0; at < size; at += (size_t)1 << 29)
        assert_int_equal(block[at], at >> 29);
    assert_int_equal(block[size - 1], 99);
    free(block);
}

static void growing_beyond_4_gib_keeps_contents(void **state)
{
    unsigned char *block = malloc((size_t)3 << 30);
    unsigned char *grown = block == NULL ? NULL : realloc(block, (size_t)6 << 30);
    if (grown == NULL) {
        print_message("the kernel refuses 6 GiB (overcommit or a limit): only ENOMEM is checked\n");
        assert_int_equal(errno, ENOMEM);
        free(block);
        return;
    }
    assert_true(malloc_usable_size(grown) >= (size_t)6 << 30);
    grown[((size_t)6 << 30) - 1] = 1;
    grown[0] = 2;
    unsigned char *shrunk = realloc(grown, 2 * MIB);
    assert_non_null(shrunk);
    assert_int_equal(shrunk[0], 2);
    free(shrunk);
}

/* "The tensor that is reallocated again and again": mapped memory stays flat. */
static void allocating_in_turn_maps_nothing_new(void **state)
{
    free(get(10 * MIB));
    size_t before = cal__os_mapped();
    for (int i = 0; i < 200; i++) {
        unsigned char *block = get(10 * MIB);
        block[0] = 1;
        free(block);
        assert_int_equal(cal__os_mapped(), before);
    }
}

static void statistics_count_mappings(void **state)
{
    struct cal__huge_statistics before = cal__huge_statistics();
    void *block = get(11 * MIB);
    struct cal__huge_statistics during = cal__huge_statistics();
    assert_int_equal(during.live, before.live + 1);
    assert_int_equal(during.allocations, before.allocations + 1);
    assert_int_equal(during.live_bytes, before.live_bytes + 11 * MIB);
    assert_int_equal(during.allocated_bytes, before.allocated_bytes + 11 * MIB);
    free(block);
    struct cal__huge_statistics after = cal__huge_statistics();
    assert_int_equal(after.live, before.live);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.allocated_bytes, before.allocated_bytes + 11 * MIB);
}

#define test(function) cmocka_unit_test_setup(function, keep_mappings)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_freed_mapping_is_used_again),
        test(a_kept_mapping_serves_no_much_smaller_block),
        test(calloc_of_a_kept_mapping_is_zero),
        test(the_cache_has_a_limit_in_bytes),
        test(the_cache_has_a_limit_in_mappings),
        test(without_a_delay_nothing_is_kept),
        test(without_a_cache_nothing_is_kept),
        test(kept_mappings_stay_until_their_delay_is_over),
        test(shrinking_gives_the_end_back),
        test(growing_moves_the_mapping_and_keeps_contents),
        test(after_a_move_the_old_address_is_nobodys),
        test(alignment_is_met_also_from_the_cache),
        test(blocks_over_4_gib_work),
        test(growing_beyond_4_gib_keeps_contents),
        test(allocating_in_turn_maps_nothing_new),
        test(statistics_count_mappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
