/* Moments at which it is hard to do right: recording goes on and off while others allocate, and forks come when a lock is
 * held. Each case runs in a process of its own, which has a minute. */
#include "support.h"

#include <calloc/track.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child must do is short. */
enum { CASE_SECONDS = 60, CHILD_SECONDS = 20 };

static void end_after(unsigned seconds)
{
    signal(SIGALRM, SIG_DFL);
    alarm(seconds);
}

/* Whether the process that runs the case, or a child of its, ends by itself and with 0. */
static bool ends_well(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0) {}
    if (status != 0)
        fprintf(stderr, "a process ended with %#x\n", (unsigned)status);
    return status == 0;
}

static void run_apart(void (*run)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        end_after(CASE_SECONDS);
        run();
        _exit(0);
    }
    assert_true(ends_well(child));
}

static _Atomic bool stop;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Blocks of all kinds, and none is left in the end. */
static void *allocate_until_stopped(void *argument)
{
    static const size_t sizes[] = {16, 40, 200, 1500, 9000, 70000, 300000};
    void *volatile held[64] = {NULL};
    uint32_t random = (uint32_t)(uintptr_t)argument;
    while (!atomic_load(&stop)) {
        uint32_t number = next_random(&random), place = number % 64;
        free(held[place]);
        held[place] = malloc(sizes[number / 64 % 7]);
    }
    for (size_t i = 0; i < 64; i++)
        free(held[i]);
    return argument;
}

static void begin(pthread_t *threads, uintptr_t count, void *(*run)(void *argument))
{
    for (uintptr_t i = 0; i < count; i++)
        require(pthread_create(&threads[i], NULL, run, (void *)(i + 1)) == 0);
}

static void end(const pthread_t *threads, size_t count)
{
    atomic_store(&stop, true);
    for (size_t i = 0; i < count; i++)
        require(pthread_join(threads[i], NULL) == 0);
}

static void switch_under_load(void)
{
    pthread_t threads[3];
    struct cal_track_leaks before = {.size = sizeof before}, after = before;
    require(cal_track_leaks(&before) == 0);
    begin(threads, 3, allocate_until_stopped);
    for (int i = 0; i < 200; i++) {
        require((i % 2 == 0 ? cal_track_stop() : cal_track_start()) == 0);
        usleep(i % 5 * 200);
    }
    end(threads, 3);
    require(cal_track_active());
    require(cal_track_leaks(&after) == 0);
    require(after.blocks == before.blocks);
    /* The C library may keep something of a thread's. */
    require(after.live_blocks < before.live_blocks + 16);
}

static void test_switch_under_load(void **state)
{
    (void)state;
    run_apart(switch_under_load);
}

/* What was allocated a moment before recording ended is known to be gone at once. */
static void free_while_off(void)
{
    for (int i = 0; i < 20; i++) {
        struct cal_track_leaks before = {.size = sizeof before}, after = before;
        require(cal_track_leaks(&before) == 0);
        void *volatile block = malloc(100003);
        require(cal_track_stop() == 0);
        free(block);
        block = NULL;
        require(cal_track_leaks(&after) == 0);
        require(after.blocks == before.blocks && after.live_blocks == before.live_blocks);
        require(cal_track_start() == 0);
    }
}

static void test_free_while_off(void **state)
{
    (void)state;
    run_apart(free_while_off);
}

static void *volatile held_block;

static void *search_without_main(void *argument)
{
    pthread_t *first = argument;
    struct cal_track_leaks leaks = {.size = sizeof leaks};
    require(pthread_join(*first, NULL) == 0);
    require(cal_track_leaks(&leaks) == 0);
    require(leaks.blocks == 0 && leaks.live_blocks > 0);
    _exit(0);
}

/* The kernel has no maps then under the process's number. */
static void end_first_thread(void)
{
    static pthread_t self;
    pthread_t other;
    self = pthread_self();
    held_block = malloc(5000);
    require(pthread_create(&other, NULL, search_without_main, &self) == 0);
    pthread_exit(NULL);
}

static void test_end_first_thread(void **state)
{
    (void)state;
    run_apart(end_first_thread);
}

