/* Threads as the allocator meets them: thousands at a time, very many one after the other, and
 * destructors that allocate when the thread has no heap any more. */
#include <calloc/calloc.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
/* After the headers that it needs. */
#include <cmocka.h>

#include "workload.h"

#define LIVE_THREADS      4000
#define SUCCESSIVE        100000
#define WARM_UP           1000
#define DESTRUCTOR_ROUNDS 3000
#define SIGNALS           2000

static pthread_attr_t small_stack;

static int make_attributes(void **state)
{
    (void)state;
    return pthread_attr_init(&small_stack) || pthread_attr_setstacksize(&small_stack, 64 << 10);
}

static struct cal_statistics statistics(void)
{
    struct cal_statistics now = {.size = sizeof now};
    assert_int_equal(cal_stats(&now), 0);
    return now;
}

static void run_one(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, &small_stack, function, argument), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* Four thousand at a time. */

static pthread_barrier_t barrier;
static const size_t thread_sizes[] = {16, 40, 100, 500, 3000, 20000};
#define THREAD_SIZES (sizeof thread_sizes / sizeof *thread_sizes)

static void *allocate_and_wait(void *argument)
{
    unsigned char mark = (unsigned char)(uintptr_t)argument;
    unsigned char *blocks[THREAD_SIZES];
    uintptr_t good = 1;
    for (size_t i = 0; i < THREAD_SIZES; i++) {
        blocks[i] = malloc(thread_sizes[i]);
        if (blocks[i] != NULL)
            memset(blocks[i], mark, thread_sizes[i]);
    }
    pthread_barrier_wait(&barrier); /* all have allocated */
    pthread_barrier_wait(&barrier); /* and were counted */
    for (size_t i = 0; i < THREAD_SIZES; i++) {
        for (size_t j = 0; blocks[i] != NULL && j < thread_sizes[i]; j++)
            good &= blocks[i][j] == mark;
        good &= blocks[i] != NULL;
        free(blocks[i]);
    }
    return (void *)good;
}

static void four_thousand_threads_at_a_time(void **state)
{
    (void)state;
    static pthread_t threads[LIVE_THREADS];
    struct cal_statistics before = statistics();
    pthread_barrier_init(&barrier, NULL, LIVE_THREADS + 1);
    for (uintptr_t i = 0; i < LIVE_THREADS; i++) {
        int error = pthread_create(&threads[i], &small_stack, allocate_and_wait, (void *)i);
        /* The others wait at the barrier for good. */
        if (error == EAGAIN) {
            print_message("skipped: this machine does not allow %d threads\n", LIVE_THREADS);
            exit(77);
        }
        assert_int_equal(error, 0);
    }
    pthread_barrier_wait(&barrier);
    struct cal_statistics full = statistics();
    pthread_barrier_wait(&barrier);
    uintptr_t good = 1;
    for (size_t i = 0; i < LIVE_THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        good &= (uintptr_t)result;
    }
    pthread_barrier_destroy(&barrier);
    assert_true(good);
    assert_int_equal(full.threads, before.threads + LIVE_THREADS);
    assert_in_range(full.active_allocations - before.active_allocations,
                    LIVE_THREADS * THREAD_SIZES, LIVE_THREADS * (THREAD_SIZES + 4));
    struct cal_statistics after = statistics();
    assert_int_equal(after.threads, before.threads);
    /* What the C library keeps for stacks that it may use again is little. */
    assert_in_range(after.active_bytes, 0, before.active_bytes + (1 << 20));
}

/* One after the other. */

static void *allocate_a_little(void *argument)
{
    (void)argument;
    for (size_t i = 0; i < THREAD_SIZES; i++)
        free(malloc(thread_sizes[i]));
    free(malloc(300000));
    return NULL;
}

static void hundred_thousand_threads_in_turn(void **state)
{
    (void)state;
    for (int i = 0; i < WARM_UP; i++)
        run_one(allocate_a_little, NULL);
    struct cal_statistics warm = statistics();
    for (int i = 0; i < SUCCESSIVE; i++)
        run_one(allocate_a_little, NULL);
    struct cal_statistics after = statistics();
    assert_int_equal(after.threads, warm.threads);
    assert_int_equal(after.active_allocations, warm.active_allocations);
    assert_in_range(after.os_memory_mapped, 0, warm.os_memory_mapped);
    assert_int_equal(after.metadata_bytes, warm.metadata_bytes);
}

/* Blocks outlive the threads that made them, and others free them. */

#define LEFT 20

static void *leave_blocks(void *argument)
{
    void **blocks = argument;
    for (size_t i = 0; i < LEFT; i++) {
        blocks[i] = malloc(thread_sizes[i % THREAD_SIZES]);
        if (blocks[i] != NULL)
            memset(blocks[i], 'b', thread_sizes[i % THREAD_SIZES]);
    }
    return NULL;
}

static void blocks_of_ended_threads(void **state)
{
    (void)state;
    size_t warm = 0;
    size_t before = statistics().active_allocations;
    for (int i = 0; i < 10000; i++) {
        void *blocks[LEFT];
        run_one(leave_blocks, blocks);
        for (size_t j = 0; j < LEFT; j++) {
            assert_non_null(blocks[j]);
            free(blocks[j]);
        }
        if (i == 1000)
            warm = statistics().os_memory_mapped;
    }
    assert_in_range(statistics().os_memory_mapped, 0, warm);
    assert_in_range(statistics().active_allocations, 0, before + 8);
}

