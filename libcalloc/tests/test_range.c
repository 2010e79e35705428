/* Ranges of an owner with an interface of its own, which need not be registered. */
#include "support.h"

#include <errno.h>
#include <stddef.h>

#include <calloc/hooks.h>

/* The owner: what was asked for the blocks of a range, one on each kernel page. */
enum { SLOT = 4096, SLOTS = 32 };
struct range {
    char *start;
    size_t requested[SLOTS]; /* 0: not in use */
};
static size_t freed;

static size_t *find(struct range *range, const void *block)
{
    size_t offset = (size_t)((const char *)block - range->start);
    require(offset < SLOT * SLOTS);
    return offset % SLOT == 0 ? &range->requested[offset / SLOT] : NULL;
}

static bool owner_free(void *state, void *block, const struct cal_call *call)
{
    size_t *requested = find(state, block);
    require(call->size == sizeof *call);
    if (requested == NULL || *requested == 0)
        return false;
    *requested = 0;
    freed++;
    return true;
}

static size_t owner_usable(void *state, const void *block)
{
    const size_t *requested = find(state, block);
    return requested == NULL ? 0 : *requested;
}

static const struct cal_owner owner = {
    .size = sizeof owner, .deallocate = owner_free, .usable = owner_usable};
static const struct cal_owner other = {
    .size = sizeof other, .deallocate = owner_free, .usable = owner_usable};

/* Its pointers are its own, whoever frees them. */
static void an_owner_with_its_own_interface(void **state)
{
    struct range range = {.requested = {500, 600}};
    range.start = cal_range_map(&owner, SLOT * SLOTS, 1, &range);
    assert_non_null(range.start);
    char *first = range.start, *second = range.start + SLOT;
    freed = 0;
    assert_int_equal(malloc_usable_size(first), 500);
    assert_null(cal_try_reallocate_in_place(first, 400));
    fill(first, 500, 9);
    char *moved = realloc(first, 400);
    assert_true(is_filled(moved, 400, 9));
    assert_int_equal(freed, 1);
    free(moved);
    assert_int_equal(freed, 1);
    assert_int_equal(cal_range_unmap(&other, range.start), -EINVAL);
    assert_int_equal(cal_range_unmap(&owner, range.start + 65536), -EINVAL);
    assert_int_equal(cal_range_unmap(&owner, second), -EINVAL);
    assert_int_equal(cal_range_unmap(&owner, range.start), 0);
    assert_int_equal(cal_range_unmap(&owner, &range), -EINVAL);
}

static void ranges_are_zeroed_and_aligned(void **state)
{
    static const size_t lengths[] = {1, 65536, 65537, 1000000, 10000000, 100000000};
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            for (size_t alignment = 1; alignment <= (size_t)1 << 24; alignment *= 16) {
                char *start = cal_range_map(&owner, lengths[i], alignment, NULL);
                assert_non_null(start);
                assert_int_equal((uintptr_t)start % alignment, 0);
                assert_int_equal((uintptr_t)start % 65536, 0);
                assert_true(is_zero(start, lengths[i] < 2000000 ? lengths[i] : 2000000));
                memset(start, 1, lengths[i] < 2000000 ? lengths[i] : 2000000);
                start[lengths[i] - 1] = 1;
                assert_int_equal(cal_range_unmap(&owner, start), 0);
            }
        }
    }
}

static void impossible_ranges_are_refused(void **state)
{
    static const struct cal_owner incomplete = {.size = sizeof incomplete,
                                                .deallocate = owner_free};
    static const struct cal_owner shorter = {.size = offsetof(struct cal_owner, usable),
                                             .deallocate = owner_free,
                                             .usable = owner_usable};
    assert_null(cal_range_map(NULL, 65536, 1, NULL));
    assert_null(cal_range_map(&incomplete, 65536, 1, NULL));
    assert_null(cal_range_map(&shorter, 65536, 1, NULL));
    assert_null(cal_range_map(&owner, 0, 1, NULL));
    assert_null(cal_range_map(&owner, SIZE_MAX, 1, NULL));
    assert_null(cal_range_map(&owner, SIZE_MAX / 4, 1, NULL));
    assert_null(cal_range_map(&owner, 65536, 3, NULL));
    assert_null(cal_range_map(&owner, 65536, (size_t)1 << 63, NULL));
    assert_int_equal(cal_range_unmap(&owner, NULL), -EINVAL);
}

/* A range whose memory is not touched does not count as used, however long. */
static void a_reservation_costs_nothing(void **state)
{
    struct cal_statistics before = statistics();
    char *start = cal_range_map(&owner, (size_t)8 << 30, 1, NULL);
    if (start == NULL) {
        print_message("there is no address space for this\n");
        return;
    }
    start[(size_t)5 << 30] = 1;
    struct cal_statistics now = statistics();
    assert_int_equal(now.active_bytes, before.active_bytes);
    assert_true(now.os_memory_mapped - before.os_memory_mapped >= (size_t)8 << 30);
    assert_int_equal(cal_range_unmap(&owner, start), 0);
    malloc_trim(0);
    now = statistics();
    assert_true(now.os_memory_mapped < before.os_memory_mapped + ((size_t)64 << 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_with_its_own_interface),
        cmocka_unit_test(ranges_are_zeroed_and_aligned),
        cmocka_unit_test(impossible_ranges_are_refused),
        cmocka_unit_test(a_reservation_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
