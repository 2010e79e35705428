/* realloc, reallocarray and their native forms: contents, addresses, failure. */
#include "support.h"

#include "size_class.h"

/* One size on each side of every border between kinds of pages and of many classes. */
static const size_t sizes[] = {
    1,      16,     17,     100,    128,     129,     256,     257,     512,     1000,   1024,
    1025,   2048,   3000,   4096,   8192,    8193,    16384,   30000,   65536,   65537,  131072,
    131073, 300000, 500000, 800000, 1048576, 1048577, 2000000, 4194304, 4194305, 9000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void null_allocates(void **state)
{
    void *block = realloc(NULL, 100);
    assert_non_null(block);
    fill(block, 100, 1);
    free(block);
    block = realloc(NULL, 0);
    assert_non_null(block);
    free(block);
    assert_null(cal_reallocate(NULL, 0));
    block = cal_reallocate(NULL, 100);
    assert_non_null(block);
    cal_deallocate(block);
}

static void zero_frees(void **state)
{
    for (size_t i = 0; i < SIZES; i++) {
        size_t before = statistics().active_allocations;
        void *block = malloc(sizes[i]);
        assert_null(realloc(block, 0));
        assert_int_equal(statistics().active_allocations, before);
        block = malloc(sizes[i]);
        assert_null(cal_reallocate(block, 0));
        assert_int_equal(statistics().active_allocations, before);
    }
}

static void contents_survive_every_change_of_size(void **state)
{
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t j = 0; j < SIZES; j++) {
            size_t kept = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
            unsigned char *block = malloc(sizes[i]);
            assert_non_null(block);
            fill(block, sizes[i], i);
            block = realloc(block, sizes[j]);
            assert_non_null(block);
            assert_true(malloc_usable_size(block) >= sizes[j]);
            assert_int_equal((uintptr_t)block % 16, 0);
            assert_true(is_filled(block, kept, i));
            block[sizes[j] - 1] = 1;
            free(block);
        }
    }
}

static void growing_byte_by_byte_keeps_contents(void **state)
{
    unsigned char *block = NULL;
    for (size_t size = 1; size <= 6000; size++) {
        block = realloc(block, size);
        assert_non_null(block);
        block[size - 1] = (unsigned char)(size * 31);
    }
    for (size_t size = 1; size <= 6000; size++)
        assert_int_equal(block[size - 1], (unsigned char)(size * 31));
    free(block);
}

static void shrinking_step_by_step_keeps_contents(void **state)
{
    size_t size = (size_t)3 << 20;
    unsigned char *block = malloc(size);
    fill(block, size, 9);
    while (size > 1) {
        size -= size / 10 + 1;
        block = realloc(block, size);
        assert_non_null(block);
        assert_true(is_filled(block, size, 9));
    }
    free(block);
}

static void neighbours_are_not_touched(void **state)
{
    enum { COUNT = 300 };
    static unsigned char *blocks[COUNT];
    static size_t lengths[COUNT];
    struct random random = {5};
    for (size_t i = 0; i < COUNT; i++) {
        lengths[i] = 300 + i;
        blocks[i] = malloc(lengths[i]);
        fill(blocks[i], lengths[i], i);
    }
    for (size_t round = 0; round < test_repeat(20000); round++) {
        size_t i = random_below(&random, COUNT);
        size_t length = 1 + random_below(&random, 3000);
        blocks[i] = realloc(blocks[i], length);
        assert_non_null(blocks[i]);
        assert_true(is_filled(blocks[i], lengths[i] < length ? lengths[i] : length, i));
        fill(blocks[i], length, i);
        lengths[i] = length;
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(is_filled(blocks[i], lengths[i], i));
        free(blocks[i]);
    }
}

/* A block that keeps more than half of its size stays, as that wastes nothing new. */
static void a_small_shrink_stays_in_place(void **state)
{
    if (test_is_annotated()) {
        print_message("under memcheck each resize moves, so that stale pointers are seen\n");
        return;
    }
    for (size_t i = 0; i < SIZES; i++) {
        if (sizes[i] < 16)
            continue;
        void *block = malloc(sizes[i]);
        void *same = realloc(block, sizes[i] - sizes[i] / 4);
        assert_ptr_equal(same, block);
        free(same);
    }
}

static void a_shrunk_block_gives_memory_back(void **state)
{
    static const size_t large[] = {5000, 100000, 1000000, 20000000};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        size_t before = statistics().active_bytes;
        void *block = malloc(large[i]);
        assert_true(statistics().active_bytes >= before + large[i]);
        block = realloc(block, 100);
        assert_non_null(block);
        assert_true(statistics().active_bytes <= before + 65536);
        free(block);
        assert_int_equal(statistics().active_bytes, before);
    }
}

