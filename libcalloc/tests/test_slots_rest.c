/* The role slots: large blocks that rest with their slabs open, and are used again. */
#include "support.h"

#include <pthread.h>
#include <unistd.h>

#include "slots_addon.h"

enum { LARGE = 200000 };

static size_t open_now(void)
{
    return slots_addon.opened - slots_addon.closed;
}

static void *range_of(const void *block)
{
    struct cal_slab *slab = cal_slot_find(block, NULL);
    require(slab != NULL && slab->slots == 1 && slab->first == block);
    return slab->address;
}

static void write_all(void *block, size_t size)
{
    memset(block, 0xee, size);
}

static void a_block_that_rests_serves_another_request(void **state)
{
    static const size_t sizes[] = {LARGE, LARGE - 5000, LARGE + 30, LARGE - 17, LARGE - 10000};
    malloc_trim(0);
    char *block = malloc(LARGE);
    void *range = range_of(block);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t opened = slots_addon.opened, reopened = slots_addon.reopened;
        write_all(block, i == 0 ? LARGE : sizes[i - 1]);
        free(block);
        assert_null(cal_slot_find(block, NULL));
        block = malloc(sizes[i]);
        assert_ptr_equal(range_of(block), range);
        assert_int_equal(slots_addon.opened, opened);
        assert_int_equal(slots_addon.reopened, reopened + 1);
        assert_ptr_equal(cal_slot_find(block + sizes[i] - 1, NULL), cal_slot_find(block, NULL));
        assert_true(malloc_usable_size(block) >= sizes[i]);
    }
    free(block);
}

/* In granules with the space of guards. */
static size_t bytes_of(size_t granules)
{
    return granules * 65536 - 3 * 4096 - (test_is_annotated() ? 16 : 0);
}

static void one_that_is_hardly_longer_serves_too(void **state)
{
    malloc_trim(0);
    char *block = malloc(bytes_of(16));
    void *range = range_of(block);
    /* Of which some start in another granule of the range. */
    static const size_t granules[] = {16, 15, 13, 16, 13, 15, 16};
    for (size_t i = 0; i < sizeof granules / sizeof granules[0]; i++) {
        free(block);
        size_t size = bytes_of(granules[i]);
        block = malloc(size);
        assert_ptr_equal(range_of(block), range);
        assert_true((size_t)(block - (char *)range) >= (16 - granules[i]) * 65536);
        write_all(block, size);
        assert_ptr_equal(cal_slot_find(block + size - 1, NULL), cal_slot_find(block, NULL));
        block = realloc(block, size - 100);
    }
    free(block);
    block = malloc(bytes_of(12));
    assert_ptr_not_equal(range_of(block), range);
    free(block);
}

static void what_cannot_be_used_again_is_closed(void **state)
{
    malloc_trim(0);
    size_t open = open_now();
    free(malloc(LARGE));
    assert_int_equal(open_now(), open + 1);
    slots_addon.refuse_open = true;
    assert_null(malloc(LARGE));
    assert_int_equal(open_now(), open);
    slots_addon.refuse_open = false;
    char *block = malloc(LARGE);
    write_all(block, LARGE);
    free(block);
}

static void zeros_are_zeros(void **state)
{
    malloc_trim(0);
    for (int i = 0; i < 3; i++) {
        char *block = malloc(LARGE);
        write_all(block, LARGE);
        free(block);
        block = calloc(1, LARGE);
        assert_true(is_zero(block, LARGE));
        free(block);
    }
}

static void a_second_free_is_found(void **state)
{
    char *block = malloc(LARGE);
    slots_addon.tolerate = true;
    size_t errors = slots_addon.errors[CAL_ERROR_DOUBLE_FREE];
    free(block);
    free(block);
    assert_int_equal(slots_addon.errors[CAL_ERROR_DOUBLE_FREE], errors + 1);
    assert_ptr_equal(slots_addon.error_address, block);
    slots_addon.tolerate = false;
    char *one = malloc(LARGE), *other = malloc(LARGE);
    assert_ptr_not_equal(one, other);
    free(one);
    free(other);
}

