/* The recorder as a whole, on the core, in several threads at once. */
#include <calloc/calloc.h>
#include <calloc/track.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum { THREADS = 4, EACH = 3000, SHARED = 64 };

/* The core's walks, and its statistics, read what other threads write, and say so: not where that is looked for. */
#ifdef __SANITIZE_THREAD__
enum { WALKS_MEANWHILE = 0 };
#else
enum { WALKS_MEANWHILE = 1 };
#endif

static char folder[] = "/tmp/track-test-XXXXXX";
static void *_Atomic exchange[SHARED];

/* Takes what another thread has left, and leaves one of its own. */
static void *pass_on(void *argument)
{
    unsigned random = (unsigned)(uintptr_t)argument + 1;
    for (int i = 0; i < EACH; i++) {
        random = random * 1664525 + 1013904223;
        void *block = cal_allocate(16 + (random >> 16) % 500);
        require(block != NULL);
        cal_deallocate(atomic_exchange(&exchange[(random >> 8) % SHARED], block));
        if (i % 16 == 0)
            block = cal_reallocate(cal_allocate(100), 100 + (random >> 16) % 5000);
        else
            block = NULL;
        cal_deallocate(block);
    }
    return NULL;
}

static struct cal_track_totals totals(void)
{
    struct cal_track_totals now = {.size = sizeof now};
    assert_int_equal(cal_track_totals(&now), 0);
    return now;
}

static void run_threads(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, function, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static pthread_barrier_t barrier;

static void *meet(void *argument)
{
    pthread_barrier_wait(&barrier);
    return argument;
}

static void exact_in_threads(void **state)
{
    (void)state;
    /* libc allocates something for each stack that it keeps for threads to come. */
    pthread_barrier_init(&barrier, NULL, THREADS);
    run_threads(meet);
    struct cal_track_totals before = totals();
    pthread_t threads[THREADS];
    char path[64];
    snprintf(path, sizeof path, "%s/profile", folder);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pass_on, (void *)i), 0);
    for (int i = 0; i < 5 * WALKS_MEANWHILE; i++)
        assert_int_equal(cal_track_dump(path, false), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < SHARED; i++)
        cal_deallocate(atomic_exchange(&exchange[i], NULL));
    struct cal_track_totals after = totals();
    assert_int_equal(after.allocations - before.allocations, after.frees - before.frees);
    assert_int_equal(after.allocated_bytes - before.allocated_bytes,
                     after.freed_bytes - before.freed_bytes);
    assert_true(after.allocations - before.allocations >= THREADS * (EACH + EACH / 16));
    assert_int_equal(after.lost, 0);
    assert_true(after.peak_bytes > 0 && after.stacks > 0 && after.own_bytes > 0);
    assert_int_equal(cal_track_dump(path, false), 0);
    assert_int_equal(unlink(path), 0);
}

static void on_and_off_in_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pass_on, (void *)i), 0);
    for (int i = 0; i < 6 * WALKS_MEANWHILE; i++)
        assert_int_equal(i % 2 == 0 ? cal_track_stop() : cal_track_start(), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < SHARED; i++)
        cal_deallocate(atomic_exchange(&exchange[i], NULL));
    assert_true(cal_track_active());
    assert_int_equal(cal_track_start(), 0);
    /* Blocks that were freed while it was off are found at the next start. */
    assert_int_equal(cal_track_stop(), 0);
    assert_false(cal_track_active());
    assert_int_equal(cal_track_start(), 0);
}

static void forks(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    char path[64];
    snprintf(path, sizeof path, "%s/child", folder);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pass_on, (void *)i), 0);
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            cal_deallocate(cal_allocate(77));
            _exit(cal_track_dump(path, false) == 0 ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(unlink(path), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void wrong_arguments(void **state)
{
    (void)state;
    struct cal_track_totals sums = {.size = 1};
    struct cal_track_leaks leaks = {.size = 0};
    assert_int_equal(cal_track_totals(&sums), -EINVAL);
    assert_int_equal(cal_track_leaks(&leaks), -EINVAL);
    assert_int_equal(cal_track_dump("/nonexistent/profile", false), -ENOENT);
    /* An older program knows fewer fields. */
    struct {
        size_t size;
        uint64_t allocations;
        uint64_t untouched;
    } older = {.size = 16, .untouched = 99};
    assert_int_equal(cal_track_totals((struct cal_track_totals *)&older), 0);
    assert_true(older.allocations > 0);
    assert_int_equal(older.untouched, 99);
    assert_string_equal(cal_track_version(), "1.0.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_in_threads),
        cmocka_unit_test(on_and_off_in_threads),
        cmocka_unit_test(forks),
        cmocka_unit_test(wrong_arguments),
    };
    /* Read at the first allocation by the core, which under a sanitizer is one of these tests'. */
    if (mkdtemp(folder) == NULL || setenv("CALLOC_OPTIONS", "track.exit=0,track.fatal=0", 1) != 0)
        return 1;
    int result = cmocka_run_group_tests_name("record", tests, NULL, NULL);
    rmdir(folder);
    return result;
}
