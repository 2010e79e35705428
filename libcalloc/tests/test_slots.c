/* The role slots, registered when the process already has blocks of every kind. */
#include "support.h"

#include <stdatomic.h>

#include "slots_addon.h"

static const size_t sizes[] = {1, 16, 100, 1000, 5000, 30000, 100000, 131072, 300000, 5000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

enum { MANY = 3000 };
static void *many[MANY];

/* Blocks from before the registration; those of the second row are another thread's. */
static void *before[2][SIZES];

static void allocate_before(void **row)
{
    for (size_t i = 0; i < SIZES; i++) {
        row[i] = malloc(sizes[i]);
        require(row[i] != NULL);
        fill(row[i], sizes[i], i);
    }
}

static void *allocate_in_thread(void *argument)
{
    allocate_before(argument);
    return NULL;
}

static void free_before(void **row)
{
    for (size_t i = 0; i < SIZES; i++) {
        require(is_filled(row[i], sizes[i], i));
        require(malloc_usable_size(row[i]) >= sizes[i]);
        row[i] = realloc(row[i], sizes[i] + 1 + sizes[i] / 2);
        require(row[i] != NULL && is_filled(row[i], sizes[i], i));
        free(row[i]);
    }
}

static void blocks_of_before_stay_valid(void **state)
{
    size_t freed = slots_addon.freed;
    void *block = before[0][2];
    assert_null(cal_slot_find(block, NULL));
    assert_int_equal(cal_slot_release(block), -EINVAL);
    free_before(before[0]);
    free_before(before[1]);
    assert_true(slots_addon.freed <= freed + 2 * SIZES); /* what realloc() moved them to */
}

static void blocks_have_exactly_what_was_asked_for(void **state)
{
    for (size_t i = 0; i < SIZES; i++) {
        size_t allocated = slots_addon.allocated;
        size_t freed = slots_addon.freed;
        unsigned char *block = malloc(sizes[i]);
        assert_int_equal(malloc_usable_size(block), sizes[i]);
        fill(block, sizes[i], i);
        assert_true(is_filled(block, sizes[i], i));
        assert_int_equal(slots_addon.allocated, allocated + 1);
        uint32_t slot = 4711;
        struct cal_slab *slab = cal_slot_find(block, &slot);
        assert_non_null(slab);
        assert_true(slot < slab->slots);
        uint32_t around;
        assert_ptr_equal(cal_slot_find(block + 8, &around), slab);
        assert_int_equal(around, slot);
        assert_int_equal(cal_slot_release(block + 8), -EINVAL);
        free(block);
        assert_int_equal(slots_addon.freed, freed + 1);
    }
    assert_null(cal_slot_find(NULL, NULL));
    assert_null(cal_slot_find(&state, NULL));
    void *nothing = malloc(0);
    assert_non_null(nothing);
    assert_int_equal(malloc_usable_size(nothing), test_is_annotated() ? 1 : 0);
    free(nothing);
}

static void the_role_chooses(void **state)
{
    enum { COUNT = 64 };
    char *blocks[COUNT];
    size_t ascending = 0;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(200);
        ascending += i > 0 && blocks[i] > blocks[i - 1];
    }
    assert_in_range(ascending, 10, 54);
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
}

static void zeros_are_zeros(void **state)
{
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < SIZES; i++) {
            void *block = calloc(1, sizes[i]);
            assert_true(is_zero(block, sizes[i]));
            memset(block, 0xff, sizes[i]);
            free(block);
        }
    }
}

static void alignment_is_kept(void **state)
{
    for (size_t alignment = 16; alignment <= (size_t)8 << 20; alignment *= 2) {
        for (size_t i = 0; i < SIZES; i++) {
            char *block = aligned_alloc(alignment, sizes[i]);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % alignment, 0);
            assert_int_equal(malloc_usable_size(block), sizes[i]);
            block[0] = block[sizes[i] - 1] = 1;
            free(block);
        }
    }
}