/* Thread-specific data. A key that is made before the allocator's has its destructor called before
 * it, one that is made later after it; setting the value again asks for another round. */

static pthread_key_t keys[3];
static _Atomic size_t destructor_calls;
static _Atomic size_t destructor_failures;

struct late {
    int rounds;
    int key; /* which one this is for: the destructor is not told */
    char text[50];
};

static void destroy(void *argument)
{
    struct late *old = argument;
    struct late *next = malloc(sizeof *next);
    atomic_fetch_add(&destructor_calls, 1);
    if (next == NULL || strcmp(old->text, "thread-specific data") != 0)
        atomic_fetch_add(&destructor_failures, 1);
    if (next != NULL)
        *next = *old;
    free(old);
    free(realloc(malloc(2000), 30000));
    if (next == NULL)
        return;
    if (--next->rounds > 0)
        pthread_setspecific(keys[next->key], next);
    else
        free(next);
}

static void *set_keys(void *rounds)
{
    for (int i = 0; i < 3; i++) {
        struct late *value = calloc(1, sizeof *value);
        if (value == NULL)
            return NULL;
        value->rounds = (int)(uintptr_t)rounds;
        memcpy(value->text, "thread-specific data", 21);
        value->key = i;
        pthread_setspecific(keys[i], value);
    }
    return NULL;
}

static void destructors_that_allocate(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_key_create(&keys[i], destroy), 0);
    /* One round fewer than the C library makes at most, so that nothing is left. */
    uintptr_t rounds = PTHREAD_DESTRUCTOR_ITERATIONS - 1;
    struct cal_statistics warm = {.size = 0};
    for (int i = 0; i < DESTRUCTOR_ROUNDS; i++) {
        run_one(set_keys, (void *)rounds);
        if (i == DESTRUCTOR_ROUNDS / 3)
            warm = statistics();
    }
    struct cal_statistics after = statistics();
    assert_int_equal(destructor_failures, 0);
    assert_int_equal(destructor_calls, DESTRUCTOR_ROUNDS * rounds * 3);
    assert_int_equal(after.active_allocations, warm.active_allocations);
    assert_int_equal(after.metadata_bytes, warm.metadata_bytes);
    assert_in_range(after.os_memory_mapped, 0, warm.os_memory_mapped);
    assert_in_range(after.threads, 1, warm.threads);
    for (int i = 0; i < 3; i++)
        pthread_key_delete(keys[i]);
}

/* A program with more keys than the C library has room for in a thread's control block: setting
 * one of the others allocates. */

static pthread_key_t many[200];

static void *set_many(void *argument)
{
    (void)argument;
    for (int i = 0; i < 200; i++)
        pthread_setspecific(many[i], malloc(10));
    return NULL;
}

static void more_keys_than_fit_in_a_thread(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        assert_int_equal(pthread_key_create(&many[i], free), 0);
    run_one(set_many, NULL);
    size_t before = statistics().active_allocations;
    for (int i = 0; i < 200; i++)
        run_one(set_many, NULL);
    assert_int_equal(statistics().active_allocations, before);
    for (int i = 0; i < 200; i++)
        pthread_key_delete(many[i]);
}

/* Signals come at any instant of malloc and free. */

static _Atomic int signals;

static void on_alarm(int signal)
{
    (void)signal;
    errno = EOWNERDEAD;
    signals++;
}

static _Atomic(size_t *) slots[1000];
static struct workload workload;

static void *traffic(void *seed)
{
    uint64_t random = (uintptr_t)seed;
    const char *complaint = NULL;
    while (signals < SIGNALS && complaint == NULL)
        complaint = workload_run(&workload, &random, 1000);
    return (void *)complaint;
}

static void signals_during_traffic(void **state)
{
    (void)state;
    const struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    const struct itimerval often = {{0, 100}, {0, 100}};
    const struct itimerval off = {{0, 0}, {0, 0}};
    pthread_t threads[2];
    workload_initialize(&workload, slots, 1000, 18);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (uintptr_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, traffic, (void *)(i + 1)), 0);
    const char *complaint = traffic((void *)3);
    for (int i = 0; i < 2; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        if (result != NULL)
            complaint = result;
    }
    setitimer(ITIMER_REAL, &off, NULL);
    if (complaint == NULL)
        complaint = workload_end(&workload);
    if (complaint != NULL)
        fail_msg("%s", complaint);
}

/* Cancelled and by pthread_exit: the ways of ending other than return. */

static void *ends_by_exit(void *argument)
{
    (void)argument;
    free(malloc(64));
    pthread_exit(NULL);
}

static void *is_cancelled(void *argument)
{
    (void)argument;
    free(malloc(64));
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    for (;;)
        pthread_testcancel();
    return NULL;
}

static void other_ways_to_end(void **state)
{
    (void)state;
    size_t before = statistics().threads;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        run_one(ends_by_exit, NULL);
        assert_int_equal(pthread_create(&thread, &small_stack, is_cancelled, NULL), 0);
        assert_int_equal(pthread_cancel(thread), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_int_equal(statistics().threads, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_thousand_threads_at_a_time),
        cmocka_unit_test(hundred_thousand_threads_in_turn),
        cmocka_unit_test(blocks_of_ended_threads),
        cmocka_unit_test(destructors_that_allocate),
        cmocka_unit_test(more_keys_than_fit_in_a_thread),
        cmocka_unit_test(signals_during_traffic),
        cmocka_unit_test(other_ways_to_end),
    };
    return cmocka_run_group_tests_name("threads", tests, make_attributes, NULL);
}
