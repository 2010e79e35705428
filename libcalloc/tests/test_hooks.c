/* The hook table: an observer that counts, and what is refused. */
#include "support.h"

#include <calloc/hooks.h>

/* What the observer saw. Another thread may be seen too. */
static _Atomic size_t allocated, freed, resized;
static _Atomic size_t live_bytes;
static void *_Atomic last_block;
static _Atomic size_t last_requested, last_usable, last_old_usable;

static void saw_allocated(void *block, size_t requested, size_t usable)
{
    require(usable >= requested);
    allocated++;
    live_bytes += usable;
    last_block = block;
    last_requested = requested;
    last_usable = usable;
}

static void saw_freeing(void *block, size_t usable)
{
    freed++;
    live_bytes -= usable;
    last_block = block;
    last_usable = usable;
}

static void saw_resized(void *block, size_t old_usable, size_t requested, size_t usable)
{
    require(usable >= requested);
    resized++;
    live_bytes += usable - old_usable;
    last_block = block;
    last_old_usable = old_usable;
    last_usable = usable;
}

static void sets_errno(void *block, size_t requested, size_t usable)
{
    (void)block;
    (void)requested;
    (void)usable;
    errno = EXDEV;
}

static void sets_errno_too(void *block, size_t usable)
{
    (void)block;
    (void)usable;
    errno = EXDEV;
}

static const struct cal_observer counter = {.size = sizeof counter,
                                            .allocated = saw_allocated,
                                            .freeing = saw_freeing,
                                            .resized = saw_resized};
static const struct cal_hooks counting = {.size = sizeof counting,
                                          .version = CAL_HOOKS_VERSION,
                                          .name = "counting",
                                          .component_version = "1.0",
                                          .observer = &counter};

static int start_counting(void **state)
{
    allocated = freed = resized = live_bytes = 0;
    return cal_hooks_register(&counting);
}

static int stop_counting(void **state)
{
    return cal_hooks_unregister(&counting);
}

static void assert_seen(size_t allocations, size_t frees, size_t resizes)
{
    size_t seen[3] = {allocated, freed, resized};
    assert_int_equal(seen[0], allocations);
    assert_int_equal(seen[1], frees);
    assert_int_equal(seen[2], resizes);
}