static void kept_blocks_are_not_handed_out(void **state)
{
    enum { COUNT = 5000 };
    static void *blocks[COUNT];
    slots_release_kept();
    void *kept = malloc(100);
    free(kept);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(100);
        assert_ptr_not_equal(blocks[i], kept);
    }
    assert_int_equal(slots_addon.kept, slots_addon.released + 1);
    slots_release_kept();
    assert_int_equal(slots_addon.kept, slots_addon.released);
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
}

/* Errors. */

static void assert_reported(enum cal_error error, const void *address)
{
    assert_int_equal(slots_addon.errors[error], 1);
    assert_ptr_equal(slots_addon.error_address, address);
    slots_addon.errors[error] = 0;
}

static void errors_may_be_ignored(void **state)
{
    slots_release_kept();
    slots_addon.ignore = true;
    char *block = opaque(malloc(100));
    free(block + 8);
    assert_reported(CAL_ERROR_INVALID_FREE, block + 8);
    assert_null(realloc(block + 16, 200));
    assert_reported(CAL_ERROR_INVALID_POINTER, block + 16);
    free(block);
    free(block);
    assert_reported(CAL_ERROR_FREE_OF_KEPT, block);
    assert_int_equal(malloc_usable_size(block), 0);
    assert_reported(CAL_ERROR_INVALID_POINTER, block);
    slots_release_kept();
    free(block);
    assert_reported(CAL_ERROR_DOUBLE_FREE, block);
    assert_null(realloc(block, 10));
    assert_reported(CAL_ERROR_INVALID_POINTER, block);
    assert_null(cal_try_reallocate_in_place(block, 10));
    assert_reported(CAL_ERROR_INVALID_POINTER, block);
    int local = 0;
    free(opaque(&local));
    assert_reported(CAL_ERROR_INVALID_FREE, &local);
    block = opaque(malloc(1000000));
    free(block + 64);
    assert_reported(CAL_ERROR_INVALID_FREE, block + 64);
    free(block);
    free(block);
    assert_reported(CAL_ERROR_INVALID_FREE, block);
    slots_addon.ignore = false;
}

static void free_twice(void)
{
    void *block = opaque(malloc(5000)); /* is not kept */
    free(block);
    free(blame(block));
}

static void free_kept(void)
{
    void *block = opaque(malloc(50));
    free(block);
    free(blame(block));
}

static void free_inside(void)
{
    free(blame((char *)malloc(50) + 16));
}

static void *free_argument(void *argument)
{
    free(argument);
    return NULL;
}

static void free_in_two_threads(void)
{
    pthread_t thread;
    void *block = opaque(malloc(5000));
    start_thread(&thread, free_argument, block);
    join_thread(thread);
    free(blame(block));
}

static void resize_freed(void)
{
    void *block = opaque(malloc(5000));
    free(block);
    block = realloc(blame(block), 10);
}

static void errors_end_the_process_otherwise(void **state)
{
    assert_dies_with("double free", free_twice);
    assert_dies_with("double free", free_kept);
    assert_dies_with("double free", free_in_two_threads);
    assert_dies_with("invalid free", free_inside);
    assert_dies_with("invalid realloc", resize_freed);
}

/* What the role is told. */

static void assert_kinds(enum cal_call_kind allocated, enum cal_call_kind freed, size_t bytes,
                         size_t alignment)
{
    assert_int_equal(slots_last_allocated.kind, allocated);
    assert_int_equal(slots_last_freeing.kind, freed);
    assert_int_equal(slots_last_freeing.bytes, bytes);
    assert_int_equal(slots_last_freeing.alignment, alignment);
}

#ifndef CAL_FAMILY_PREFIX
void *_Znwm(size_t size);
void *_Znam(size_t size);
void *_ZnamSt11align_val_t(size_t size, size_t alignment);
void _ZdlPv(void *block);
void _ZdaPvm(void *block, size_t size);
void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment);
#endif