static bool count_live(void *block, size_t size, void *argument)
{
    ++*(size_t *)argument;
    return true;
}

static size_t live_blocks(void)
{
    size_t live = 0;
    assert_true(cal_walk_blocks(count_live, &live));
    return live;
}

static void what_rests_is_not_in_use(void **state)
{
    malloc_trim(0);
    struct cal_statistics then = statistics();
    size_t live = live_blocks();
    free(malloc(LARGE));
    struct cal_statistics now = statistics();
    assert_int_equal(now.active_allocations, then.active_allocations);
    assert_int_equal(now.active_bytes, then.active_bytes);
    assert_int_equal(live_blocks(), live);
}

static void a_trim_ends_all_rest(void **state)
{
    malloc_trim(0);
    size_t open = open_now();
    free(malloc(LARGE));
    assert_int_equal(open_now(), open + 1);
    malloc_trim(0);
    assert_int_equal(open_now(), open);
}

static void the_delay_ends_the_rest(void **state)
{
    malloc_trim(0);
    size_t open = open_now();
    free(malloc(LARGE));
    /* The longest delay of what may rest, and more. */
    usleep(600000);
    free(malloc(2 * LARGE));
    /* Where the kernel has no clock that can be read without a call, as valgrind, calls are counted. */
    for (int i = 0; i < 20000 && open_now() != open + 1; i++)
        free(malloc(2 * LARGE));
    assert_int_equal(open_now(), open + 1);
    malloc_trim(0);
}

static void few_rest(void **state)
{
    enum { BLOCKS = 100 };
    void *blocks[BLOCKS];
    malloc_trim(0);
    size_t open = open_now();
    for (size_t i = 0; i < BLOCKS; i++)
        assert_non_null(blocks[i] = malloc(LARGE));
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    /* A MiB, when no large block lives, and a sixteenth of what did before. */
    assert_true(open_now() - open <= 4 + BLOCKS / 16 + 1);
    /* Longer ones do not rest at all. */
    malloc_trim(0);
    free(malloc((size_t)3 << 20));
    free(malloc((size_t)30 << 20));
    assert_int_equal(open_now(), open);
}

static void *replace(void *argument)
{
    enum { BLOCKS = 16, ROUNDS = 1500 };
    struct random random = {(uintptr_t)argument};
    unsigned char *block[BLOCKS] = {NULL};
    size_t size[BLOCKS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = random_below(&random, BLOCKS);
        if (block[i] != NULL)
            require(block[i][0] == i && block[i][size[i] - 1] == i);
        free(block[i]);
        size[i] = 140000 + random_below(&random, 300000);
        require((block[i] = malloc(size[i])) != NULL);
        block[i][0] = block[i][size[i] - 1] = (unsigned char)i;
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(block[i]);
    return NULL;
}

static void threads_share_what_rests(void **state)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    size_t reopened = slots_addon.reopened;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, replace, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(slots_addon.reopened > reopened);
}

int main(void)
{
    test_is_annotated(); /* before it looks as if a tool were told of each block */
    slots_let_rest();
    slots_addon.keep_max = 0;
    require(cal_hooks_register(&slots_hooks) == 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_that_rests_serves_another_request),
        cmocka_unit_test(one_that_is_hardly_longer_serves_too),
        cmocka_unit_test(what_cannot_be_used_again_is_closed),
        cmocka_unit_test(zeros_are_zeros),
        cmocka_unit_test(a_second_free_is_found),
        cmocka_unit_test(what_rests_is_not_in_use),
        cmocka_unit_test(a_trim_ends_all_rest),
        cmocka_unit_test(the_delay_ends_the_rest),
        cmocka_unit_test(few_rest),
        cmocka_unit_test(threads_share_what_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
