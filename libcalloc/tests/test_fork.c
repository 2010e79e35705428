/* fork in a program whose other threads allocate at that moment. */
#include "support.h"

#include <calloc/hooks.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>

enum { THREADS = 4, HELD = 50 };
static void *held[THREADS][HELD];
static _Atomic bool stop;
static pthread_barrier_t ready;

static size_t held_size(size_t i)
{
    static const size_t sizes[] = {16, 100, 1000, 5000, 50000, 200000, 5000000};
    return sizes[i % 50 == 6 ? 6 : i % 6];
}

/* Never at rest: the fork happens anywhere in malloc and free of these. */
static void *churn(void *argument)
{
    size_t number = (size_t)(uintptr_t)argument;
    struct random random = {number + 1};
    void *blocks[200] = {NULL};
    for (size_t i = 0; i < HELD; i++) {
        held[number][i] = malloc(held_size(i));
        require(held[number][i] != NULL);
        fill(held[number][i], held_size(i), i);
    }
    pthread_barrier_wait(&ready);
    while (!stop) {
        size_t i = random_below(&random, 200);
        free(blocks[i]);
        blocks[i] = malloc(random_size(&random, i == 0 ? 23 : 14));
        require(blocks[i] != NULL);
    }
    for (size_t i = 0; i < 200; i++)
        free(blocks[i]);
    return NULL;
}

static void use_every_kind(void)
{
    void *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = malloc(held_size(i));
        require(blocks[i] != NULL);
        fill(blocks[i], 16, i);
    }
    for (size_t i = 0; i < 300; i++) {
        require(is_filled(blocks[i], 16, i));
        blocks[i] = realloc(blocks[i], held_size(i + 1));
        require(blocks[i] != NULL && is_filled(blocks[i], 16, i));
    }
    for (size_t i = 0; i < 300; i++)
        free(blocks[i]);
}

static void wait_for(pid_t child)
{
    int status;
    require(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fprintf(stderr, "the child ended with status %#x\n", status);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static _Noreturn void be_the_child(bool again)
{
    /* A lock that nobody releases must not hang the test for ever. */
    alarm(60);
    use_every_kind();
    for (size_t number = 0; number < THREADS; number++) {
        for (size_t i = 0; i < HELD; i++) {
            require(is_filled(held[number][i], held_size(i), i));
            free(held[number][i]);
        }
    }
    use_every_kind();
    malloc_trim(0);
    require(statistics().threads == 1);
    if (again) {
        pid_t child = fork();
        require(child >= 0);
        if (child == 0) {
            use_every_kind();
            _exit(0);
        }
        wait_for(child);
    }
    _exit(0);
}

static int start_churning(void **state)
{
    static pthread_t threads[THREADS];
    *state = threads;
    stop = false;
    require(pthread_barrier_init(&ready, NULL, THREADS + 1) == 0);
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], churn, (void *)(uintptr_t)i);
    pthread_barrier_wait(&ready);
    return 0;
}

static int stop_churning(void **state)
{
    pthread_t *threads = *state;
    stop = true;
    for (size_t i = 0; i < THREADS; i++) {
        join_thread(threads[i]);
        for (size_t j = 0; j < HELD; j++)
            free(held[i][j]);
    }
    pthread_barrier_destroy(&ready);
    return 0;
}

static void children_of_a_busy_program_allocate_and_free(void **state)
{
    for (size_t i = 0; i < (test_is_slow() ? 4 : 15); i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            be_the_child(false);
        wait_for(child);
        free(malloc(100));
    }
}

static void children_fork_again(void **state)
{
    for (size_t i = 0; i < (test_is_slow() ? 2 : 6); i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            be_the_child(true);
        wait_for(child);
    }
}

static void *use_in_thread(void *argument)
{
    use_every_kind();
    return argument;
}

