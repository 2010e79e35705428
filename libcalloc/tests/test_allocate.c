/* malloc, calloc, free and the native allocation functions: what every program relies on. */
#include "support.h"

#include <calloc/hooks.h>
#include <limits.h>
#include <malloc.h>

#include "map.h"
#include "size_class.h"

static void every_small_size_is_aligned_to_16(void **state)
{
    for (size_t size = 1; size <= 5000; size++) {
        void *block = malloc(size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        fill(block, size, size);
        assert_true(is_filled(block, size, size));
        free(block);
    }
}

static void sizes_around_each_class_border_are_aligned(void **state)
{
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        for (size_t size = cal__class_size(i) - 1; size <= cal__class_size(i) + 1; size++) {
            unsigned char *block = malloc(size);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % 16, 0);
            assert_true(malloc_usable_size(block) >= size);
            block[0] = 1;
            block[size - 1] = 2;
            free(block);
        }
    }
}

static void large_and_huge_sizes_are_aligned(void **state)
{
    static const size_t sizes[] = {131072,        131073,  200000,  1 << 20,
                                   (1 << 20) + 1, 3000000, 5000000, 9000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *block = malloc(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        assert_true(malloc_usable_size(block) >= sizes[i]);
        fill(block, sizes[i], i);
        assert_true(is_filled(block, sizes[i], i));
        free(block);
    }
}

/* All sizes at once, so that a block which overlaps another has its pattern destroyed. */
static void contents_are_kept_while_others_are_written(void **state)
{
    enum { COUNT = 1200 };
    static unsigned char *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(i * 7 + 1);
        assert_non_null(blocks[i]);
        fill(blocks[i], i * 7 + 1, i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(is_filled(blocks[i], i * 7 + 1, i));
        free(blocks[i]);
    }
}

/* Two live blocks share no byte of what malloc_usable_size() promises. */
static void usable_bytes_do_not_overlap(void **state)
{
    enum { COUNT = 500 };
    static unsigned char *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(1 + i * 37 % 3000);
        memset(blocks[i], (int)(i % 251), malloc_usable_size(blocks[i]));
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < malloc_usable_size(blocks[i]); j++)
            assert_int_equal(blocks[i][j], i % 251);
        free(blocks[i]);
    }
}

static void malloc_of_zero_is_unique(void **state)
{
    enum { COUNT = 1000 };
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(0);
        assert_non_null(blocks[i]);
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(blocks[i], blocks[j]);
    }
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
}

static void calloc_of_zero_is_a_block(void **state)
{
    void *first = calloc(0, 8);
    void *second = calloc(8, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    free(first);
    free(second);
}

static void native_allocation_of_zero_is_null(void **state)
{
    errno = 77;
    assert_null(cal_allocate(0));
    assert_null(cal_allocate_zeroed(0));
    assert_null(cal_allocate_aligned(0, 64));
    assert_int_equal(errno, 77);
}

static void native_blocks_are_the_familys_blocks(void **state)
{
    void *block = cal_allocate(100);
    assert_non_null(block);
    free(block);
    block = malloc(100);
    assert_true(cal_allocation_size(block) >= 100);
    cal_deallocate(block);
    assert_int_equal(cal_allocation_size(NULL), 0);
    cal_deallocate(NULL);
}

/* TURN 1 of the first document, BasicAllocation. */
static void basic_allocation_of_the_document(void **state)
{
    void *block = cal_allocate(64);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 16, 0);
    memset(block, 0xaa, 64);
    cal_deallocate(block);
}

/* Or of the class that lends to it, while the size is hardly used. */
static void usable_size_is_the_class(void **state)
{
    for (size_t size = 1; size <= CAL_SLAB_MAX; size += size / 64 + 1) {
        void *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        if (usable != usable_for(size))
            assert_int_equal(usable, cal__class_size(cal__class_lender(cal__size_class(size))));
        assert_int_equal(cal_allocation_size(block), usable);
        free(block);
    }
    assert_int_equal(malloc_usable_size(NULL), 0);
}

