/* Statistics are exact at rest: each test compares what it did with what the table says. */
#include "support.h"

#include "size_class.h"

/* A size that is used much has its own class; before, another one lends to it. */
static void use_much(size_t size)
{
    for (size_t bytes = 0; bytes < (size_t)256 << 10; bytes += size)
        free(malloc(size));
}

/* The differences that one test expects, in blocks and bytes. */
static void assert_went_up(const struct cal_statistics *before, size_t allocated, size_t freed,
                           size_t allocated_bytes, size_t freed_bytes)
{
    struct cal_statistics now = statistics();
    assert_int_equal(now.allocations - before->allocations, allocated);
    assert_int_equal(now.deallocations - before->deallocations, freed);
    assert_int_equal(now.total_allocated - before->total_allocated, allocated_bytes);
    assert_int_equal(now.total_freed - before->total_freed, freed_bytes);
    assert_int_equal(now.active_allocations, now.allocations - now.deallocations);
    assert_int_equal(now.active_bytes, now.total_allocated - now.total_freed);
}

static void one_block_of_each_class(void **state)
{
    for (unsigned i = 0; i < CAL_CLASSES - 1; i++) {
        size_t size = cal__class_size(i);
        size_t charged = charged_for(size);
        use_much(size);
        struct cal_statistics before = statistics();
        void *block = malloc(size);
        assert_went_up(&before, 1, 0, charged, 0);
        free(block);
        assert_went_up(&before, 1, 1, charged, charged);
    }
}

static void many_blocks_of_one_class(void **state)
{
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    size_t charged = charged_for(48);
    struct cal_statistics before = statistics();
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(48);
        if (i % 100 == 0)
            assert_went_up(&before, i + 1, 0, (i + 1) * charged, 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 100 == 0)
            assert_went_up(&before, COUNT, i, COUNT * charged, i * charged);
        free(blocks[i]);
    }
    assert_went_up(&before, COUNT, COUNT, COUNT * charged, COUNT * charged);
}

static void runs(void **state)
{
    if (TEST_SLOTS) {
        print_message("with the role slots the figures of large blocks are others\n");
        return;
    }
    struct cal_statistics before = statistics();
    void *first = malloc(200000);
    void *second = malloc(655360 - 16);
    size_t bytes = 4 * 65536 + 655360;
    assert_went_up(&before, 2, 0, bytes, 0);
    free(first);
    assert_went_up(&before, 2, 1, bytes, 4 * 65536);
    free(second);
    assert_went_up(&before, 2, 2, bytes, bytes);
}

static void mappings(void **state)
{
    /* Unlike any other size here, so that no kept mapping serves it. */
    malloc_trim(0);
    struct cal_statistics before = statistics();
    void *block = malloc(request_for((size_t)33 << 20));
    assert_went_up(&before, 1, 0, (size_t)33 << 20, 0);
    assert_true(statistics().os_memory_mapped >= before.os_memory_mapped + ((size_t)33 << 20));
    free(block);
    assert_went_up(&before, 1, 1, (size_t)33 << 20, (size_t)33 << 20);
    malloc_trim(0);
    assert_true(statistics().os_memory_mapped <= before.os_memory_mapped);
}

static void resized_mappings_and_runs(void **state)
{
    static const size_t sizes[] = {140000,  300000,  900000,  2000000,
                                   9000000, 5000000, 3000000, 200000};
    struct cal_statistics before = statistics();
    void *block = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        block = realloc(block, sizes[i]);
        struct cal_statistics now = statistics();
        assert_int_equal(now.active_allocations, before.active_allocations + 1);
        size_t usable = malloc_usable_size(block);
        assert_in_range(now.active_bytes - before.active_bytes, usable, usable + 65536);
    }
    free(block);
    struct cal_statistics after = statistics();
    assert_int_equal(after.active_bytes, before.active_bytes);
    assert_int_equal(after.allocations - before.allocations,
                     after.deallocations - before.deallocations);
}

static void *free_remotely(void *argument)
{
    void **blocks = argument;
    for (size_t i = 0; i < 1000; i++)
        free(blocks[i]);
    return NULL;
}

