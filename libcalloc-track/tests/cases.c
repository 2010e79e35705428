/* Programs whose allocations are known: `cases NAME` runs one, and known_answers.py looks whether the profile says
 * what it did. Functions are named after what they do, and are neither inlined nor left by a jump. */
#include <calloc/track.h>
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __clang__
#    define APART __attribute__((noinline))
#else
#    define APART __attribute__((noinline, noclone))
#endif
/* The call before is not the last thing that a function does. */
#define STAY() __asm__ volatile("" ::: "memory")

static void *volatile kept[1024];
static __thread void *volatile local_block;

APART static void *take(size_t bytes)
{
    void *block = malloc(bytes);
    STAY();
    return block;
}

/* Overwrites what earlier calls left on the stack. */
APART static void forget(void)
{
    volatile char bytes[32768];
    memset((void *)bytes, 0, sizeof bytes);
    STAY();
}

/* A pointer that is not seen as one. */
static uintptr_t hide(const void *pointer)
{
    return ~(uintptr_t)pointer;
}

static void *show(uintptr_t hidden)
{
    return (void *)~hidden;
}

/* Leaks through several ways. */

APART static void leak_by_one_way(void)
{
    for (int i = 0; i < 5; i++)
        *(volatile char *)take(101) = 1;
    STAY();
}

APART static void leak_by_another(void)
{
    for (int i = 0; i < 3; i++)
        *(volatile char *)take(202) = 1;
    STAY();
}

APART static void leaks(void)
{
    leak_by_one_way();
    leak_by_another();
    kept[0] = take(303);
    STAY();
}

/* A list of four of which only the first is not pointed to. */

struct link {
    struct link *next;
    char bytes[40];
};

APART static struct link *make_list(int length)
{
    struct link *first = NULL;
    for (int i = 0; i < length; i++) {
        struct link *link = take(sizeof *link);
        link->next = first;
        first = link;
    }
    STAY();
    return first;
}

APART static void indirect(void)
{
    uintptr_t hidden = hide(make_list(4));
    (void)hidden;
    kept[0] = make_list(2);
    STAY();
}

APART static void make_cycle(void)
{
    struct link *first = make_list(3);
    first->next->next->next = first;
    STAY();
}

/* References. */

APART static void hold_in_thread_local(void)
{
    local_block = take(404);
    STAY();
}

static pthread_barrier_t barrier;

APART static void *hold_in_thread(void *argument)
{
    local_block = take(505);
    pthread_setspecific(*(pthread_key_t *)argument, take(506));
    pthread_barrier_wait(&barrier);
    for (;;)
        pause();
    return NULL;
}

APART static void *drop_with_thread(void *argument)
{
    local_block = take(606);
    STAY();
    return argument;
}

APART static void thread_locals(void)
{
    static pthread_key_t key;
    pthread_t thread;
    pthread_key_create(&key, NULL);
    pthread_barrier_init(&barrier, NULL, 2);
    hold_in_thread_local();
    pthread_create(&thread, NULL, hold_in_thread, &key);
    pthread_barrier_wait(&barrier);
    pthread_create(&thread, NULL, drop_with_thread, NULL);
    pthread_join(thread, NULL);
    /* Its stack would be used again as it was. */
    pthread_create(&thread, NULL, drop_with_thread, NULL);
    pthread_join(thread, NULL);
    STAY();
}

APART static void *hold_on_stack(void *argument)
{
    void *volatile block = take(707);
    pthread_barrier_wait(&barrier);
    for (;;)
        pause();
    free(block);
    return argument;
}

APART static void on_stack(void)
{
    pthread_t thread;
    void *volatile mine = take(708);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, hold_on_stack, NULL);
    pthread_barrier_wait(&barrier);
    exit(mine == NULL);
}

/* A thread that blocks all signals, and waits. */
APART static void *hold_blocked(void *argument)
{
    sigset_t all, one;
    void *volatile block = take(710);
    int number;
    sigfillset(&all);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_barrier_wait(&barrier);
    for (;;)
        sigwait(&one, &number);
    free(block);
    return argument;
}