static const size_t sizes[] = {1, 100, 1024, 3000, 8192, 60000, 131072, 300000, 3000000, 9000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void every_allocation_and_free_is_seen(void **state)
{
    void *blocks[SIZES];
    for (size_t i = 0; i < SIZES; i++) {
        blocks[i] = malloc(sizes[i]);
        assert_ptr_equal(last_block, blocks[i]);
        assert_int_equal(last_requested, sizes[i]);
        assert_int_equal(last_usable, malloc_usable_size(blocks[i]));
        assert_seen(i + 1, 0, 0);
    }
    for (size_t i = 0; i < SIZES; i++) {
        size_t usable = malloc_usable_size(blocks[i]);
        free(blocks[i]);
        assert_ptr_equal(last_block, blocks[i]);
        assert_int_equal(last_usable, usable);
        assert_seen(SIZES, i + 1, 0);
    }
    assert_int_equal(live_bytes, 0);
}

static void every_function_is_seen(void **state)
{
    void *block = NULL;
    free(malloc(10));
    assert_seen(1, 1, 0);
    free(calloc(3, 10));
    assert_seen(2, 2, 0);
    free(realloc(NULL, 10));
    assert_seen(3, 3, 0);
    free(aligned_alloc(64, 10));
    assert_seen(4, 4, 0);
    assert_int_equal(posix_memalign(&block, 4096, 10), 0);
    assert_seen(5, 4, 0);
    assert_null(realloc(block, 0));
    assert_seen(5, 5, 0);
    cal_deallocate(cal_allocate(10));
    assert_seen(6, 6, 0);
    cal_deallocate(cal_allocate_zeroed(10));
    cal_deallocate(cal_allocate_aligned(10, 256));
    assert_seen(8, 8, 0);
    free(memalign(32, 1));
    free(valloc(1));
    assert_seen(10, 10, 0);
    free(NULL);
    volatile size_t impossible = SIZE_MAX;
    assert_null(malloc(impossible));
    assert_null(calloc(impossible, 2));
    assert_seen(10, 10, 0);
    assert_int_equal(live_bytes, 0);
}

static void many_allocations_are_counted_exactly(void **state)
{
    static void *blocks[20000];
    size_t count = test_repeat(20000);
    for (size_t i = 0; i < count; i++)
        blocks[i] = malloc(i % 2000);
    assert_seen(count, 0, 0);
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    assert_seen(count, count, 0);
    assert_int_equal(live_bytes, 0);
}

static void a_resize_in_place_is_a_resize(void **state)
{
    if (test_is_annotated()) {
        print_message("under memcheck no block is resized in place: nothing to see here\n");
        return;
    }
    void *block = malloc(1000);
    assert_ptr_equal(cal_try_reallocate_in_place(block, 900), block);
    assert_seen(1, 0, 1);
    assert_ptr_equal(last_block, block);
    assert_null(cal_try_reallocate_in_place(block, SIZE_MAX));
    assert_seen(1, 0, 1);
    free(block);
    block = malloc(9000000);
    size_t usable = malloc_usable_size(block);
    assert_ptr_equal(cal_try_reallocate_in_place(block, 8000000), block);
    assert_int_equal(last_old_usable, usable);
    assert_int_equal(last_usable, malloc_usable_size(block));
    assert_seen(2, 1, 2);
    free(block);
    assert_int_equal(live_bytes, 0);
}

static void a_resize_that_moves_is_an_allocation_and_a_free(void **state)
{
    void *block = malloc(100);
    void *moved = realloc(block, 100000);
    assert_ptr_not_equal(moved, block);
    assert_seen(2, 1, 0);
    void *back = realloc(moved, 50);
    assert_ptr_not_equal(back, moved);
    assert_seen(3, 2, 0);
    free(back);
    assert_seen(3, 3, 0);
    assert_int_equal(live_bytes, 0);
}

/* Each call is either a resize, or an allocation and a free, whatever is done to the mapping. */
static void resizes_of_mappings_balance(void **state)
{
    char *block = malloc(6000000);
    size_t steps = 0;
    for (size_t size = 9000000; size < 150000000; size = size * 3 / 2) {
        void *obstacle = malloc(6000000);
        block = realloc(block, size);
        assert_non_null(block);
        block[size - 1] = 1;
        free(obstacle);
        steps++;
        assert_int_equal(allocated - freed, 1);
        assert_int_equal(live_bytes, malloc_usable_size(block));
        assert_int_equal(allocated + resized, 1 + 2 * steps);
    }
    assert_null(realloc(block, SIZE_MAX / 2));
    assert_int_equal(live_bytes, malloc_usable_size(block));
    free(block);
    assert_int_equal(live_bytes, 0);
}

static void random_resizes_balance(void **state)
{
    enum { COUNT = 100 };
    static void *blocks[COUNT];
    struct random random = {8};
    for (size_t step = 0; step < test_repeat(20000); step++) {
        size_t i = random_below(&random, COUNT);
        blocks[i] = realloc(blocks[i], random_size(&random, 18));
        assert_non_null(blocks[i]);
    }
    size_t usable = 0;
    for (size_t i = 0; i < COUNT; i++)
        usable += malloc_usable_size(blocks[i]);
    assert_int_equal(live_bytes, usable);
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
    assert_int_equal(live_bytes, 0);
    assert_int_equal(allocated, freed);
}

static void earlier_blocks_are_seen_when_they_are_freed(void **state)
{
    void *blocks[SIZES];
    for (size_t i = 0; i < SIZES; i++)
        blocks[i] = malloc(sizes[i]);
    start_counting(state);
    for (size_t i = 0; i < SIZES; i++)
        free(blocks[i]);
    assert_seen(0, SIZES, 0);
    stop_counting(state);
}

static void after_unregistering_nothing_is_seen(void **state)
{
    static void *blocks[500];
    for (int round = 0; round < 20; round++) {
        start_counting(state);
        for (size_t i = 0; i < 500; i++)
            blocks[i] = malloc(i);
        assert_seen(500, 0, 0);
        stop_counting(state);
        for (size_t i = 0; i < 500; i++)
            free(blocks[i]);
        for (size_t i = 0; i < 500; i++)
            blocks[i] = malloc(i);
        assert_seen(500, 0, 0);
        start_counting(state);
        for (size_t i = 0; i < 500; i++)
            free(blocks[i]);
        assert_seen(0, 500, 0);
        stop_counting(state);
    }
}

static void *allocate_hundred(void *argument)
{
    for (size_t i = 0; i < 100; i++)
        free(malloc(i * 50));
    return argument;
}

static void new_threads_are_seen(void **state)
{
    pthread_t thread;
    warm_up_threads(1);
    size_t before[2] = {allocated, freed};
    start_thread(&thread, allocate_hundred, NULL);
    join_thread(thread);
    assert_seen(before[0] + 100, before[1] + 100, 0);
}

static void two_observers_both_see(void **state)
{
    static const struct cal_hooks second = {.size = sizeof second,
                                            .version = CAL_HOOKS_VERSION,
                                            .name = "second",
                                            .component_version = "2",
                                            .observer = &counter};
    assert_int_equal(cal_hooks_register(&second), 0);
    free(malloc(10));
    assert_seen(2, 2, 0);
    assert_int_equal(cal_hooks_unregister(&second), 0);
    free(malloc(10));
    assert_seen(3, 3, 0);
}

/* Of every size that there is a short way for, when its block is at hand and when it is not. */
static void errno_and_zeros_are_as_without_observers(void **state)
{
    static const struct cal_observer careless = {
        .size = sizeof careless, .allocated = sets_errno, .freeing = sets_errno_too};
    static const struct cal_hooks hooks = {.size = sizeof hooks,
                                           .version = CAL_HOOKS_VERSION,
                                           .name = "careless",
                                           .component_version = "1",
                                           .observer = &careless};
    for (unsigned both = 0; both < 2; both++) {
        assert_int_equal(cal_hooks_register(&hooks), 0);
        for (size_t size = 1; size <= 140000; size += size / 3 + 1) {
            size_t before[2] = {allocated, freed};
            for (unsigned i = 0; i < 3; i++) {
                unsigned char *block = calloc(1, size);
                assert_true(block[0] == 0 && block[size / 2] == 0 && block[size - 1] == 0);
                memset(block, 0xff, size);
                errno = ERANGE;
                free(block);
                assert_int_equal(errno, ERANGE);
            }
            assert_seen(before[0] + 3 * both, before[1] + 3 * both, 0);
        }
        assert_int_equal(cal_hooks_unregister(&hooks), 0);
        if (both == 0)
            start_counting(state);
    }
    stop_counting(state);
}

/* Tables of another age. */

static void shorter_tables_play_the_roles_they_have(void **state)
{
    static const struct cal_observer old_observer = {.size = offsetof(struct cal_observer, freeing),
                                                     .allocated = saw_allocated,
                                                     .freeing = saw_freeing,
                                                     .resized = saw_resized};
    static struct cal_hooks old = {.size = offsetof(struct cal_hooks, lifecycle),
                                   .version = CAL_HOOKS_VERSION,
                                   .name = "old",
                                   .component_version = "0",
                                   .observer = &old_observer,
                                   .lifecycle = (const void *)16 /* beyond its size */};
    allocated = freed = resized = 0;
    assert_int_equal(cal_hooks_register(&old), 0);
    free(malloc(10));
    allocate_hundred(NULL);
    pthread_t thread;
    warm_up_threads(1);
    start_thread(&thread, allocate_hundred, NULL);
    join_thread(thread);
    assert_int_equal(cal_hooks_unregister(&old), 0);
    assert_true(allocated >= 201);
    assert_int_equal(freed, 0);
    old.size = offsetof(struct cal_hooks, observer);
    allocated = 0;
    assert_int_equal(cal_hooks_register(&old), 0);
    free(malloc(10));
    assert_int_equal(allocated, 0);
    assert_int_equal(cal_hooks_unregister(&old), 0);
}

static void longer_tables_are_accepted(void **state)
{
    static const struct {
        struct cal_hooks known;
        void *future[4];
    } newer = {.known = {.size = sizeof newer,
                         .version = CAL_HOOKS_VERSION,
                         .name = "newer",
                         .component_version = "9"}};
    assert_int_equal(cal_hooks_register(&newer.known), 0);
    assert_int_equal(cal_hooks_unregister(&newer.known), 0);
}

/* Refusals: the result, and the line, which names who. */

static const struct cal_hooks *table;
static int expected_result;

static void register_in_child(void)
{
    require(cal_hooks_register(table) == expected_result);
    free(malloc(100));
}

static void assert_refused(const struct cal_hooks *hooks, int error, const char *line)
{
    char text[1000];
    table = hooks;
    expected_result = error;
    run_in_child(register_in_child, text, sizeof text);
    assert_string_equal(text, line);
}

static void malformed_tables_are_refused(void **state)
{
    struct cal_hooks hooks = counting;
    hooks.size = offsetof(struct cal_hooks, source) - 1;
    assert_int_equal(cal_hooks_register(&hooks), -EINVAL);
    hooks = counting;
    hooks.name = NULL;
    assert_int_equal(cal_hooks_register(&hooks), -EINVAL);
    hooks = counting;
    hooks.component_version = NULL;
    assert_int_equal(cal_hooks_register(&hooks), -EINVAL);
    assert_int_equal(cal_hooks_register(NULL), -EINVAL);
}

static void other_versions_are_refused(void **state)
{
    struct cal_hooks hooks = counting;
    hooks.version = CAL_HOOKS_VERSION + 1;
    assert_refused(&hooks, -EINVAL,
                   "libcalloc: add-on 'counting' refused: its hook table has another version\n");
    hooks.version = 0;
    assert_refused(&hooks, -EINVAL,
                   "libcalloc: add-on 'counting' refused: its hook table has another version\n");
}

static size_t all_of_it(struct cal_slab *slab, uint32_t slot, const void *block)
{
    return slab->room;
}

static void incomplete_roles_are_refused(void **state)
{
    static const struct cal_slots slots = {.size = sizeof slots, .extra = 1};
    static const struct cal_owner owner = {.size = sizeof owner};
    static const struct cal_source no_source = {.size = sizeof no_source};
    struct cal_hooks hooks = counting;
    hooks.slots = &slots;
    assert_refused(
        &hooks, -EINVAL,
        "libcalloc: add-on 'counting' refused: its slots have 'extra' and no 'usable'\n");
    static const struct cal_slots much = {.size = sizeof much, .extra = 4097, .usable = all_of_it};
    hooks.slots = &much;
    assert_refused(&hooks, -EINVAL,
                   "libcalloc: add-on 'counting' refused: its slots have too much 'extra'\n");
    hooks = counting;
    hooks.owner = &owner;
    assert_refused(
        &hooks, -EINVAL,
        "libcalloc: add-on 'counting' refused: its owner lacks 'deallocate' or 'usable'\n");
    hooks = counting;
    hooks.source = &no_source;
    assert_refused(&hooks, -EINVAL,
                   "libcalloc: add-on 'counting' refused: its source lacks a function\n");
}

/* Options, and the start. */

static char told[200];
static int start_result;

static void note(const char *text, size_t length)
{
    size_t used = strlen(told);
    require(used + length + 2 < sizeof told);
    memcpy(told + used, text, length);
    told[used + length] = ';';
}

static void noting_option(const char *item, size_t length)
{
    note(item, length);
}

static struct cal_hooks noting;

/* The roles may be filled in as late as here. */
static int noting_start(void)
{
    note("start", 5);
    noting.observer = &counter;
    return start_result;
}

static void make_noting(const char *items)
{
    require(setenv("CALLOC_OPTIONS", items, 1) == 0);
    noting = (struct cal_hooks){.size = sizeof noting,
                                .version = CAL_HOOKS_VERSION,
                                .name = "late",
                                .component_version = "1",
                                .option = noting_option,
                                .start = noting_start};
    allocated = 0;
}

static void register_with_options(void)
{
    make_noting(
        ",late.a=1,purge_delay=5,late.b,other.a=2,lat.c=3,later.d=4,late=5,late.a=6=7,late.");
    require(cal_hooks_register(&noting) == 0);
    require(strcmp(told, "a=1;b;a=6=7;;start;") == 0);
    free(malloc(10));
    require(allocated == 1);
    require(cal_hooks_register(&noting) == -EEXIST);
    require(strcmp(told, "a=1;b;a=6=7;;start;") == 0);
    require(cal_hooks_unregister(&noting) == 0);
    /* Anew. */
    require(setenv("CALLOC_OPTIONS", "late.z", 1) == 0);
    require(cal_hooks_register(&noting) == 0);
    require(strcmp(told, "a=1;b;a=6=7;;start;z;start;") == 0);
}

static void register_shorter(void)
{
    make_noting("late.a=1");
    noting.size = offsetof(struct cal_hooks, start);
    require(cal_hooks_register(&noting) == 0);
    require(strcmp(told, "a=1;") == 0);
    require(cal_hooks_unregister(&noting) == 0);
    noting.size = offsetof(struct cal_hooks, option);
    require(cal_hooks_register(&noting) == 0);
    require(strcmp(told, "a=1;") == 0);
}

static void options_come_before_the_start_and_that_before_the_roles(void **state)
{
    char text[1000];
    run_in_child(register_with_options, text, sizeof text);
    assert_string_equal(text, "");
    run_in_child(register_shorter, text, sizeof text);
    assert_string_equal(text, "");
}

static void start_in_vain(void)
{
    make_noting("late.a=1");
    noting.source = (const void *)told; /* is not looked at */
    require(cal_hooks_register(&noting) == start_result);
    require(strcmp(told, "a=1;start;") == 0);
    free(malloc(10));
    require(allocated == 0);
    require(cal_hooks_unregister(&noting) == -ENOENT);
    noting.source = NULL;
    start_result = 0;
    require(cal_hooks_register(&noting) == 0);
}

static void an_add_on_may_not_start(void **state)
{
    char text[1000];
    start_result = -ECANCELED;
    run_in_child(start_in_vain, text, sizeof text);
    assert_string_equal(text, "");
    start_result = -EIO;
    run_in_child(start_in_vain, text, sizeof text);
    assert_string_equal(text, "libcalloc: add-on 'late' refused: it cannot start\n");
    start_result = 0;
}

static void *register_noting(void *results)
{
    int result = cal_hooks_register(&noting);
    require(result == 0 || result == -EEXIST);
    ((_Atomic int *)results)[result == 0]++;
    return NULL;
}

static void register_in_threads(void)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    _Atomic int results[2] = {0, 0};
    make_noting("late.a=1");
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], register_noting, (void *)results);
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    require(results[0] == THREADS - 1 && results[1] == 1);
    require(strcmp(told, "a=1;start;") == 0);
}