/* Blocks that still lie in the page's remote list are freed ones. */
static void remote_frees(void **state)
{
    static void *blocks[1000];
    warm_up_threads(1);
    size_t charged = charged_for(48);
    struct cal_statistics before = statistics();
    for (size_t i = 0; i < 1000; i++)
        blocks[i] = malloc(48);
    assert_went_up(&before, 1000, 0, 1000 * charged, 0);
    pthread_t thread;
    start_thread(&thread, free_remotely, blocks);
    join_thread(thread);
    assert_went_up(&before, 1000, 1000, 1000 * charged, 1000 * charged);
    free(malloc(48));
    assert_went_up(&before, 1001, 1001, 1001 * charged, 1001 * charged);
}

static void *allocate_thousand(void *argument)
{
    void **blocks = argument;
    for (size_t i = 0; i < 1000; i++)
        blocks[i] = malloc(48);
    for (size_t i = 0; i < 500; i++)
        free(blocks[i]);
    return NULL;
}

static void threads_that_have_ended(void **state)
{
    static void *blocks[1000];
    warm_up_threads(1);
    size_t charged = charged_for(48);
    struct cal_statistics before = statistics();
    pthread_t thread;
    start_thread(&thread, allocate_thousand, blocks);
    join_thread(thread);
    assert_went_up(&before, 1000, 500, 1000 * charged, 500 * charged);
    for (size_t i = 500; i < 1000; i++)
        free(blocks[i]);
    assert_went_up(&before, 1000, 1000, 1000 * charged, 1000 * charged);
}

static pthread_barrier_t barrier;

static void *live_for_a_while(void *argument)
{
    void *block = malloc(10);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    free(block);
    return argument;
}

static void living_threads_are_counted(void **state)
{
    pthread_t threads[5];
    size_t before = statistics().threads;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 6), 0);
    for (size_t i = 0; i < 5; i++)
        start_thread(&threads[i], live_for_a_while, NULL);
    pthread_barrier_wait(&barrier);
    assert_int_equal(statistics().threads, before + 5);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < 5; i++)
        join_thread(threads[i]);
    assert_int_equal(statistics().threads, before);
    pthread_barrier_destroy(&barrier);
}

static void mapped_bytes_have_a_peak(void **state)
{
    void *block = malloc((size_t)150 << 20);
    struct cal_statistics high = statistics();
    free(block);
    malloc_trim(0);
    struct cal_statistics low = statistics();
    assert_true(low.os_memory_mapped <= high.os_memory_mapped - ((size_t)150 << 20));
    assert_true(low.os_memory_mapped_peak >= high.os_memory_mapped);
    assert_true(high.os_memory_mapped_peak >= high.os_memory_mapped);
}

static void fragmentation_follows_what_is_free(void **state)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = malloc(1000);
    double full = cal_fragmentation();
    for (size_t i = 0; i < COUNT; i++)
        if (i % 4 != 0)
            free(blocks[i]);
    double quarter = cal_fragmentation();
    for (size_t i = 0; i < COUNT; i += 4)
        free(blocks[i]);
    assert_true(full >= 0 && full < 0.2);
    assert_true(quarter > 0.5 && quarter < 1);
}

static void callers_of_other_sizes_are_served(void **state)
{
    struct cal_statistics now;
    memset(&now, 0xee, sizeof now);
    now.size = offsetof(struct cal_statistics, allocations);
    assert_int_equal(cal_stats(&now), 0);
    assert_int_equal(now.size, offsetof(struct cal_statistics, allocations));
    assert_true(now.total_allocated >= now.total_freed);
    size_t untouched;
    memset(&untouched, 0xee, sizeof untouched);
    assert_int_equal(now.allocations, untouched);
    assert_int_equal(now.threads, untouched);
    struct {
        struct cal_statistics known;
        size_t future;
    } newer = {.future = 5};
    newer.known.size = sizeof newer;
    assert_int_equal(cal_stats(&newer.known), 0);
    assert_int_equal(newer.future, 5);
    assert_true(newer.known.threads >= 1);
    now.size = sizeof(size_t);
    assert_int_equal(cal_stats(&now), -EINVAL);
    assert_int_equal(cal_stats(NULL), -EINVAL);
}

