/* Growing where a block is (R8): merged slots of slabs, runs, and the documents' two tests. */
#include "support.h"

#include "size_class.h"

/* A row of neighbouring blocks of one class, the first of their page or later. */
enum { ROW = 40 };
static char *row[ROW];

static void allocate_row(size_t size)
{
    /* Enough that the tail is cut from untouched memory, in order of address. */
    for (int attempt = 0; attempt < 1000; attempt++) {
        bool neighbours = true;
        for (size_t i = 0; i < ROW; i++)
            row[i] = malloc(size);
        for (size_t i = 1; i < ROW; i++)
            neighbours &= row[i] == row[i - 1] + size;
        if (neighbours)
            return;
        /* These stay, so that the next attempt gets others. */
    }
    fail_msg("no %d neighbours of %zu bytes", ROW, size);
}

static void free_row(size_t from)
{
    for (size_t i = from; i < ROW; i++)
        free(row[i]);
}

/* TURN 4 of the first document, InPlaceGrowth. A class of its own for this program, so that what
 * follows the first block is free. */
static void in_place_growth_of_the_document(void **state)
{
    void *block = cal_allocate(1024);
    void *original = block;
    memset(block, 0xaa, 1024);
    block = cal_reallocate(block, 2048);
    assert_ptr_equal(block, original);
    for (size_t i = 0; i < 1024; i++)
        assert_int_equal(((unsigned char *)block)[i], 0xaa);
    assert_true(cal_allocation_size(block) >= 2048);
    cal_deallocate(block);
}