static void of_many_threads_one_starts_it(void **state)
{
    char text[1000];
    for (int round = 0; round < 10; round++) {
        run_in_child(register_in_threads, text, sizeof text);
        assert_string_equal(text, "");
    }
}

static void a_table_is_registered_once(void **state)
{
    assert_int_equal(cal_hooks_register(&counting), 0);
    assert_refused(&counting, -EEXIST, "");
    assert_int_equal(cal_hooks_unregister(&counting), 0);
    assert_int_equal(cal_hooks_unregister(&counting), -ENOENT);
    assert_int_equal(cal_hooks_unregister(NULL), -ENOENT);
}

static void eight_tables_are_the_most(void **state)
{
    if (TEST_SLOTS) {
        print_message("with the role slots one is registered already\n");
        return;
    }
    static struct cal_hooks many[9];
    for (size_t i = 0; i < 9; i++) {
        many[i] = counting;
        many[i].observer = NULL;
        many[i].name = i == 0 ? "the first" : "another";
        if (i < 8)
            assert_int_equal(cal_hooks_register(&many[i]), 0);
    }
    many[8].name = "the ninth";
    assert_refused(&many[8], -ENOSPC,
                   "libcalloc: add-on 'the ninth' refused: eight add-ons are registered already, "
                   "the first is 'the first'\n");
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(cal_hooks_unregister(&many[i]), 0);
    assert_int_equal(cal_hooks_register(&many[8]), 0);
    assert_int_equal(cal_hooks_unregister(&many[8]), 0);
}