static void children_may_start_threads(void **state)
{
#if defined(__SANITIZE_THREAD__)
    print_message("ThreadSanitizer allows no threads after a fork of a threaded program\n");
    return;
#elif defined(__has_feature)
#    if __has_feature(thread_sanitizer)
    print_message("ThreadSanitizer allows no threads after a fork of a threaded program\n");
    return;
#    endif
#endif
    for (size_t i = 0; i < 5; i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(60);
            pthread_t threads[3];
            for (size_t j = 0; j < 3; j++)
                start_thread(&threads[j], use_in_thread, NULL);
            for (size_t j = 0; j < 3; j++)
                join_thread(threads[j]);
            _exit(0);
        }
        wait_for(child);
    }
}

/* Several threads fork at the same time. */
static void *fork_some(void *argument)
{
    for (size_t i = 0; i < (test_is_slow() ? 2 : 6); i++) {
        pid_t child = fork();
        require(child >= 0);
        if (child == 0) {
            alarm(60);
            use_every_kind();
            _exit(0);
        }
        wait_for(child);
    }
    return argument;
}

static void several_threads_fork_at_once(void **state)
{
    pthread_t threads[3];
    fflush(NULL);
    for (size_t i = 0; i < 3; i++)
        start_thread(&threads[i], fork_some, NULL);
    for (size_t i = 0; i < 3; i++)
        join_thread(threads[i]);
}

/* A handler of a signal that came amid an allocation may fork, and then this goes on in both. */
enum { NOT_ALONE = 77 };
static bool fork_amid;
static pid_t forked_amid = -1;

static void *map_and_fork(size_t length, size_t alignment, void *hint, int node)
{
    if (fork_amid) {
        fork_amid = false;
        forked_amid = fork();
        require(forked_amid >= 0);
    }
    return cal_source_system()->map(length, alignment, hint, node);
}

static int unmap(void *address, size_t length)
{
    return cal_source_system()->unmap(address, length);
}

static int purge(void *address, size_t length)
{
    return cal_source_system()->purge(address, length);
}

static int remap(void *address, size_t old_length, size_t new_length, void *destination)
{
    return cal_source_system()->remap(address, old_length, new_length, destination);
}

static _Noreturn void fork_while_it_allocates(void)
{
    static const struct cal_source source = {
        .size = sizeof source, .map = map_and_fork, .unmap = unmap, .purge = purge, .remap = remap};
    static const struct cal_hooks hooks = {.size = sizeof hooks,
                                           .version = CAL_HOOKS_VERSION,
                                           .name = "forking",
                                           .component_version = "1",
                                           .source = &source};
    if (!__libc_single_threaded)
        _exit(NOT_ALONE);
    alarm(60);
    require(cal_hooks_register(&hooks) == 0);
    fork_amid = true;
    use_every_kind();
    require(forked_amid >= 0);
    if (forked_amid != 0)
        wait_for(forked_amid);
    _exit(0);
}

static void a_fork_amid_an_allocation_goes_on_in_both(void **state)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        fork_while_it_allocates();
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALONE) {
        print_message("the process has a thread of a tool's, as under ThreadSanitizer\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* At rest the child's statistics are as exact as the parent's. */
static void a_quiet_child_has_exact_statistics(void **state)
{
    void *blocks[100];
    for (size_t i = 0; i < 100; i++)
        blocks[i] = malloc(i * 30);
    struct cal_statistics before = statistics();
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct cal_statistics inherited = statistics();
        require(inherited.active_allocations == before.active_allocations);
        require(inherited.active_bytes == before.active_bytes);
        for (size_t i = 0; i < 100; i++)
            free(blocks[i]);
        require(statistics().active_allocations == before.active_allocations - 100);
        _exit(0);
    }
    wait_for(child);
    assert_int_equal(statistics().active_allocations, before.active_allocations);
    for (size_t i = 0; i < 100; i++)
        free(blocks[i]);
}

#define busy(function) cmocka_unit_test_setup_teardown(function, start_churning, stop_churning)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* Before there are threads. */
        cmocka_unit_test(a_fork_amid_an_allocation_goes_on_in_both),
        busy(children_of_a_busy_program_allocate_and_free),
        busy(children_fork_again),
        busy(children_may_start_threads),
        busy(several_threads_fork_at_once),
        cmocka_unit_test(a_quiet_child_has_exact_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
