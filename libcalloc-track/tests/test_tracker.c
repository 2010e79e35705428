/* The tests of the document, and what it leaves open. */
#include <calloc/calloc.h>
#include <calloc/track.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "support.h"

#ifdef __clang__
#    define APART __attribute__((noinline))
#else
#    define APART __attribute__((noinline, noclone))
#endif

/* LeakDetection.DetectsMemoryLeak */
static void detects_memory_leak(void **state)
{
    (void)state;
    struct cal_tracker *tracker = cal_tracker_create();
    assert_non_null(tracker);
    void *ptr1 = cal_allocate(128);
    assert_int_equal(cal_tracker_allocation(tracker, ptr1, 128), 0);
    void *ptr2 = cal_allocate(256);
    assert_int_equal(cal_tracker_allocation(tracker, ptr2, 256), 0);
    cal_deallocate(ptr2);
    assert_int_equal(cal_tracker_deallocation(tracker, ptr2), 0);

    struct cal_tracker_block leaks[2];
    assert_int_equal(cal_tracker_leaks(tracker, leaks, 2), 1);
    assert_ptr_equal(leaks[0].address, ptr1);
    assert_int_equal(leaks[0].bytes, 128);
    assert_non_null(leaks[0].frames[0]);
    assert_int_equal(leaks[0].thread, gettid());
    assert_true(leaks[0].time > 0);
    cal_deallocate(ptr1);
    cal_tracker_destroy(tracker);
}

APART static void *allocate_from_function_a(struct cal_tracker *tracker)
{
    void *ptr = cal_allocate(64);
    cal_tracker_allocation(tracker, ptr, 64);
    __asm__ volatile("" ::: "memory");
    return ptr;
}

APART static void *allocate_from_function_b(struct cal_tracker *tracker)
{
    void *ptr = cal_allocate(128);
    cal_tracker_allocation(tracker, ptr, 128);
    __asm__ volatile("" ::: "memory");
    return ptr;
}

/* Profiling.IdentifiesHotSites */
static void identifies_hot_sites(void **state)
{
    (void)state;
    struct cal_tracker *tracker = cal_tracker_create();
    static void *ptrs[1010];
    /* Each call at one place: not unrolled. */
    for (volatile int i = 0; i < 1000; i++)
        ptrs[i] = allocate_from_function_a(tracker);
    for (volatile int i = 0; i < 10; i++)
        ptrs[1000 + i] = allocate_from_function_b(tracker);

    struct cal_tracker_profile *profile = cal_tracker_profile(tracker);
    assert_non_null(profile);
    assert_int_equal(profile->total_allocations, 1010);
    assert_int_equal(profile->total_bytes_allocated, 64 * 1000 + 128 * 10);
    assert_int_equal(profile->live, 1010);
    assert_int_equal(profile->live_bytes, profile->total_bytes_allocated);
    assert_int_equal(profile->site_count, 2);
    assert_int_equal(profile->sites[0].allocations, 1000);
    assert_int_equal(profile->sites[0].bytes, 64000);
    assert_int_equal(profile->sites[1].allocations, 10);
    assert_true(profile->total_allocation_time > 0);
    /* The top one is in function A: its innermost frame is, and lies behind the start of the function. */
    uintptr_t frame = (uintptr_t)profile->sites[0].frames[0],
              a = (uintptr_t)allocate_from_function_a;
    assert_true(frame > a && frame - a < 4096);
    assert_ptr_not_equal(profile->sites[0].frames[0], profile->sites[1].frames[0]);
    cal_tracker_profile_free(profile);
    for (int i = 0; i < 1010; i++) {
        assert_int_equal(cal_tracker_deallocation(tracker, ptrs[i]), 0);
        cal_deallocate(ptrs[i]);
    }
    assert_int_equal(cal_tracker_leaks(tracker, NULL, 0), 0);
    cal_tracker_destroy(tracker);
}