/* In a thread, whose heap need not be a new one, but has its own pages. */
static void *one_block_of_each_small_class(void *argument)
{
    size_t *pages = argument;
    void *blocks[CAL_SMALL_CLASSES];
    for (unsigned i = 0; i < CAL_SMALL_CLASSES; i++) {
        blocks[i] = malloc(cal__class_size(i));
        bool seen = false;
        for (unsigned j = 0; j < i; j++)
            seen |= cal__granule_of(blocks[j]) == cal__granule_of(blocks[i]);
        *pages += !seen;
    }
    for (unsigned i = 0; i < CAL_SMALL_CLASSES; i++)
        free(blocks[i]);
    return NULL;
}

static void hardly_used_sizes_share_pages(void **state)
{
    size_t pages = 0;
    pthread_t thread;
    start_thread(&thread, one_block_of_each_small_class, &pages);
    join_thread(thread);
    assert_in_range(pages, 8, 16);
}

/* Threads that have heaps and do nothing. */
enum { OTHERS = 24 };
static pthread_barrier_t others;
static pthread_t other[OTHERS];

static void *hold_a_heap(void *argument)
{
    free(malloc(64));
    pthread_barrier_wait(&others);
    pthread_barrier_wait(&others);
    return argument;
}

static void start_others(void)
{
    pthread_barrier_init(&others, NULL, OTHERS + 1);
    for (unsigned i = 0; i < OTHERS; i++)
        start_thread(&other[i], hold_a_heap, NULL);
    pthread_barrier_wait(&others);
}

static void end_others(void)
{
    pthread_barrier_wait(&others);
    for (unsigned i = 0; i < OTHERS; i++)
        join_thread(other[i]);
    pthread_barrier_destroy(&others);
}

/* What is usable of the last of many blocks of SIZE that came and went. */
static size_t usable_after_use(size_t size, unsigned blocks)
{
    size_t usable = 0;
    for (unsigned i = 0; i < blocks; i++) {
        void *block = malloc(size);
        usable = malloc_usable_size(block);
        free(block);
    }
    return usable;
}

/* Pages of its own cost a thread as much as those of any other: with many threads, less use of a size is
 * not enough for them. */
static void a_size_gets_pages_of_its_own_sooner_with_few_threads(void **state)
{
    if (test_is_annotated()) {
        print_message("under a checker each block counts as a refill\n");
        return;
    }
    enum { BLOCKS = 200 };
    assert_int_equal(cal__class_size(cal__class_lender(cal__size_class(2304))), 3072);
    assert_int_equal(cal__class_size(cal__class_lender(cal__size_class(4672))), 6528);
    assert_int_equal(usable_after_use(2304, BLOCKS), usable_for(2304));

    start_others();
    size_t usable = usable_after_use(4672, BLOCKS);
    end_others();
    assert_int_equal(usable, usable_for(6528));
    /* When they have gone, what was borrowed is enough. */
    assert_int_equal(usable_after_use(4672, BLOCKS), usable_for(4672));
}

static bool count_slabs(const struct cal_region *region, void *argument)
{
    size_t *slabs = argument;
    *slabs += region->kind == CAL_REGION_SLAB;
    return true;
}

/* Each round needs a page of the lender, and leaves one block of the borrower in it. */
static void borrowed_blocks_that_stay_hold_few_pages(void **state)
{
    enum { KEPT = 1664, LENDER = 2048, PASSING = CAL_GRANULE / LENDER - 1, ROUNDS = 600 };
    static void *kept[ROUNDS];
    static void *passing[ROUNDS][PASSING];
    assert_int_equal(cal__class_size(cal__class_lender(cal__size_class(KEPT))), LENDER);
    size_t before = 0;
    size_t after = 0;
    start_others();
    cal_walk_regions(count_slabs, &before);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned j = 0; j < PASSING; j++)
            passing[i][j] = malloc(LENDER);
        kept[i] = malloc(KEPT);
    }
    for (unsigned i = 0; i < ROUNDS; i++)
        for (unsigned j = 0; j < PASSING; j++)
            free(passing[i][j]);
    cal_trim();
    cal_walk_regions(count_slabs, &after);
    end_others();
    for (unsigned i = 0; i < ROUNDS; i++)
        free(kept[i]);
    /* Those of its own, and the share of the limit. */
    assert_in_range(after - before, ROUNDS * KEPT / CAL_GRANULE, ROUNDS * KEPT / CAL_GRANULE + 80);
}