APART static void blocked(void)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, hold_blocked, NULL);
    pthread_barrier_wait(&barrier);
    usleep(20000);
    exit(0);
}

APART static void hold_inside(void)
{
    kept[0] = (char *)take(809) + 400;
    STAY();
}

/* Stacks. */

APART static void descend(int depth)
{
    if (depth > 0)
        descend(depth - 1);
    else
        kept[0] = take(909);
    STAY();
}

static jmp_buf target;

APART static void jump(int depth)
{
    free(take(1010));
    if (depth < 0)
        return;
    if (depth == 0)
        longjmp(target, 1);
    jump(depth - 1);
    STAY();
}

APART static void after_jump(void)
{
    free(take(1011));
    STAY();
}

APART static void long_jumps(void)
{
    for (volatile int i = 0; i < 100; i++) {
        if (setjmp(target) == 0)
            jump(5);
        after_jump();
    }
    STAY();
}

static ucontext_t main_context, contexts[2];
static char stacks[2][65536] __attribute__((aligned(64)));

APART static void in_first_coroutine(void)
{
    for (int i = 0; i < 50; i++) {
        free(take(1112));
        swapcontext(&contexts[0], &contexts[1]);
    }
}

APART static void in_second_coroutine(void)
{
    for (int i = 0; i < 50; i++) {
        free(take(1113));
        swapcontext(&contexts[1], &contexts[0]);
    }
}

APART static void coroutines(void)
{
    void (*const functions[2])(void) = {in_first_coroutine, in_second_coroutine};
    for (int i = 0; i < 2; i++) {
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks[i];
        contexts[i].uc_stack.ss_size = sizeof stacks[i];
        contexts[i].uc_link = &main_context;
        makecontext(&contexts[i], functions[i], 0);
    }
    swapcontext(&main_context, &contexts[0]);
    STAY();
}

APART static void handle(int number)
{
    free(take(1214));
    STAY();
    (void)number;
}

APART static void raise_it(void)
{
    raise(SIGUSR1);
    STAY();
}

APART static void signals(void)
{
    stack_t stack = {.ss_sp = stacks[0], .ss_size = sizeof stacks[0]};
    struct sigaction action = {.sa_handler = handle};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 10; i++)
        raise_it();
    sigaltstack(&stack, NULL);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 10; i++)
        raise_it();
    STAY();
}

/* A plugin that is loaded, allocates and is unloaded, and another that comes to lie in its place. */
APART static void plugins(char **paths)
{
    for (int i = 0; i < 6; i++) {
        void *library = dlopen(paths[i % 2], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            exit(1);
        }
        void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_allocate");
        kept[i] = allocate(1315 + (size_t)(i % 2));
        dlclose(library);
    }
    STAY();
}

/* Counters. */

APART static void temporaries(void)
{
    for (int i = 0; i < 1000; i++)
        free(take(16));
    for (int i = 0; i < 100; i++) {
        void *first = take(17), *second = take(18);
        free(first);
        free(second);
    }
    STAY();
}

APART static void before_peak(void)
{
    for (int i = 0; i < 100; i++)
        kept[i] = take(1000);
    STAY();
}

APART static void after_peak(void)
{
    for (int i = 0; i < 100; i++)
        kept[i] = take(500);
    STAY();
}