/* TURN 4, VectorGrowth: 10 elements, doubled until 1000 fit; at least half of it in place. */
static void vector_growth_of_the_document(void **state)
{
    int *data = NULL;
    size_t size = 0;
    size_t capacity = 0;
    size_t growths = 0;
    size_t in_place = 0;
    for (int i = 0; i < 1000; i++) {
        if (size == capacity) {
            size_t new_capacity = capacity == 0 ? 10 : capacity * 2;
            int *new_data = cal_reallocate(data, new_capacity * sizeof(int));
            assert_non_null(new_data);
            if (data != NULL) {
                growths++;
                in_place += new_data == data;
            }
            data = new_data;
            capacity = new_capacity;
        }
        data[size++] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(data[i], i);
    print_message("%zu of %zu growths in place\n", in_place, growths);
    assert_true(in_place * 2 >= growths);
    cal_deallocate(data);
}

static void a_block_grows_over_free_neighbours(void **state)
{
    allocate_row(512);
    struct cal_statistics before = statistics();
    for (size_t i = 11; i < 15; i++)
        free(row[i]);
    fill(row[10], 512, 1);
    assert_ptr_equal(cal_try_reallocate_in_place(row[10], 2000), row[10]);
    assert_int_equal(malloc_usable_size(row[10]), 2048);
    assert_true(is_filled(row[10], 512, 1));
    fill(row[10], 2048, 2);
    fill(row[9], 512, 3);
    assert_true(is_filled(row[10], 2048, 2));
    /* One more slot is free, a further one is not. */
    assert_ptr_equal(cal_try_reallocate_in_place(row[10], 2560), row[10]);
    assert_null(cal_try_reallocate_in_place(row[10], 2561));
    assert_int_equal(malloc_usable_size(row[10]), 2560);
    struct cal_statistics now = statistics();
    assert_int_equal(now.active_bytes, before.active_bytes);
    assert_int_equal(now.active_allocations, before.active_allocations - 4);
    /* Bytes that came by growing were allocated, if not as blocks. */
    assert_int_equal(now.total_allocated, before.total_allocated + 2048);
    assert_int_equal(now.total_freed, before.total_freed + 2048);
    assert_int_equal(now.allocations, before.allocations);
    free(row[10]);
    for (size_t i = 0; i < 10; i++)
        free(row[i]);
    free_row(15);
    assert_int_equal(statistics().active_bytes, before.active_bytes - ROW * 512);
}

static void a_block_does_not_grow_over_a_live_neighbour(void **state)
{
    allocate_row(768);
    fill(row[6], 768, 6);
    assert_null(cal_try_reallocate_in_place(row[5], 769));
    assert_int_equal(malloc_usable_size(row[5]), 768);
    assert_true(is_filled(row[6], 768, 6));
    free_row(0);
}

static void shrinking_gives_the_slots_back(void **state)
{
    allocate_row(640);
    for (size_t i = 1; i < 8; i++)
        free(row[i]);
    size_t before = statistics().active_bytes;
    assert_ptr_equal(cal_try_reallocate_in_place(row[0], 8 * 640), row[0]);
    fill(row[0], 8 * 640, 4);
    assert_int_equal(statistics().active_bytes, before + 7 * 640);
    assert_ptr_equal(cal_try_reallocate_in_place(row[0], 3 * 640), row[0]);
    assert_int_equal(malloc_usable_size(row[0]), 3 * 640);
    assert_int_equal(statistics().active_bytes, before + 2 * 640);
    assert_ptr_equal(cal_try_reallocate_in_place(row[0], 1), row[0]);
    assert_int_equal(malloc_usable_size(row[0]), 640);
    assert_int_equal(statistics().active_bytes, before);
    assert_true(is_filled(row[0], 640, 4));
    /* The slots can be had again. */
    size_t found = 0;
    static void *others[20000];
    size_t count = 0;
    while (found < 7 && count < 20000) {
        others[count] = malloc(640);
        found += (char *)others[count] > row[0] && (char *)others[count] < row[8];
        count++;
    }
    assert_int_equal(found, 7);
    while (count > 0)
        free(others[--count]);
    free(row[0]);
    free_row(8);
}

static void *free_it(void *block)
{
    free(block);
    return NULL;
}

static void another_thread_may_free_a_merged_block(void **state)
{
    allocate_row(896);
    warm_up_threads(1);
    for (size_t i = 3; i < 6; i++)
        free(row[i]);
    struct cal_statistics before = statistics();
    assert_ptr_equal(cal_try_reallocate_in_place(row[2], 4 * 896), row[2]);
    fill(row[2], 4 * 896, 2);
    pthread_t thread;
    start_thread(&thread, free_it, row[2]);
    join_thread(thread);
    struct cal_statistics after = statistics();
    assert_int_equal(after.active_allocations, before.active_allocations - 1);
    assert_int_equal(after.active_bytes, before.active_bytes - 896);
    free(row[0]);
    free(row[1]);
    free_row(6);
    assert_int_equal(statistics().active_allocations, before.active_allocations - ROW + 3);
    /* All slots are whole again. */
    allocate_row(896);
    for (size_t i = 0; i < ROW; i++)
        fill(row[i], 896, i);
    for (size_t i = 0; i < ROW; i++)
        assert_true(is_filled(row[i], 896, i));
    free_row(0);
}

static void *allocate_and_merge(void *argument)
{
    allocate_row(1024);
    for (size_t i = 1; i < 5; i++)
        free(row[i]);
    require(cal_try_reallocate_in_place(row[0], 5 * 1024) == row[0]);
    fill(row[0], 5 * 1024, 8);
    return argument;
}

static void a_merged_block_outlives_its_thread(void **state)
{
    warm_up_threads(1);
    size_t before = statistics().active_allocations;
    pthread_t thread;
    start_thread(&thread, allocate_and_merge, NULL);
    join_thread(thread);
    size_t left = statistics().active_allocations;
    assert_true(left >= before + ROW - 4);
    assert_int_equal(malloc_usable_size(row[0]), 5 * 1024);
    assert_true(is_filled(row[0], 5 * 1024, 8));
    free(row[0]);
    assert_int_equal(statistics().active_allocations, left - 1);
    free_row(5);
    assert_int_equal(statistics().active_allocations, left - 1 - (ROW - 5));
}

static size_t misuse_offset;

static void free_inside_a_merged_block(void)
{
    allocate_row(512);
    for (size_t i = 21; i < 25; i++)
        free(row[i]);
    require(cal_try_reallocate_in_place(row[20], 5 * 512) == row[20]);
    free(blame(row[20] + misuse_offset));
}

static void free_inside_a_merged_block_remotely(void)
{
    allocate_row(512);
    for (size_t i = 21; i < 25; i++)
        free(row[i]);
    require(cal_try_reallocate_in_place(row[20], 5 * 512) == row[20]);
    pthread_t thread;
    start_thread(&thread, free_it, blame(row[20] + misuse_offset));
    join_thread(thread);
}

/* The continuation is a slot's start, and still not a block. */
static void the_inside_of_a_merged_block_is_no_block(void **state)
{
    static const size_t offsets[] = {16, 512, 1024, 4 * 512, 4 * 512 + 16};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        misuse_offset = offsets[i];
        assert_dies_with("invalid free", free_inside_a_merged_block);
        assert_dies_with("invalid free", free_inside_a_merged_block_remotely);
    }
}

