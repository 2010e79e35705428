/* The latch: one at a time, nobody sleeps for ever, and a child gets it free. */
#include "support.h"

#include <signal.h>

#include "latch.h"

enum { THREADS = 6, ROUNDS = 20000 };

static struct cal__latch latch;
static size_t counter;

static void *count(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        cal__latch_acquire(&latch);
        counter++;
        cal__latch_release(&latch);
    }
    return NULL;
}

static void one_thread_at_a_time(void **state)
{
    pthread_t threads[THREADS];
    counter = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(counter, THREADS * ROUNDS);
    assert_int_equal(latch.state, 0);
}

static void *acquire_once(void *argument)
{
    errno = 4711;
    cal__latch_acquire(&latch);
    counter++;
    cal__latch_release(&latch);
    return (void *)(uintptr_t)(errno == 4711);
}

static void do_nothing(int signal)
{
    (void)signal;
}

/* The holder goes on only when somebody sleeps. Signals wake nobody for good, and leave errno alone. */
static void sleepers_are_woken(void **state)
{
    pthread_t threads[2];
    struct sigaction action = {.sa_handler = do_nothing}; /* without SA_RESTART */
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    counter = 0;
    cal__latch_acquire(&latch);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, acquire_once, NULL), 0);
    while (atomic_load(&latch.state) != 2)
        usleep(1000);
    usleep(20000);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_kill(threads[i], SIGUSR1), 0);
    usleep(20000);
    assert_int_equal(counter, 0);
    cal__latch_release(&latch);
    for (int i = 0; i < 2; i++) {
        void *kept_errno;
        assert_int_equal(pthread_join(threads[i], &kept_errno), 0);
        assert_non_null(kept_errno);
    }
    assert_int_equal(counter, 2);
}

static void use_in_child(void)
{
    cal__latch_reset(&latch);
    cal__latch_acquire(&latch);
    cal__latch_release(&latch);
}

static void a_child_may_reset_it(void **state)
{
    cal__latch_acquire(&latch);
    assert_child_passes(use_in_child);
    cal__latch_release(&latch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_at_a_time),
        cmocka_unit_test(sleepers_are_woken),
        cmocka_unit_test(a_child_may_reset_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
