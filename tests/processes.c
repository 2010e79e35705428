/* fork in threaded programs, vfork and posix_spawn, and libraries that come and go. */
#include <calloc/calloc.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* After the headers that it needs. */
#include <cmocka.h>

#include "workload.h"

#define THREADS 4
#define SLOTS   2000
#define FORKS   100

extern char **environ;

static _Atomic(size_t *) slots[SLOTS];
static struct workload workload;
static _Atomic bool stop;
static pthread_t threads[THREADS];

static void *traffic(void *seed)
{
    uint64_t random = (uintptr_t)seed;
    const char *complaint = NULL;
    while (!stop && complaint == NULL)
        complaint = workload_run(&workload, &random, 100);
    return (void *)complaint;
}

static int start_traffic(void **state)
{
    (void)state;
    stop = false;
    workload_initialize(&workload, slots, SLOTS, 18);
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, traffic, (void *)(i + 1)) != 0)
            return -1;
    return 0;
}

static int end_traffic(void **state)
{
    (void)state;
    const char *complaint = NULL;
    stop = true;
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        if (result != NULL)
            complaint = result;
    }
    if (complaint == NULL)
        complaint = workload_end(&workload);
    if (complaint != NULL)
        print_error("traffic: %s\n", complaint);
    return complaint == NULL ? 0 : -1;
}

static struct cal_statistics statistics(void)
{
    struct cal_statistics now = {.size = sizeof now};
    cal_stats(&now);
    return now;
}

/* In a child; its exit status says what went wrong. Not through cmocka, whose jumps would make
 * the child go on with the parent's tests. */

static void *one_thread(void *argument)
{
    uint64_t random = 77;
    return (void *)workload_run(argument, &random, 500);
}

static const char *child_work(void)
{
    static _Atomic(size_t *) own_slots[200];
    struct workload own;
    uint64_t random = 1234;
    workload_initialize(&own, own_slots, 200, 20);
    const char *complaint = workload_run(&own, &random, 2000);
    if (complaint != NULL)
        return complaint;
    /* Blocks of threads that do not exist here are blocks like any others. A thread of the parent
     * may have been between taking one out of its slot and stamping it: such a slot is empty. */
    complaint = workload_run(&workload, &random, 2000);
    if (complaint != NULL)
        return complaint;
    pthread_t thread;
    if (pthread_create(&thread, NULL, one_thread, &own) != 0)
        return "no thread could be made";
    void *result = NULL;
    pthread_join(thread, &result);
    if (result != NULL)
        return result;
    complaint = workload_end(&workload);
    if (complaint != NULL)
        return complaint;
    if (statistics().threads != 1)
        return "threads of the parent are counted";
    cal_trim();
    return workload_end(&own);
}

static void child(const char *(*work)(void))
{
    /* A child that waits for a lock nobody will release ends by this. */
    alarm(100);
    const char *complaint = work();
    if (complaint != NULL)
        fprintf(stderr, "child: %s\n", complaint);
    exit(complaint == NULL ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void wait_for(pid_t pid)
{
    int status = -1;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("the child ended with status %#x", (unsigned)status);
}

static void fork_during_traffic(void **state)
{
    (void)state;
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0)
            child(child_work);
        wait_for(pid);
    }
}

static const char *fork_again(void)
{
    const char *complaint = NULL;
    for (int depth = 0; depth < 4; depth++) {
        complaint = child_work();
        if (complaint != NULL)
            return complaint;
        pid_t pid = fork();
        if (pid != 0) {
            int status = -1;
            return waitpid(pid, &status, 0) == pid && status == 0 ? NULL : "a grandchild failed";
        }
    }
    return NULL;
}

static void children_of_children(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (pid == 0)
            child(fork_again);
        wait_for(pid);
    }
}

/* Several threads fork at once, and allocate between. */