/* Deprecated since its fields wrap; the wrapping is tested. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static test_mallinfo old_mallinfo(void)
{
    return mallinfo();
}
#pragma GCC diagnostic pop

static void mallinfo_says_the_same(void **state)
{
    malloc_trim(0);
    struct cal_statistics before = statistics();
    test_mallinfo2 info = mallinfo2();
    void *small = malloc(1000);
    void *huge = malloc((size_t)5 << 20);
    test_mallinfo2 more = mallinfo2();
    assert_int_equal(more.hblks, info.hblks + 1);
    assert_in_range(more.hblkhd - info.hblkhd, (size_t)5 << 20, ((size_t)5 << 20) + 65536);
    assert_int_equal(more.uordblks - info.uordblks, charged_for(1000));
    assert_int_equal(info.uordblks + info.hblkhd, before.active_bytes);
    test_mallinfo old = old_mallinfo();
    assert_int_equal(old.uordblks, (int)more.uordblks);
    assert_int_equal(old.hblks, (int)more.hblks);
    free(small);
    free(huge);
}

static void mallopt_knows_what_glibc_knows(void **state)
{
    assert_int_equal(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
    assert_int_equal(mallopt(M_TRIM_THRESHOLD, 1 << 20), 1);
    assert_int_equal(mallopt(M_ARENA_MAX, 2), 1);
    assert_int_equal(mallopt(M_MXFAST, 0), 1);
    assert_int_equal(mallopt(12345, 1), 0);
}

static void malloc_info_writes_xml(void **state)
{
    static char text[4000];
    FILE *stream = fmemopen(text, sizeof text, "w");
    assert_non_null(stream);
    assert_int_equal(malloc_info(0, stream), 0);
    fclose(stream);
    assert_ptr_equal(strstr(text, "<malloc version="), text);
    assert_non_null(strstr(text, "<total type=\"live\" count=\""));
    assert_non_null(strstr(text, "</malloc>\n"));
    assert_int_equal(malloc_info(1, stderr), EINVAL);
}

static void print_table(void)
{
    malloc_stats();
}

static void malloc_stats_prints_a_table(void **state)
{
    char text[2000];
    run_in_child(print_table, text, sizeof text);
    static const char *const rows[] = {"allocations", "frees",         "live",
                                       "mapped",      "peak resident", "fragmentation"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_non_null(strstr(text, rows[i]));
}

static void malloc_trim_says_whether_it_gave_back(void **state)
{
    malloc_trim(0);
    free(malloc((size_t)9 << 20));
    size_t before = statistics().os_memory_mapped;
    assert_int_equal(malloc_trim(0), 1);
    assert_true(statistics().os_memory_mapped < before);
    assert_int_equal(malloc_trim(0), 0);
    assert_int_equal(cal_trim(), 0);
}

/* TURN 1 of the first document, StressTest: a million blocks, freed in random order. */
static void stress_test_of_the_document(void **state)
{
    size_t count = test_repeat(1000000);
    struct random random = {42};
    size_t before = statistics().active_allocations;
    void **blocks = cal_allocate(count * sizeof *blocks);
    for (size_t i = 0; i < count; i++) {
        size_t size = random_below(&random, 1024) + 8;
        blocks[i] = cal_allocate(size);
        assert_non_null(blocks[i]);
        *(size_t *)blocks[i] = i;
    }
    assert_int_equal(statistics().active_allocations, before + count + 1);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(*(size_t *)blocks[i], i);
    for (size_t i = count; i-- > 1;) {
        size_t j = random_below(&random, i + 1);
        void *block = blocks[i];
        blocks[i] = blocks[j];
        blocks[j] = block;
    }
    for (size_t i = 0; i < count; i++)
        cal_deallocate(blocks[i]);
    cal_deallocate(blocks);
    assert_int_equal(statistics().active_allocations, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_block_of_each_class),
        cmocka_unit_test(many_blocks_of_one_class),
        cmocka_unit_test(runs),
        cmocka_unit_test(mappings),
        cmocka_unit_test(resized_mappings_and_runs),
        cmocka_unit_test(remote_frees),
        cmocka_unit_test(threads_that_have_ended),
        cmocka_unit_test(living_threads_are_counted),
        cmocka_unit_test(mapped_bytes_have_a_peak),
        cmocka_unit_test(fragmentation_follows_what_is_free),
        cmocka_unit_test(callers_of_other_sizes_are_served),
        cmocka_unit_test(mallinfo_says_the_same),
        cmocka_unit_test(mallopt_knows_what_glibc_knows),
        cmocka_unit_test(malloc_info_writes_xml),
        cmocka_unit_test(malloc_stats_prints_a_table),
        cmocka_unit_test(malloc_trim_says_whether_it_gave_back),
        cmocka_unit_test(stress_test_of_the_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