static void the_role_knows_who_asks(void **state)
{
    slots_addon.ignore = true; /* then it takes notes */
    free(malloc(0));
    assert_int_equal(slots_last_allocated.bytes, 0);
    assert_kinds(CAL_CALL_MALLOC, CAL_CALL_MALLOC, CAL_CALL_UNKNOWN, 0);
    free_sized(calloc(10, 10), 100);
    assert_true(slots_last_allocated.zero);
    assert_int_equal(slots_last_allocated.bytes, 100);
    assert_kinds(CAL_CALL_MALLOC, CAL_CALL_MALLOC, 100, 0);
    free_aligned_sized(aligned_alloc(64, 100), 64, 100);
    assert_false(slots_last_allocated.zero);
    assert_int_equal(slots_last_allocated.bytes, 100);
    assert_kinds(CAL_CALL_MALLOC, CAL_CALL_MALLOC, 100, 64);
    cal_deallocate(cal_reallocate(cal_allocate(10), 200));
    assert_int_equal(slots_last_allocated.bytes, 200);
    assert_kinds(CAL_CALL_NATIVE, CAL_CALL_NATIVE, CAL_CALL_UNKNOWN, 0);
#ifndef CAL_FAMILY_PREFIX
    _ZdlPv(_Znwm(10));
    assert_kinds(CAL_CALL_NEW, CAL_CALL_NEW, CAL_CALL_UNKNOWN, 0);
    _ZdaPvm(_Znam(2000), 2000);
    assert_kinds(CAL_CALL_NEW_ARRAY, CAL_CALL_NEW_ARRAY, 2000, 0);
    _ZdaPvmSt11align_val_t(_ZnamSt11align_val_t(200000, 128), 200000, 128);
    assert_kinds(CAL_CALL_NEW_ARRAY, CAL_CALL_NEW_ARRAY, 200000, 128);
#endif
    slots_addon.ignore = false;
}

static void blocks_resize_in_their_slot(void **state)
{
    char *block = malloc(1000);
    fill(block, 900, 1);
    assert_null(cal_try_reallocate_in_place(block, 900));
    slots_addon.in_place = true;
    if (!test_is_annotated()) {
        assert_ptr_equal(cal_try_reallocate_in_place(block, 900), block);
        assert_int_equal(malloc_usable_size(block), 900);
        assert_ptr_equal(realloc(block, 1000), block);
        assert_null(cal_try_reallocate_in_place(block, 3000));
    }
    char *moved = realloc(block, 300);
    assert_ptr_not_equal(moved, block);
    assert_true(is_filled(moved, 300, 1));
    moved = realloc(moved, 500000);
    assert_true(is_filled(moved, 300, 1));
    size_t resized = slots_addon.resized;
    char *same = realloc(moved, 450000);
    if (!test_is_annotated()) {
        assert_ptr_equal(same, moved);
        assert_int_equal(slots_addon.resized, resized + 1);
    }
    slots_addon.in_place = false;
    free(same);
}

/* Looking at it from outside. */

static bool add(void *block, size_t usable, void *argument)
{
    require(cal_slot_find(block, NULL) != NULL || usable > 0);
    size_t *sum = argument;
    sum[0]++;
    sum[1] += usable;
    return true;
}

static bool add_region(const struct cal_region *region, void *argument)
{
    size_t *sum = argument;
    require(region->live <= region->blocks && region->kind != CAL_REGION_RANGE);
    sum[0] += region->live;
    sum[1] += region->live * region->block_size;
    return true;
}

static void assert_walks_agree(void)
{
    size_t blocks[2] = {0, 0}, regions[2] = {0, 0};
    struct cal_statistics now = statistics();
    assert_true(cal_walk_blocks(add, blocks));
    assert_true(cal_walk_regions(add_region, regions));
    assert_int_equal(blocks[0], now.active_allocations);
    assert_int_equal(blocks[1], now.active_bytes);
    assert_int_equal(regions[0], now.active_allocations);
    assert_int_equal(regions[1], now.active_bytes);
    assert_int_equal(now.allocations - now.deallocations, now.active_allocations);
    assert_int_equal(now.total_allocated - now.total_freed, now.active_bytes);
}