static void *forks(void *argument)
{
    uint64_t random = (uintptr_t)argument + 10;
    for (int i = 0; i < FORKS / 8; i++) {
        if (workload_run(&workload, &random, 100) != NULL)
            return (void *)1;
        pid_t pid = fork();
        if (pid == 0)
            child(child_work);
        int status = -1;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            return (void *)1;
    }
    return NULL;
}

static void threads_that_fork_at_once(void **state)
{
    (void)state;
    pthread_t forkers[THREADS];
    uintptr_t failed = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&forkers[i], NULL, forks, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(forkers[i], &result);
        failed += (uintptr_t)result;
    }
    assert_int_equal(failed, 0);
}

/* A server that forks from its child again and again must not lose memory at each generation. */

static const char *generations(void)
{
    size_t mapped = 0;
    for (int generation = 1; generation <= 40; generation++) {
        uint64_t random = (uint64_t)generation;
        const char *complaint = workload_run(&workload, &random, 2000);
        if (complaint != NULL)
            return complaint;
        if (generation == 20)
            mapped = statistics().os_memory_mapped;
        if (mapped != 0 && statistics().os_memory_mapped > mapped + mapped / 4)
            return "mapped memory grows by generation";
        pid_t pid = fork();
        if (pid != 0) {
            int status = -1;
            return waitpid(pid, &status, 0) == pid && status == 0 ? NULL : "a generation failed";
        }
    }
    return NULL;
}

static void forty_generations(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        child(generations);
    wait_for(pid);
}

static pid_t vfork_true(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void vfork_and_spawn(void **state)
{
    (void)state;
    char name[] = "true";
    char *const arguments[] = {name, NULL};
    for (int i = 0; i < 50; i++) {
        wait_for(vfork_true());
        pid_t pid = -1;
        assert_int_equal(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ), 0);
        wait_for(pid);
    }
    for (int i = 0; i < 10; i++) {
        char line[32] = "";
        assert_int_equal(system("exit 0"), 0);
        FILE *pipe = popen("echo from a pipe", "r");
        assert_non_null(pipe);
        assert_non_null(fgets(line, sizeof line, pipe));
        assert_int_equal(pclose(pipe), 0);
        assert_string_equal(line, "from a pipe\n");
    }
}

/* A library that allocates in its constructor and frees in its destructor. */

static void load_and_unload(int times, bool alone)
{
    for (int i = 0; i < times; i++) {
        void *library = dlopen(getenv("TEST_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            fail_msg("%s", dlerror());
        int (*check)(void);
        *(void **)&check = dlsym(library, "plugin_check");
        assert_non_null(check);
        assert_int_equal(check(), 0);
        assert_int_equal(dlclose(library), 0);
        if (alone)
            assert_null(dlopen(getenv("TEST_PLUGIN"), RTLD_NOW | RTLD_NOLOAD));
    }
}

static void libraries_come_and_go(void **state)
{
    (void)state;
    load_and_unload(20, true);
    size_t before = statistics().active_allocations;
    load_and_unload(200, true);
    assert_in_range(statistics().active_allocations, 0, before + 8);
}

static void libraries_during_traffic(void **state)
{
    (void)state;
    load_and_unload(100, true);
}

static void *load_in_thread(void *argument)
{
    (void)argument;
    load_and_unload(50, false);
    return NULL;
}

/* Thread-local variables of an unloaded library are freed by the dynamic linker. */
static void libraries_in_threads(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, load_in_thread, NULL), 0);
        load_and_unload(50, false);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

#define DURING_TRAFFIC(test) cmocka_unit_test_setup_teardown(test, start_traffic, end_traffic)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DURING_TRAFFIC(fork_during_traffic),       DURING_TRAFFIC(children_of_children),
        DURING_TRAFFIC(threads_that_fork_at_once), DURING_TRAFFIC(forty_generations),
        DURING_TRAFFIC(vfork_and_spawn),           cmocka_unit_test(libraries_come_and_go),
        DURING_TRAFFIC(libraries_during_traffic),  cmocka_unit_test(libraries_in_threads),
    };
    return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
