/* The size classes and the arithmetic that tells where their blocks start, tried out whole. */
#include "support.h"

#include "page.h"
#include "size_class.h"

static void classes_grow_in_multiples_of_16(void **state)
{
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        assert_int_equal(cal__class_size(i) % 16, 0);
        if (i > 0)
            assert_true(cal__class_size(i) > cal__class_size(i - 1));
    }
    assert_int_equal(cal__class_size(0), 16);
    assert_int_equal(cal__class_size(CAL_CLASSES - 1), CAL_SLAB_MAX);
}

static void every_request_gets_the_smallest_class_that_holds_it(void **state)
{
    unsigned expected = 0;
    for (size_t size = 1; size <= CAL_SLAB_MAX; size++) {
        if (size > cal__class_size(expected))
            expected++;
        assert_int_equal(cal__size_class(size), expected);
    }
    assert_int_equal(expected, CAL_CLASSES - 1);
}

static void the_documents_classes_exist(void **state)
{
    static const size_t sizes[] = {16,  32,   48,   64,   96,   128,   192,   256,
                                   512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(cal__class_size(cal__size_class(sizes[i])), sizes[i]);
}

static void powers_of_two_are_classes(void **state)
{
    for (size_t size = 16; size <= CAL_SLAB_MAX; size *= 2)
        assert_int_equal(cal__class_size(cal__size_class(size)), size);
}

static void waste_is_bounded(void **state)
{
    for (size_t size = 1; size <= CAL_SLAB_MAX; size++) {
        size_t waste = cal__class_size(cal__size_class(size)) - size;
        if (size <= CAL_SMALL_MAX)
            assert_true(waste <= 15);
        else if (size <= CAL_SLAB_SMALL_MAX)
            assert_true(waste * 7 < size);
        else
            assert_true(waste * 3 <= size);
    }
}

/* The header of a buffer of a power of two does not take it to a block much larger. */
static void a_class_is_just_above_each_power_of_two(void **state)
{
    for (size_t size = CAL_SMALL_MAX; size < CAL_SLAB_MAX; size *= 2)
        assert_true(cal__class_size(cal__size_class(size + 16)) <= size + size / 8);
}

static void assert_aligned_as(unsigned size_class, unsigned of)
{
    for (size_t alignment = 16; alignment <= cal__class_size(of); alignment *= 2)
        if (cal__class_size(of) % alignment == 0)
            assert_int_equal(cal__class_size(size_class) % alignment, 0);
}

static void lenders_are_larger_and_lend_themselves(void **state)
{
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        unsigned lender = cal__class_lender(i);
        assert_true(lender >= i && cal__class_size(lender) < 2 * cal__class_size(i));
        assert_int_equal(cal__class_lender(lender), lender);
        assert_aligned_as(lender, i);
    }
}

static void classes_with_slots_are_fewer(void **state)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        unsigned coarse = cal__class_with_slots(i);
        assert_true(coarse >= i && cal__class_size(coarse) * 3 <= cal__class_size(i) * 4);
        assert_int_equal(cal__class_with_slots(coarse), coarse);
        assert_aligned_as(coarse, i);
        count += coarse == i;
        /* Else a class would borrow from one that has no slabs. */
        unsigned lender = cal__class_lender(i);
        assert_int_equal(cal__class_with_slots(lender), lender);
    }
    assert_true(count <= 52);
}

static void small_classes_need_no_table(void **state)
{
    for (size_t size = 1; size <= CAL_SMALL_MAX; size++)
        assert_int_equal(cal__size_class(size), (size - 1) >> 4);
}

static uint32_t capacity_of(unsigned size_class)
{
    return (uint32_t)((cal__class_granules(size_class) << CAL_GRANULE_SHIFT) /
                      cal__class_size(size_class));
}

static void slabs_hold_enough_blocks(void **state)
{
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        assert_true(capacity_of(i) >= 4);
        if (cal__class_size(i) <= CAL_SLAB_SMALL_MAX)
            assert_true(capacity_of(i) >= 8);
        /* What no block covers at the end of a slab is less than one of them. */
        size_t covered = capacity_of(i) * cal__class_size(i);
        size_t slab = cal__class_granules(i) << CAL_GRANULE_SHIFT;
        assert_true(covered <= slab && slab - covered < cal__class_size(i));
    }
}