APART static void drop_all(void)
{
    for (int i = 0; i < 100; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
    STAY();
}

APART static void peak(void)
{
    before_peak();
    drop_all();
    after_peak();
    drop_all();
}

APART static void resize(void)
{
    void *block = malloc(100);
    for (size_t bytes = 200; bytes <= 100000; bytes += 100)
        block = realloc(block, bytes);
    kept[0] = block;
    kept[1] = calloc(10, 1000);
    void *aligned = NULL;
    if (posix_memalign(&aligned, 4096, 5000) == 0)
        kept[2] = aligned;
    STAY();
}

enum { THREADS = 100, EACH = 1000 };

APART static void *allocate_in_thread(void *argument)
{
    void *blocks[10];
    for (int i = 0; i < EACH / 10; i++) {
        for (int j = 0; j < 10; j++)
            blocks[j] = take(48);
        for (int j = 0; j < 10; j++)
            free(blocks[j]);
    }
    return argument;
}

APART static void *free_in_thread(void *argument)
{
    void **blocks = argument;
    for (int i = 0; i < EACH; i++)
        free(blocks[i]);
    return argument;
}

APART static void allocate_for_others(void **blocks)
{
    for (int i = 0; i < EACH; i++)
        blocks[i] = take(49);
    STAY();
}

APART static void threads(void)
{
    static pthread_t all[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&all[i], NULL, allocate_in_thread, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(all[i], NULL);
    static void *blocks[EACH];
    pthread_t thread;
    allocate_for_others(blocks);
    pthread_create(&thread, NULL, free_in_thread, blocks);
    pthread_join(thread, NULL);
}

/* libc keeps the text of the error for the thread, and frees it when all else of that is gone. */
APART static void *fail_in_thread(void *argument)
{
    if (dlopen("/nonexistent/library.so", RTLD_NOW) != NULL)
        return argument;
    return (void *)dlerror() == NULL ? argument : NULL;
}

APART static void late_frees(void)
{
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, fail_in_thread, NULL);
        pthread_join(thread, NULL);
    }
    STAY();
}

static volatile int stop_now;

APART static void *allocate_until_stopped(void *argument)
{
    uint64_t count = 0;
    while (!stop_now) {
        free(take(64));
        count++;
    }
    *(uint64_t *)argument = count;
    return NULL;
}

/* `path` and a number for each of ten profiles, with leaks looked for in every other one. */
APART static void dumps(const char *path)
{
    pthread_t all[4];
    uint64_t counts[4];
    char name[4096];
    for (int i = 0; i < 4; i++)
        pthread_create(&all[i], NULL, allocate_until_stopped, &counts[i]);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "%s.%d", path, i);
        int error = cal_track_dump(name, i % 2 == 0);
        if (error != 0) {
            fprintf(stderr, "dump %d: %s\n", i, strerror(-error));
            exit(1);
        }
    }
    stop_now = 1;
    uint64_t sum = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(all[i], NULL);
        sum += counts[i];
    }
    printf("%llu\n", (unsigned long long)sum);
}

/* Says that it is there, and allocates until it is ended. */
APART static void forever(void)
{
    puts("ready");
    fflush(stdout);
    for (;;) {
        free(take(2125));
        usleep(100);
    }
}

APART static void many(void)
{
    for (int i = 0; i < 60000; i++)
        *(volatile char *)take(100) = 1;
    STAY();
}

APART static void allocate_small(long count)
{
    for (long i = 0; i < count; i++)
        free(take(16));
    STAY();
}

APART static void allocate_large(void)
{
    for (int i = 0; i < 16; i++)
        kept[i] = take(64 << 20);
    STAY();
}

APART static void allocate_while_off(void)
{
    for (int i = 0; i < 100; i++)
        kept[200 + i] = take(1718);
    for (int i = 0; i < 50; i++)
        free(kept[i]);
    STAY();
}

APART static void allocate_while_on(void)
{
    for (int i = 0; i < 100; i++)
        kept[i] = take(1719);
    STAY();
}

APART static int switched(void)
{
    allocate_while_on();
    int wrong = cal_track_stop() != 0 || cal_track_active();
    allocate_while_off();
    wrong |= cal_track_start() != 0 || !cal_track_active();
    free(kept[99]);
    free(kept[200]);
    free(take(1720));
    return wrong;
}

static void *begin_recording(void *argument)
{
    cal_track_start();
    return argument;
}

/* By another thread, when the library knows this one. */
APART static int begun_elsewhere(void)
{
    pthread_t thread;
    struct cal_track_leaks found = {.size = sizeof found};
    int wrong = cal_track_leaks(&found) != 0 ||
                pthread_create(&thread, NULL, begin_recording, NULL) != 0 ||
                pthread_join(thread, NULL) != 0 || !cal_track_active();
    free(take(1721));
    return wrong;
}