#define counted(function) cmocka_unit_test_setup_teardown(function, start_counting, stop_counting)

int main(void)
{
    test_is_annotated(); /* allocates, the first time */
    const struct CMUnitTest tests[] = {
        counted(every_allocation_and_free_is_seen),
        counted(every_function_is_seen),
        counted(many_allocations_are_counted_exactly),
        counted(a_resize_in_place_is_a_resize),
        counted(a_resize_that_moves_is_an_allocation_and_a_free),
        counted(resizes_of_mappings_balance),
        counted(random_resizes_balance),
        cmocka_unit_test(earlier_blocks_are_seen_when_they_are_freed),
        cmocka_unit_test(after_unregistering_nothing_is_seen),
        counted(new_threads_are_seen),
        counted(two_observers_both_see),
        cmocka_unit_test(errno_and_zeros_are_as_without_observers),
        cmocka_unit_test(shorter_tables_play_the_roles_they_have),
        cmocka_unit_test(longer_tables_are_accepted),
        cmocka_unit_test(malformed_tables_are_refused),
        cmocka_unit_test(other_versions_are_refused),
        cmocka_unit_test(incomplete_roles_are_refused),
        cmocka_unit_test(options_come_before_the_start_and_that_before_the_roles),
        cmocka_unit_test(an_add_on_may_not_start),
        cmocka_unit_test(of_many_threads_one_starts_it),
        cmocka_unit_test(a_table_is_registered_once),
        cmocka_unit_test(eight_tables_are_the_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