static _Atomic int forks, fork_failures;

static void fork_now(int number)
{
    (void)number;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    atomic_fetch_add(&forks, 1);
    int status = -1;
    while (waitpid(child, &status, 0) < 0) {}
    atomic_fetch_add(&fork_failures, status != 0);
}

/* Stacks that nobody has seen before take the library's locks: bit by bit of WAY one of two calls. */
static __attribute__((noinline)) void descend(uint32_t way)
{
    void *volatile block = malloc(way % 128);
    if (way % 2 != 0)
        descend(way / 2);
    __asm__ volatile("" ::: "memory");
    if (way != 0 && way % 2 == 0)
        descend(way / 2);
    __asm__ volatile("" ::: "memory");
    free(block);
}

static void fork_in_handler(void)
{
    struct sigaction action = {.sa_handler = fork_now};
    struct itimerval every = {.it_interval.tv_usec = 300, .it_value.tv_usec = 300}, never = {0};
    struct cal_track_leaks leaks = {.size = sizeof leaks};
    sigaction(SIGVTALRM, &action, NULL);
    setitimer(ITIMER_VIRTUAL, &every, NULL);
    uint32_t random = 1;
    while (atomic_load(&forks) < 300) {
        for (int i = 0; i < 200; i++)
            descend(next_random(&random) & 0xffff);
        require(cal_track_leaks(&leaks) == 0);
    }
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    require(fork_failures == 0);
}

static void test_fork_in_handler(void **state)
{
    (void)state;
    run_apart(fork_in_handler);
}

static void *search_until_stopped(void *argument)
{
    struct cal_track_leaks leaks = {.size = sizeof leaks};
    while (!atomic_load(&stop))
        require(cal_track_leaks(&leaks) == 0);
    return argument;
}

static void *switch_until_stopped(void *argument)
{
    for (unsigned i = 0; !atomic_load(&stop); i++)
        require((i % 2 == 0 ? cal_track_stop() : cal_track_start()) == 0);
    return argument;
}

static int count_module(struct dl_phdr_info *information, size_t size, void *argument)
{
    (void)information;
    (void)size;
    ++*(int *)argument;
    return 0;
}

static uint64_t allocations(void)
{
    struct cal_track_totals totals = {.size = sizeof totals};
    return cal_track_totals(&totals) == 0 ? totals.allocations : 0;
}

/* Whether recording can be set to ON, and is. */
static bool switches(bool on)
{
    if ((on ? cal_track_start() : cal_track_stop()) != 0 || cal_track_active() != on)
        return false;
    uint64_t before = allocations();
    void *volatile block = malloc(77);
    free(block);
    return allocations() - before == (on ? 1 : 0);
}

/* Whatever the other thread was at, the child can do the same. */
static void fork_beside(void *(*run)(void *argument))
{
    pthread_t thread;
    begin(&thread, 1, run);
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        require(child >= 0);
        if (child != 0) {
            require(ends_well(child));
            continue;
        }
        int modules = 0;
        struct cal_track_leaks leaks = {.size = sizeof leaks};
        end_after(CHILD_SECONDS);
        dl_iterate_phdr(count_module, &modules);
        bool good = modules > 2;
        for (int on = i % 2; good && on < 4; on++)
            good = switches(on % 2 != 0);
        _exit(good && cal_track_leaks(&leaks) == 0 ? 0 : 1);
    }
    end(&thread, 1);
}

static void fork_during_search(void)
{
    fork_beside(search_until_stopped);
}

static void test_fork_during_search(void **state)
{
    (void)state;
    run_apart(fork_during_search);
}

static void fork_during_switch(void)
{
    fork_beside(switch_until_stopped);
}

static void test_fork_during_switch(void **state)
{
    (void)state;
    run_apart(fork_during_switch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switch_under_load),  cmocka_unit_test(test_free_while_off),
        cmocka_unit_test(test_end_first_thread),   cmocka_unit_test(test_fork_in_handler),
        cmocka_unit_test(test_fork_during_search), cmocka_unit_test(test_fork_during_switch),
    };
    return cmocka_run_group_tests_name("track, moments", tests, NULL, NULL);
}