static void realloc_of_a_merged_block_keeps_all_of_it(void **state)
{
    allocate_row(512);
    for (size_t i = 1; i < 6; i++)
        free(row[i]);
    char *block = realloc(row[0], 3000);
    assert_ptr_equal(block, row[0]);
    fill(block, 3000, 5);
    block = realloc(block, 100000);
    assert_non_null(block);
    assert_true(is_filled(block, 3000, 5));
    free(block);
    free_row(6);
}

static void in_place_refusals_change_nothing(void **state)
{
    errno = 4711;
    assert_null(cal_try_reallocate_in_place(NULL, 100));
    static const size_t sizes[] = {100, 1000, 100000, 500000, 5000000};
    for (size_t i = 0; i < 5; i++) {
        void *block = malloc(sizes[i]);
        size_t usable = malloc_usable_size(block);
        fill(block, sizes[i], i);
        assert_null(cal_try_reallocate_in_place(block, 0));
        assert_null(cal_try_reallocate_in_place(block, SIZE_MAX));
        assert_null(cal_try_reallocate_in_place(block, (size_t)PTRDIFF_MAX));
        assert_null(cal_try_reallocate_in_place(block, (size_t)1 << 46));
        assert_int_equal(malloc_usable_size(block), usable);
        assert_true(is_filled(block, sizes[i], i));
        free(block);
    }
    assert_int_equal(errno, 4711);
}

static void runs_grow_and_shrink_in_place(void **state)
{
    char *block = malloc(900000);
    fill(block, 900000, 1);
    assert_ptr_equal(cal_try_reallocate_in_place(block, 200000), block);
    assert_in_range(malloc_usable_size(block), 200000, 262144);
    /* What it just gave back follows it. */
    assert_ptr_equal(cal_try_reallocate_in_place(block, 800000), block);
    assert_true(malloc_usable_size(block) >= 800000);
    assert_true(is_filled(block, 200000, 1));
    memset(block, 1, 800000);
    free(block);
}

/* Many merges and ends of merges, each block's bytes watched. */
static void random_growth_keeps_contents_and_counts(void **state)
{
    enum { COUNT = 200 };
    static char *blocks[COUNT];
    static size_t sizes[COUNT];
    struct random random = {4};
    size_t before = statistics().active_bytes;
    size_t grown = 0;
    for (size_t step = 0; step < test_repeat(60000); step++) {
        size_t i = random_below(&random, COUNT);
        if (blocks[i] == NULL) {
            sizes[i] = 257 + random_below(&random, 256);
            blocks[i] = malloc(sizes[i]);
            fill(blocks[i], sizes[i], i);
            continue;
        }
        size_t size = 1 + random_below(&random, 4000);
        if (random_below(&random, 4) == 0) {
            assert_true(is_filled(blocks[i], sizes[i], i));
            free(blocks[i]);
            blocks[i] = NULL;
        } else if (cal_try_reallocate_in_place(blocks[i], size) != NULL) {
            assert_true(is_filled(blocks[i], size < sizes[i] ? size : sizes[i], i));
            assert_true(malloc_usable_size(blocks[i]) >= size);
            grown += size > sizes[i];
            fill(blocks[i], size, i);
            sizes[i] = size;
        }
        if (step % 5000 == 0) {
            size_t bytes = 0;
            for (size_t j = 0; j < COUNT; j++)
                bytes += blocks[j] == NULL ? 0 : malloc_usable_size(blocks[j]);
            assert_int_equal(statistics().active_bytes, before + bytes);
        }
    }
    assert_true(grown > 100);
    for (size_t i = 0; i < COUNT; i++) {
        if (blocks[i] != NULL)
            assert_true(is_filled(blocks[i], sizes[i], i));
        free(blocks[i]);
    }
    assert_int_equal(statistics().active_bytes, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_place_growth_of_the_document),
        cmocka_unit_test(vector_growth_of_the_document),
        cmocka_unit_test(a_block_grows_over_free_neighbours),
        cmocka_unit_test(a_block_does_not_grow_over_a_live_neighbour),
        cmocka_unit_test(shrinking_gives_the_slots_back),
        cmocka_unit_test(another_thread_may_free_a_merged_block),
        cmocka_unit_test(a_merged_block_outlives_its_thread),
        cmocka_unit_test(the_inside_of_a_merged_block_is_no_block),
        cmocka_unit_test(realloc_of_a_merged_block_keeps_all_of_it),
        cmocka_unit_test(in_place_refusals_change_nothing),
        cmocka_unit_test(runs_grow_and_shrink_in_place),
        cmocka_unit_test(random_growth_keeps_contents_and_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