static void edges(void **state)
{
    (void)state;
    struct cal_tracker *tracker = cal_tracker_create();
    struct cal_tracker_block leaks[4];
    char bytes[64];
    assert_int_equal(cal_tracker_allocation(tracker, NULL, 1), -EINVAL);
    assert_int_equal(cal_tracker_deallocation(tracker, bytes), -ENOENT);
    assert_int_equal(cal_tracker_leaks(tracker, leaks, 4), 0);
    assert_int_equal(cal_tracker_allocation(tracker, bytes + 1, 0), 0);
    assert_int_equal(cal_tracker_allocation(tracker, bytes + 1, 7), 0);
    assert_int_equal(cal_tracker_allocation(tracker, bytes, 1), 0);
    assert_int_equal(cal_tracker_leaks(tracker, leaks, 1), 2);
    assert_ptr_equal(leaks[0].address, bytes);
    assert_int_equal(cal_tracker_leaks(tracker, leaks, 4), 2);
    assert_int_equal(leaks[1].bytes, 7);
    assert_int_equal(cal_tracker_deallocation(tracker, bytes + 1), 0);
    assert_int_equal(cal_tracker_deallocation(tracker, bytes + 1), -ENOENT);
    cal_tracker_destroy(tracker);
    cal_tracker_destroy(NULL);
    cal_tracker_profile_free(NULL);
}

/* Blocks come and go at random; a plain array knows which are there. */
static void random_ones(void **state)
{
    (void)state;
    enum { PLACES = 5000, ROUNDS = 60000 };
    static size_t there[PLACES];
    struct cal_tracker *tracker = cal_tracker_create();
    unsigned random = 1;
    size_t count = 0;
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1664525 + 1013904223;
        size_t place = (random >> 8) % PLACES;
        const void *address = (const void *)(uintptr_t)(0x10000 + place * 24);
        if (there[place] == 0) {
            there[place] = 1 + (random & 0xff);
            count++;
            assert_int_equal(cal_tracker_allocation(tracker, address, there[place]), 0);
        } else {
            there[place] = 0;
            count--;
            assert_int_equal(cal_tracker_deallocation(tracker, address), 0);
        }
    }
    static struct cal_tracker_block leaks[PLACES];
    assert_int_equal(cal_tracker_leaks(tracker, leaks, PLACES), count);
    size_t at = 0;
    for (size_t i = 0; i < PLACES; i++) {
        if (there[i] == 0)
            continue;
        assert_int_equal((uintptr_t)leaks[at].address, 0x10000 + i * 24);
        assert_int_equal(leaks[at++].bytes, there[i]);
    }
    cal_tracker_destroy(tracker);
}

enum { THREADS = 4, EACH = 2000 };

static struct cal_tracker *shared;

static void *use_shared(void *argument)
{
    uintptr_t base = (uintptr_t)argument * 0x100000;
    for (uintptr_t i = 1; i <= EACH; i++)
        require(cal_tracker_allocation(shared, (void *)(base + i * 16), i) == 0);
    for (uintptr_t i = 1; i <= EACH; i += 2)
        require(cal_tracker_deallocation(shared, (void *)(base + i * 16)) == 0);
    return NULL;
}

static void in_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    shared = cal_tracker_create();
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_shared, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct cal_tracker_profile *profile = cal_tracker_profile(shared);
    assert_int_equal(profile->total_allocations, THREADS * EACH);
    assert_int_equal(profile->live, THREADS * EACH / 2);
    cal_tracker_profile_free(profile);
    cal_tracker_destroy(shared);
}

static void report(void **state)
{
    (void)state;
    struct cal_tracker *tracker = cal_tracker_create();
    int ends[2];
    char text[8192] = "";
    cal_deallocate(allocate_from_function_a(tracker));
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(cal_tracker_report(tracker, ends[1]), 0);
    close(ends[1]);
    size_t used = 0;
    ssize_t part;
    while ((part = read(ends[0], text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)part;
    close(ends[0]);
    assert_non_null(
        strstr(text, "allocated: 1 block, 64 bytes\nnot taken back: 1 block, 64 bytes\n"));
    assert_non_null(strstr(text, "test_tracker+0x"));
    assert_int_equal(cal_tracker_report(tracker, -1), -EBADF);
    cal_tracker_destroy(tracker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detects_memory_leak),
        cmocka_unit_test(identifies_hot_sites),
        cmocka_unit_test(edges),
        cmocka_unit_test(random_ones),
        cmocka_unit_test(in_threads),
        cmocka_unit_test(report),
    };
    return cmocka_run_group_tests_name("tracker", tests, NULL, NULL);
}
