/* The random numbers where getrandom(2) is refused, and how often it is called. Each test has a filter of
 * its own, in a child. */
#include "support.h"

#include <sys/syscall.h>

#include "random.h"

static int error;
static uint64_t *drawn;

enum { NUMBERS = 100 };

static void draw_without(void)
{
    require(answer_getrandom(error));
    char byte;
    require(syscall(SYS_getrandom, &byte, 1, 0) == -1 && errno == error);
    struct cal__random random = {.left = 0};
    errno = 4711;
    cal__random_start();
    require(errno == 4711);
    require(!cal__random_is_strong());
    for (int i = 0; i < NUMBERS; i++)
        drawn[i] = cal__random_64(&random);
    require(errno == 4711);
}

static void assert_different(const uint64_t *a, const uint64_t *b)
{
    for (int i = 0; i < NUMBERS; i++)
        for (int j = 0; j < NUMBERS; j++)
            assert_int_not_equal(a[i], b[j]);
}

static void numbers_come_without_the_kernel(void **state)
{
    static const int errors[] = {ENOSYS, EPERM, EAGAIN, EINVAL};
    drawn = shared_memory(NUMBERS * sizeof *drawn);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        uint64_t first[NUMBERS];
        error = errors[i];
        assert_child_passes(draw_without);
        memcpy(first, drawn, sizeof first);
        /* What two processes with the same memory have in common is not all. */
        assert_child_passes(draw_without);
        assert_different(first, drawn);
    }
    unshare_memory(drawn, NUMBERS * sizeof *drawn);
}

static void draw_as_child_of_refused(void)
{
    cal__random_forked();
    struct cal__random random = {.left = 0};
    for (int i = 0; i < NUMBERS; i++)
        drawn[i] = cal__random_64(&random);
}

static void fork_without(void)
{
    uint64_t first[NUMBERS];
    require(answer_getrandom(EPERM));
    cal__random_start();
    assert_child_passes(draw_as_child_of_refused);
    memcpy(first, drawn, sizeof first);
    assert_child_passes(draw_as_child_of_refused);
    for (int i = 0; i < NUMBERS; i++)
        for (int j = 0; j < NUMBERS; j++)
            require(first[i] != drawn[j]);
}

static void children_differ_without_the_kernel(void **state)
{
    drawn = shared_memory(NUMBERS * sizeof *drawn);
    assert_child_passes(fork_without);
    unshare_memory(drawn, NUMBERS * sizeof *drawn);
}

static struct cal__random streams[200];

static void draw_from_all(void)
{
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
        for (int j = 0; j < NUMBERS; j++)
            cal__random_64(&streams[i]);
}

static void *draw_in_thread(void *argument)
{
    draw_from_all();
    return NULL;
}

static void count_at_start(void)
{
    if (!answer_getrandom(COUNT_ONLY))
        _exit(77);
    require(trapped() == 0);
    cal__random_start();
    require(trapped() == 1);
    require(cal__random_is_strong());
    cal__random_start();
    draw_from_all();
    pthread_t thread;
    require(pthread_create(&thread, NULL, draw_in_thread, NULL) == 0);
    require(pthread_join(thread, NULL) == 0);
    require(trapped() == 1);
}

static void without_a_start_the_first_number_does_it(void)
{
    if (!answer_getrandom(COUNT_ONLY))
        _exit(77);
    draw_from_all();
    require(trapped() == 1);
}

static void count_in_child(void)
{
    unsigned before = trapped();
    cal__random_forked();
    require(trapped() == before);
    draw_from_all();
    require(trapped() == before + 1);
}

static void idle_child(void)
{
    unsigned before = trapped();
    cal__random_forked();
    require(trapped() == before);
}

static void count_in_children(void)
{
    if (!answer_getrandom(COUNT_ONLY))
        _exit(77);
    draw_from_all();
    char text[1000];
    require(watch_child(count_in_child, text, sizeof text) == 0);
    require(watch_child(idle_child, text, sizeof text) == 0);
    draw_from_all();
    require(trapped() == 1);
}

static void refused_for_good(void)
{
    require(answer_getrandom(ENOSYS));
    cal__random_start();
    /* The other filter counts what comes after. */
    if (!answer_getrandom(COUNT_ONLY))
        _exit(77);
    cal__random_forked();
    draw_from_all();
    require(trapped() == 0);
    require(!cal__random_is_strong());
}

static void refused_for_now(void)
{
    require(answer_getrandom(EAGAIN));
    cal__random_start();
    if (!answer_getrandom(COUNT_ONLY))
        _exit(77);
    cal__random_forked();
    draw_from_all();
    require(trapped() == 1);
    require(cal__random_is_strong());
}

static void assert_counts(void (*function)(void))
{
    char text[1000];
    int status = watch_child(function, text, sizeof text);
    if (status == 77)
        skip_because("the kernel refuses seccomp filters");
    if (status != 0)
        print_error("%d: %s\n", status, text);
    assert_int_equal(status, 0);
}

static void a_process_asks_once(void **state)
{
    assert_counts(count_at_start);
    assert_counts(without_a_start_the_first_number_does_it);
}

static void a_child_asks_once_and_only_if_it_draws(void **state)
{
    assert_counts(count_in_children);
}

static void who_was_refused_does_not_ask_again(void **state)
{
    assert_counts(refused_for_good);
}

static void who_was_told_to_come_back_does(void **state)
{
    assert_counts(refused_for_now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_without_the_kernel),
        cmocka_unit_test(children_differ_without_the_kernel),
        cmocka_unit_test(a_process_asks_once),
        cmocka_unit_test(a_child_asks_once_and_only_if_it_draws),
        cmocka_unit_test(who_was_refused_does_not_ask_again),
        cmocka_unit_test(who_was_told_to_come_back_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