/* What the functions of the interface say. */
APART static int interface(void)
{
    uintptr_t hidden[3];
    for (int i = 0; i < 3; i++)
        hidden[i] = hide(take(1820));
    kept[0] = take(1821);
    forget();
    struct cal_track_leaks found = {.size = sizeof found};
    struct cal_track_totals before = {.size = sizeof before}, after = before;
    int error = cal_track_leaks(&found);
    if (error != 0 || found.blocks != 3 || found.bytes != 3 * 1820 || found.direct_blocks != 3 ||
        found.live_blocks < 4 || found.incomplete) {
        fprintf(stderr, "leaks: %d, %zu blocks, %zu bytes\n", error, found.blocks, found.bytes);
        return 1;
    }
    cal_track_totals(&before);
    for (int i = 0; i < 3; i++)
        free(show(hidden[i]));
    free(take(5));
    cal_track_totals(&after);
    if (after.allocations != before.allocations + 1 || after.frees != before.frees + 4 ||
        after.freed_bytes != before.freed_bytes + 3 * 1820 + 5) {
        fprintf(stderr, "totals are wrong\n");
        return 1;
    }
    error = cal_track_leaks(&found);
    return error != 0 || found.blocks != 0;
}

APART static void in_child(void)
{
    kept[1] = take(1922);
    STAY();
}

APART static void in_parent(void)
{
    kept[0] = take(1923);
    STAY();
}

APART static void children(void)
{
    in_parent();
    pid_t child = fork();
    if (child == 0) {
        in_child();
        exit(0);
    }
    printf("%d\n", (int)child);
    fflush(stdout);
    waitpid(child, NULL, 0);
    in_parent();
}

static void *volatile nowhere;

APART static void leave(const char *how)
{
    kept[0] = take(2024);
    if (strcmp(how, "exit") == 0)
        exit(3);
    if (strcmp(how, "_exit") == 0)
        _exit(3);
    if (strcmp(how, "_Exit") == 0)
        _Exit(3);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(3);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "fault") == 0)
        *(volatile int *)nowhere = 0;
    if (strcmp(how, "kill") == 0)
        kill(getpid(), SIGTERM);
    if (strcmp(how, "vfork") == 0) {
        pid_t child = vfork();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "";
    int result = 0;
    if (strcmp(name, "leaks") == 0)
        leaks();
    else if (strcmp(name, "indirect") == 0)
        indirect();
    else if (strcmp(name, "cycle") == 0)
        make_cycle();
    else if (strcmp(name, "thread_locals") == 0)
        thread_locals();
    else if (strcmp(name, "on_stack") == 0)
        on_stack();
    else if (strcmp(name, "blocked") == 0)
        blocked();
    else if (strcmp(name, "inside") == 0)
        hold_inside();
    else if (strcmp(name, "recursion") == 0)
        descend(5000);
    else if (strcmp(name, "long_jumps") == 0)
        long_jumps();
    else if (strcmp(name, "coroutines") == 0)
        coroutines();
    else if (strcmp(name, "signals") == 0)
        signals();
    else if (strcmp(name, "plugins") == 0 && count > 3)
        plugins(arguments + 2);
    else if (strcmp(name, "temporaries") == 0)
        temporaries();
    else if (strcmp(name, "peak") == 0)
        peak();
    else if (strcmp(name, "resize") == 0)
        resize();
    else if (strcmp(name, "threads") == 0)
        threads();
    else if (strcmp(name, "late_frees") == 0)
        late_frees();
    else if (strcmp(name, "forever") == 0)
        forever();
    else if (strcmp(name, "many") == 0)
        many();
    else if (strcmp(name, "dumps") == 0 && count > 2)
        dumps(arguments[2]);
    else if (strcmp(name, "sampled") == 0 && count > 2) {
        allocate_small(atol(arguments[2]));
        allocate_large();
    } else if (strcmp(name, "switched") == 0)
        result = switched();
    else if (strcmp(name, "begun_elsewhere") == 0)
        result = begun_elsewhere();
    else if (strcmp(name, "interface") == 0)
        result = interface();
    else if (strcmp(name, "children") == 0)
        children();
    else if (strcmp(name, "leave") == 0 && count > 2)
        leave(arguments[2]);
    else
        result = 2;
    forget();
    return result;
}