static void assert_starts_are_exact(size_t size, uint32_t blocks)
{
    uint64_t factor = cal__start_factor(size);
    uint64_t limit = cal__start_limit(size, factor, blocks);
    unsigned wrong = 0;
    for (uint32_t offset = 0; offset < CAL_SLAB_LARGE_GRANULES * CAL_GRANULE; offset++) {
        bool start = offset % size == 0 && offset / size < blocks;
        wrong += cal__is_start(offset, factor, limit) != start;
    }
    /* Other pages, in whole windows and keys from this one, and all the powers of two. */
    for (uint64_t far = 1; far < (uint64_t)1 << 47; far += (far << 3) / 7 + 1) {
        for (uint64_t low = 0; low <= 3 * size; low += size < 64 ? 1 : size / 16) {
            uint64_t number = (far << CAL_GRANULE_SHIFT) + low;
            if (number >> 47 != 0 || number < CAL_SLAB_LARGE_GRANULES * CAL_GRANULE)
                continue;
            wrong += cal__is_start(number, factor, limit);
            wrong += cal__is_start(0 - number, factor, limit);
        }
    }
    /* A page that no thread frees to on the fast path, asked about NULL and addresses all over. */
    for (uint64_t address = 0; address < (uint64_t)1 << 47; address += 16 + address / 256 * 16)
        wrong += cal__is_start(address - CAL_ORIGIN_NOBODY, factor, limit);
    if (wrong != 0)
        print_error("blocks of %zu bytes, %u of them: %u offsets wrong\n", size, blocks, wrong);
    assert_int_equal(wrong, 0);
}

static void starts_of_blocks_are_exact_for_every_offset(void **state)
{
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        uint32_t capacity = capacity_of(i);
        assert_starts_are_exact(cal__class_size(i), 0);
        assert_starts_are_exact(cal__class_size(i), 1);
        assert_starts_are_exact(cal__class_size(i), 2);
        assert_starts_are_exact(cal__class_size(i), capacity / 2);
        assert_starts_are_exact(cal__class_size(i), capacity - 1);
        assert_starts_are_exact(cal__class_size(i), capacity);
    }
}

/* For every number of blocks: the last that was cut is one, the next is not. */
static void the_limit_is_exact_for_every_number_of_blocks(void **state)
{
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        size_t size = cal__class_size(i);
        uint64_t factor = cal__start_factor(size);
        for (uint32_t blocks = 1; blocks <= capacity_of(i); blocks++) {
            uint64_t limit = cal__start_limit(size, factor, blocks);
            size_t last = (blocks - 1) * size;
            assert_true(cal__is_start(last, factor, limit));
            assert_false(cal__is_start(blocks * size, factor, limit));
        }
    }
}

static void sizes_round_to_granules(void **state)
{
    assert_int_equal(cal__granules(1), 1);
    assert_int_equal(cal__granules(CAL_GRANULE), 1);
    assert_int_equal(cal__granules(CAL_GRANULE + 1), 2);
    assert_int_equal(cal__round_up(0, 4096), 0);
    assert_int_equal(cal__round_up(1, 4096), 4096);
    assert_int_equal(cal__round_up(4096, 4096), 4096);
    assert_true(cal__is_power_of_two((size_t)1 << 63));
    assert_false(cal__is_power_of_two(0));
    assert_false(cal__is_power_of_two(48));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_grow_in_multiples_of_16),
        cmocka_unit_test(every_request_gets_the_smallest_class_that_holds_it),
        cmocka_unit_test(the_documents_classes_exist),
        cmocka_unit_test(powers_of_two_are_classes),
        cmocka_unit_test(waste_is_bounded),
        cmocka_unit_test(a_class_is_just_above_each_power_of_two),
        cmocka_unit_test(lenders_are_larger_and_lend_themselves),
        cmocka_unit_test(classes_with_slots_are_fewer),
        cmocka_unit_test(small_classes_need_no_table),
        cmocka_unit_test(slabs_hold_enough_blocks),
        cmocka_unit_test(starts_of_blocks_are_exact_for_every_offset),
        cmocka_unit_test(the_limit_is_exact_for_every_number_of_blocks),
        cmocka_unit_test(sizes_round_to_granules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
