/* The hook table's role lifecycle: threads, forks, the end of the process, the statistics table. */
#include "support.h"

#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void *allocate_hundred(void *argument)
{
    for (size_t i = 0; i < 100; i++)
        free(malloc(i * 50));
    return argument;
}

static struct {
    _Atomic int thread_start, thread_end, fork_prepare, fork_parent, fork_child, exiting, printed,
        reclaimed;
} * life;

#define COUNT(event)             \
    static void on_##event(void) \
    {                            \
        life->event++;           \
    }
COUNT(thread_start)
COUNT(thread_end)
COUNT(fork_prepare)
COUNT(fork_parent)
COUNT(fork_child)

static void on_exiting(void)
{
    void *block = malloc(100);
    require(block != NULL);
    free(block);
    life->exiting++;
}

static void on_print(int descriptor)
{
    life->printed++;
    static const char line[] = "  a line of the add-on\n";
    require(write(descriptor, line, strlen(line)) == (ssize_t)strlen(line));
}

/* What the add-on keeps of the program's memory. */
static void *_Atomic kept;

static bool on_reclaim(void)
{
    void *block = atomic_exchange(&kept, NULL);
    life->reclaimed++;
    free(block);
    return block != NULL;
}

static const struct cal_lifecycle lifecycle = {.size = sizeof lifecycle,
                                               .thread_start = on_thread_start,
                                               .thread_end = on_thread_end,
                                               .fork_prepare = on_fork_prepare,
                                               .fork_parent = on_fork_parent,
                                               .fork_child = on_fork_child,
                                               .exiting = on_exiting,
                                               .print_statistics = on_print,
                                               .reclaim = on_reclaim};
static const struct cal_hooks living = {.size = sizeof living,
                                        .version = CAL_HOOKS_VERSION,
                                        .name = "living",
                                        .component_version = "1",
                                        .lifecycle = &lifecycle};

static int start_living(void **state)
{
    life = test_shared_memory(sizeof *life);
    return cal_hooks_register(&living);
}

static int stop_living(void **state)
{
    test_unshare_memory(life, sizeof *life);
    return cal_hooks_unregister(&living);
}

static void threads_are_announced(void **state)
{
    pthread_t threads[5];
    int started = life->thread_start;
    int ended = life->thread_end;
    for (size_t i = 0; i < 5; i++)
        start_thread(&threads[i], allocate_hundred, NULL);
    for (size_t i = 0; i < 5; i++)
        join_thread(threads[i]);
    assert_int_equal(life->thread_start - started, 5);
    assert_int_equal(life->thread_end - ended, 5);
}

static void forks_are_announced(void **state)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        free(malloc(100));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(life->fork_prepare, 1);
    assert_int_equal(life->fork_parent, 1);
    assert_int_equal(life->fork_child, 1);
}

static void exit_in_child(void)
{
    exit(0);
}

static void exiting_is_announced_once_and_may_allocate(void **state)
{
    char text[1000];
    run_in_child(exit_in_child, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(life->exiting, 1);
}

static void print_in_child(void)
{
    malloc_stats();
}

static void statistics_get_the_add_ons_lines(void **state)
{
    char text[4000];
    run_in_child(print_in_child, text, sizeof text);
    const char *line = strstr(text, "  a line of the add-on\n");
    assert_non_null(line);
    assert_true(line > strstr(text, "fragmentation"));
    assert_int_equal(life->printed, 1);
}

static void trimming_asks_for_what_is_kept(void **state)
{
    int before = life->reclaimed;
    kept = malloc(3 << 20);
    malloc_trim(0);
    assert_null(kept);
    assert_int_equal(life->reclaimed, before + 1);
    cal_trim();
    assert_int_equal(life->reclaimed, before + 2);
}

/* Before a request fails, all that is kept is given up, and what can be had with it is had. */
static void exhaust_here(void)
{
    enum { SIZE = 64 << 20 };
    struct rlimit limit;
    kept = malloc(SIZE);
    require(kept != NULL && getrlimit(RLIMIT_AS, &limit) == 0);
    char line[100] = "";
    FILE *file = fopen("/proc/self/statm", "r");
    require(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    limit.rlim_cur = strtoul(line, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) + (SIZE / 4);
    require(setrlimit(RLIMIT_AS, &limit) == 0);
    int before = life->reclaimed;
    errno = 0;
    char *block = malloc(SIZE);
    require(block != NULL && errno == 0 && kept == NULL && life->reclaimed == before + 1);
    memset(block, 1, SIZE);
    require(malloc(SIZE) == NULL && errno == ENOMEM && life->reclaimed == before + 2);
    /* A size that nothing has room for gives nothing up. */
    require(malloc(SIZE_MAX / 2) == NULL && life->reclaimed == before + 2);
    free(block);
}

static void who_runs_out_asks_for_what_is_kept(void **state)
{
    if (test_is_annotated() || TEST_SANITIZED) {
        print_message("skipped: a tool needs more address space than that\n");
        skip();
    }
    char text[1000];
    run_in_child(exhaust_here, text, sizeof text);
    assert_string_equal(text, "");
    assert_true(life->reclaimed >= 2);
}

#define lively(function) cmocka_unit_test_setup_teardown(function, start_living, stop_living)

int main(void)
{
    const struct CMUnitTest tests[] = {
        lively(threads_are_announced),
        lively(forks_are_announced),
        lively(exiting_is_announced_once_and_may_allocate),
        lively(statistics_get_the_add_ons_lines),
        lively(trimming_asks_for_what_is_kept),
        lively(who_runs_out_asks_for_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