/* One system call for a slab in place of sixteen page faults, once a size has filled a few slabs. */
static void a_size_that_fills_slabs_gets_them_with_their_memory(void **state)
{
    if (test_is_slow() || test_is_annotated() || !can_populate()) {
        print_message("page faults mean nothing here, or the kernel has no MADV_POPULATE_WRITE\n");
        return;
    }
    enum { SIZE = 992, COUNT = 64 << 5, FIRST = 64 * 12 };
    static char *blocks[COUNT];
    long before = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (i == FIRST)
            before = faults();
        blocks[i] = malloc(SIZE);
        memset(blocks[i], 1, SIZE);
    }
    /* A fault for each kernel page would be a quarter of the blocks. */
    assert_in_range(faults() - before, 0, (COUNT - FIRST) / 6);
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
}

static void a_much_used_size_has_its_own_class(void **state)
{
    for (size_t size = 16; size <= 4096; size += 16) {
        for (size_t bytes = 0; bytes < (size_t)256 << 10; bytes += size)
            free(malloc(size));
        void *block = malloc(size);
        assert_int_equal(malloc_usable_size(block), usable_for(size));
        free(block);
    }
}

static void borrowed_blocks_are_aligned_and_whole(void **state)
{
    for (size_t alignment = 16; alignment <= CAL_GRANULE; alignment *= 2) {
        for (size_t size = 16; size <= CAL_SLAB_MAX; size += size / 5 + 16) {
            unsigned char *block = aligned_alloc(alignment, size);
            assert_int_equal((uintptr_t)block % alignment, 0);
            size_t usable = malloc_usable_size(block);
            assert_true(usable >= size);
            memset(block, 0x5a, usable);
            free(block);
        }
    }
}

static void powers_of_two_have_no_waste(void **state)
{
    for (size_t size = 16; size <= (size_t)16 << 20; size *= 2) {
        void *block = malloc(size);
        assert_int_equal(malloc_usable_size(block), size);
        free(block);
    }
}

static void calloc_zeroes_fresh_memory(void **state)
{
    static const size_t sizes[] = {1,    16,     17,     1000,    1024,    1025,
                                   8192, 100000, 131073, 1 << 20, 3000000, 9000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *block = calloc(1, sizes[i]);
        assert_non_null(block);
        assert_true(is_zero(block, sizes[i]));
        free(block);
    }
}

/* Every size class and kind of page: what was dirty must be clean when calloc hands it out. */
static void calloc_zeroes_recycled_memory(void **state)
{
    for (size_t size = 1; size <= (size_t)4 << 20; size += size / 9 + 1) {
        void *blocks[4];
        for (size_t i = 0; i < 4; i++) {
            blocks[i] = malloc(size);
            assert_non_null(blocks[i]);
            memset(blocks[i], 0xff, size);
        }
        for (size_t i = 0; i < 4; i++)
            free(blocks[i]);
        for (size_t i = 0; i < 4; i++) {
            blocks[i] = calloc(size, 1);
            assert_non_null(blocks[i]);
            assert_true(is_zero(blocks[i], size));
        }
        for (size_t i = 0; i < 4; i++)
            free(blocks[i]);
    }
}

static void native_zeroed_is_zero_when_recycled(void **state)
{
    for (size_t size = 8; size <= (size_t)2 << 20; size *= 2) {
        void *block = cal_allocate(size);
        memset(block, 0xff, size);
        cal_deallocate(block);
        block = cal_allocate_zeroed(size);
        assert_non_null(block);
        assert_true(is_zero(block, size));
        cal_deallocate(block);
    }
}

/* The product wraps to something small in each. */
static void calloc_overflow_is_enomem(void **state)
{
    static const size_t factors[][2] = {{SIZE_MAX, 2},
                                        {2, SIZE_MAX},
                                        {(size_t)1 << 32, (size_t)1 << 32},
                                        {((size_t)1 << 63) + 8, 2},
                                        {SIZE_MAX / 4, 5}};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        errno = 0;
        assert_null(calloc(factors[i][0], factors[i][1]));
        assert_int_equal(errno, ENOMEM);
    }
}