static void failure_keeps_the_block(void **state)
{
    for (size_t i = 0; i < SIZES; i++) {
        void *block = malloc(sizes[i]);
        fill(block, sizes[i], i);
        struct cal_statistics before = statistics();
        size_t usable = malloc_usable_size(block);
        static const size_t impossible[] = {SIZE_MAX, (size_t)PTRDIFF_MAX, (size_t)1 << 60};
        for (size_t j = 0; j < 3; j++) {
            errno = 0;
            assert_null(realloc(block, impossible[j]));
            assert_int_equal(errno, ENOMEM);
            errno = 0;
            assert_null(cal_reallocate(block, impossible[j]));
            assert_int_equal(errno, ENOMEM);
        }
        assert_int_equal(malloc_usable_size(block), usable);
        assert_true(is_filled(block, sizes[i], i));
        struct cal_statistics after = statistics();
        assert_int_equal(after.active_bytes, before.active_bytes);
        /* Less is good: what was free may have gone back in the attempt. */
        assert_true(after.os_memory_mapped <= before.os_memory_mapped);
        free(block);
    }
}

static void reallocarray_multiplies(void **state)
{
    unsigned char *block = reallocarray(NULL, 30, 40);
    assert_non_null(block);
    assert_true(malloc_usable_size(block) >= 1200);
    fill(block, 1200, 3);
    block = reallocarray(block, 300, 40);
    assert_non_null(block);
    assert_true(malloc_usable_size(block) >= 12000);
    assert_true(is_filled(block, 1200, 3));
    assert_null(reallocarray(block, 0, 40));
}

static void reallocarray_overflow_keeps_the_block(void **state)
{
    static const size_t factors[][2] = {{SIZE_MAX, 2},
                                        {(size_t)1 << 32, (size_t)1 << 32},
                                        {3, SIZE_MAX / 2},
                                        {SIZE_MAX / 2 + 1, 2}};
    void *block = malloc(500);
    fill(block, 500, 4);
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        errno = 0;
        assert_null(reallocarray(block, factors[i][0], factors[i][1]));
        assert_int_equal(errno, ENOMEM);
        assert_true(is_filled(block, 500, 4));
    }
    free(block);
}

static void success_leaves_errno_alone(void **state)
{
    errno = 4711;
    void *block = NULL;
    for (size_t i = 0; i < SIZES; i++)
        block = realloc(block, sizes[i]);
    for (size_t i = SIZES; i-- > 0;)
        block = realloc(block, sizes[i]);
    free(block);
    assert_int_equal(errno, 4711);
}

static void count_of_live_blocks_does_not_change(void **state)
{
    size_t before = statistics().active_allocations;
    void *block = malloc(1);
    for (size_t i = 0; i < SIZES; i++) {
        block = realloc(block, sizes[i]);
        assert_int_equal(statistics().active_allocations, before + 1);
    }
    for (size_t i = SIZES; i-- > 0;) {
        block = realloc(block, sizes[i]);
        assert_int_equal(statistics().active_allocations, before + 1);
    }
    free(block);
    assert_int_equal(statistics().active_allocations, before);
}

/* A pointer to the middle of a page may also come from aligned_alloc. */
static void aligned_blocks_can_be_resized(void **state)
{
    for (size_t alignment = 32; alignment <= (size_t)4 << 20; alignment *= 4) {
        void *block = aligned_alloc(alignment, 3000);
        assert_non_null(block);
        fill(block, 3000, alignment);
        block = realloc(block, 300000);
        assert_non_null(block);
        assert_true(is_filled(block, 3000, alignment));
        block = realloc(block, 50);
        assert_non_null(block);
        assert_true(is_filled(block, 50, alignment));
        free(block);
    }
}

/* An object that came from another thread is resized by copying or in place, but correctly. */
static void *resize_here(void *block)
{
    fill(block, 700, 1);
    void *grown = realloc(block, 7000);
    require(grown != NULL && is_filled(grown, 700, 1));
    fill(grown, 7000, 2);
    void *shrunk = realloc(grown, 600);
    require(shrunk != NULL && is_filled(shrunk, 600, 2));
    return shrunk;
}

static void another_thread_may_resize(void **state)
{
    size_t before = statistics().active_allocations;
    pthread_t thread;
    start_thread(&thread, resize_here, malloc(700));
    void *block = join_thread(thread);
    assert_true(is_filled(block, 600, 2));
    block = realloc(block, 9000);
    assert_true(is_filled(block, 600, 2));
    free(block);
    /* What pthread_create() allocates for the stack's bookkeeping may stay. */
    assert_in_range(statistics().active_allocations, before, before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_allocates),
        cmocka_unit_test(zero_frees),
        cmocka_unit_test(contents_survive_every_change_of_size),
        cmocka_unit_test(growing_byte_by_byte_keeps_contents),
        cmocka_unit_test(shrinking_step_by_step_keeps_contents),
        cmocka_unit_test(neighbours_are_not_touched),
        cmocka_unit_test(a_small_shrink_stays_in_place),
        cmocka_unit_test(a_shrunk_block_gives_memory_back),
        cmocka_unit_test(failure_keeps_the_block),
        cmocka_unit_test(reallocarray_multiplies),
        cmocka_unit_test(reallocarray_overflow_keeps_the_block),
        cmocka_unit_test(success_leaves_errno_alone),
        cmocka_unit_test(count_of_live_blocks_does_not_change),
        cmocka_unit_test(aligned_blocks_can_be_resized),
        cmocka_unit_test(another_thread_may_resize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