static void walks_and_statistics_are_exact(void **state)
{
    struct random random = {5};
    struct cal_statistics then = statistics();
    for (size_t i = 0; i < MANY; i++)
        many[i] = malloc(random_size(&random, i % 100 == 0 ? 21 : 12));
    struct cal_statistics now = statistics();
    assert_int_equal(now.allocations - then.allocations, 3000);
    assert_int_equal(now.active_allocations - then.active_allocations, 3000);
    assert_walks_agree();
    pthread_t thread;
    for (size_t i = 0; i < MANY; i += 2)
        free(many[i]);
    now = statistics();
    assert_int_equal(now.deallocations - then.deallocations, 1500);
    assert_walks_agree();
    for (size_t i = 1; i < MANY; i += 20) {
        start_thread(&thread, free_argument, many[i]);
        join_thread(thread);
        many[i] = NULL;
    }
    assert_walks_agree();
    for (size_t i = 1; i < MANY; i += 2)
        free(many[i]);
    slots_release_kept();
    assert_walks_agree();
}

static _Atomic size_t seen_allocated, seen_freed, seen_bytes;

static void see_allocated(void *block, size_t requested, size_t usable)
{
    require(usable == requested);
    seen_allocated++;
    seen_bytes += usable;
}

static void see_freeing(void *block, size_t usable)
{
    seen_freed++;
    seen_bytes -= usable;
}

static void observers_see_it_too(void **state)
{
    static const struct cal_observer observer = {
        .size = sizeof observer, .allocated = see_allocated, .freeing = see_freeing};
    static const struct cal_hooks hooks = {.size = sizeof hooks,
                                           .version = CAL_HOOKS_VERSION,
                                           .name = "observer",
                                           .component_version = "1",
                                           .observer = &observer};
    assert_int_equal(cal_hooks_register(&hooks), 0);
    for (size_t i = 0; i < SIZES; i++)
        many[i] = malloc(sizes[i]);
    assert_int_equal(seen_allocated, SIZES);
    for (size_t i = 0; i < SIZES; i++)
        free(many[i]);
    assert_int_equal(seen_freed, SIZES);
    assert_int_equal(seen_bytes, 0);
    assert_int_equal(cal_hooks_unregister(&hooks), 0);
    free(malloc(10));
    assert_int_equal(seen_allocated, SIZES);
}

static struct cal_hooks other;

static void register_other(void)
{
    require(cal_hooks_register(&other) == -EBUSY);
}

static void the_role_is_exclusive_and_for_ever(void **state)
{
    char text[1000];
    other = slots_hooks;
    other.name = "other";
    run_in_child(register_other, text, sizeof text);
    assert_string_equal(text,
                        "libcalloc: add-on 'other' refused: the role 'slots' belongs to 'slots'\n");
    assert_int_equal(cal_hooks_unregister(&slots_hooks), -EBUSY);
}

int main(void)
{
    pthread_t thread;
    test_is_annotated(); /* before it looks as if a tool were told of each block */
    warm_up_threads(1);
    allocate_before(before[0]);
    start_thread(&thread, allocate_in_thread, before[1]);
    join_thread(thread);
    require(cal_hooks_register(&slots_hooks) == 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_before_stay_valid),
        cmocka_unit_test(blocks_have_exactly_what_was_asked_for),
        cmocka_unit_test(the_role_chooses),
        cmocka_unit_test(zeros_are_zeros),
        cmocka_unit_test(alignment_is_kept),
        cmocka_unit_test(kept_blocks_are_not_handed_out),
        cmocka_unit_test(errors_may_be_ignored),
        cmocka_unit_test(errors_end_the_process_otherwise),
        cmocka_unit_test(the_role_knows_who_asks),
        cmocka_unit_test(blocks_resize_in_their_slot),
        cmocka_unit_test(walks_and_statistics_are_exact),
        cmocka_unit_test(observers_see_it_too),
        cmocka_unit_test(the_role_is_exclusive_and_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