static void impossible_sizes_are_enomem(void **state)
{
    static const size_t sizes[] = {SIZE_MAX,         SIZE_MAX - 1,        SIZE_MAX - 4096,
                                   SIZE_MAX - 65536, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
                                   (size_t)1 << 62};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        errno = 0;
        assert_null(malloc(sizes[i]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(calloc(1, sizes[i]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(cal_allocate(sizes[i]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(cal_allocate_zeroed(sizes[i]));
        assert_int_equal(errno, ENOMEM);
    }
    void *block = malloc(100);
    assert_non_null(block);
    free(block);
}

static void free_of_null_does_nothing(void **state)
{
    struct cal_statistics before = statistics();
    free(NULL);
    cfree(NULL);
    free_sized(NULL, 8);
    free_aligned_sized(NULL, 64, 8);
    struct cal_statistics after = statistics();
    assert_int_equal(before.deallocations, after.deallocations);
}

static void every_form_of_free_frees(void **state)
{
    size_t before = statistics().active_allocations;
    free(malloc(100));
    cfree(malloc(100));
    free_sized(malloc(100), 100);
    free_aligned_sized(aligned_alloc(64, 128), 64, 128);
    cal_deallocate(malloc(100));
    assert_int_equal(statistics().active_allocations, before);
}

/* Unmapping and purging call the kernel, which writes errno; free() must not be seen to. */
static void free_preserves_errno(void **state)
{
    for (size_t size = 1; size <= (size_t)256 << 20; size *= 4) {
        void *block = malloc(size);
        assert_non_null(block);
        errno = 4711;
        free(block);
        assert_int_equal(errno, 4711);
    }
    errno = 4711;
    free(NULL);
    malloc_trim(0);
    assert_int_equal(errno, 4711);
}

static void success_leaves_errno_alone(void **state)
{
    errno = 4711;
    for (size_t size = 1; size <= (size_t)64 << 20; size *= 4) {
        void *block = malloc(size);
        assert_non_null(block);
        free(block);
    }
    assert_int_equal(errno, 4711);
}

static void free_makes_memory_available_again(void **state)
{
    /* Some other blocks of the class may be at hand first. */
    size_t mapped = 0;
    for (int round = 0; round < 50; round++) {
        static void *blocks[2000];
        for (size_t i = 0; i < 2000; i++)
            blocks[i] = malloc(600);
        for (size_t i = 0; i < 2000; i++)
            free(blocks[i]);
        if (round == 0)
            mapped = statistics().os_memory_mapped;
    }
    assert_true(statistics().os_memory_mapped <= mapped);
}

static void version_is_that_of_the_file(void **state)
{
    assert_string_equal(cal_version(), TEST_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, because others use these sizes too. */
        cmocka_unit_test(a_size_gets_pages_of_its_own_sooner_with_few_threads),
        cmocka_unit_test(borrowed_blocks_that_stay_hold_few_pages),
        cmocka_unit_test(every_small_size_is_aligned_to_16),
        cmocka_unit_test(sizes_around_each_class_border_are_aligned),
        cmocka_unit_test(large_and_huge_sizes_are_aligned),
        cmocka_unit_test(contents_are_kept_while_others_are_written),
        cmocka_unit_test(usable_bytes_do_not_overlap),
        cmocka_unit_test(malloc_of_zero_is_unique),
        cmocka_unit_test(calloc_of_zero_is_a_block),
        cmocka_unit_test(native_allocation_of_zero_is_null),
        cmocka_unit_test(native_blocks_are_the_familys_blocks),
        cmocka_unit_test(basic_allocation_of_the_document),
        cmocka_unit_test(hardly_used_sizes_share_pages),
        cmocka_unit_test(usable_size_is_the_class),
        cmocka_unit_test(a_size_that_fills_slabs_gets_them_with_their_memory),
        cmocka_unit_test(a_much_used_size_has_its_own_class),
        cmocka_unit_test(borrowed_blocks_are_aligned_and_whole),
        cmocka_unit_test(powers_of_two_have_no_waste),
        cmocka_unit_test(calloc_zeroes_fresh_memory),
        cmocka_unit_test(calloc_zeroes_recycled_memory),
        cmocka_unit_test(native_zeroed_is_zero_when_recycled),
        cmocka_unit_test(calloc_overflow_is_enomem),
        cmocka_unit_test(impossible_sizes_are_enomem),
        cmocka_unit_test(free_of_null_does_nothing),
        cmocka_unit_test(every_form_of_free_frees),
        cmocka_unit_test(free_preserves_errno),
        cmocka_unit_test(success_leaves_errno_alone),
        cmocka_unit_test(free_makes_memory_available_again),
        cmocka_unit_test(version_is_that_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
