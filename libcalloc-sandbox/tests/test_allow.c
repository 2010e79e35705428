/* A process in a filter that kills, with the rules of cal_sandbox_allow and those that these tests need
 * themselves: the allocator does all it can do, and nothing else is let through. */
#include "support.h"

#include <linux/futex.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "workload.h"

enum { THREADS = 3, SLOTS = 512, LARGEST = 22, STEPS = 20000 };

static _Atomic(size_t *) slots[SLOTS];
static struct workload workload;
static _Atomic int ready; /* threads that have started */
static _Atomic int go;
static _Atomic int done;

static void in_filter(const int *more, size_t count)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    require(filter != NULL && seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0);
    require(cal_sandbox_allow(filter) == 0 && allow_own(filter));
    for (size_t i = 0; i < count; i++)
        require(seccomp_rule_add(filter, SCMP_ACT_ALLOW, more[i], 0) == 0);
    require(seccomp_load(filter) == 0);
    seccomp_release(filter);
}

static void use_heap(uint64_t random, size_t steps)
{
    const char *complaint = workload_run(&workload, &random, steps);
    if (complaint != NULL)
        say(complaint);
    require(complaint == NULL);
}

/* A block of up to 48 MiB: moved, resized in place, trimmed. */
static void resize_huge(void)
{
    char *block = NULL;
    size_t size = 0;
    for (size_t next = 4096; next <= (size_t)48 << 20; next += next / 2) {
        block = realloc(block, next);
        require(block != NULL && (size == 0 || block[size - 1] == 'z'));
        size = next;
        block[size - 1] = 'z';
        void *in_the_way = malloc(next / 3);
        require(in_the_way != NULL);
        free(in_the_way);
    }
    for (; size > 4096; size /= 2) {
        block[size / 2 - 1] = 'z';
        block = realloc(block, size / 2);
        require(block != NULL && block[size / 2 - 1] == 'z');
    }
    free(block);
}

static void use_everything(uint64_t random)
{
    for (int round = 0; round < 4; round++) {
        use_heap(random + (uint64_t)round, STEPS);
        resize_huge();
        malloc_trim(0);
    }
}

static void workload_alone(void)
{
    in_filter(NULL, 0);
    use_everything(7);
    require(workload_end(&workload) == NULL);
}

static void *thread(void *argument)
{
    ready++;
    wait_until(&go, 1);
    use_heap((uintptr_t)argument + 1, STEPS * 2);
    done++;
    return NULL;
}

static void workload_in_threads(void)
{
    pthread_attr_t detached;
    require(pthread_attr_init(&detached) == 0 &&
            pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) == 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_t made;
        require(pthread_create(&made, &detached, thread, (void *)i) == 0);
    }
    wait_until(&ready, THREADS);
    in_filter(NULL, 0);
    go = 1;
    use_everything(11);
    wait_until(&done, THREADS);
    require(workload_end(&workload) == NULL);
}

/* The filter goes along with the child, whose allocator starts with what it inherits. */
static void workload_in_a_forked_child(void)
{
    static const int forking[] = {SCMP_SYS(clone), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
                                  SCMP_SYS(gettid), SCMP_SYS(wait4)};
    in_filter(forking, sizeof forking / sizeof *forking);
    use_heap(3, STEPS);
    pid_t child = fork();
    if (child == 0) {
        use_everything(5);
        require(workload_end(&workload) == NULL);
        _exit(0);
    }
    int status;
    require(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    use_everything(9);
}

static _Atomic int handled;

static void count_signal(int number)
{
    (void)number;
    handled++;
}

/* Signals arrive while the allocator is in its calls. */
static void workload_with_signals(void)
{
    static const int signals[] = {SCMP_SYS(setitimer), SCMP_SYS(rt_sigreturn)};
    const struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    const struct itimerval often = {{0, 500}, {0, 500}};
    require(sigaction(SIGVTALRM, &action, NULL) == 0);
    in_filter(signals, sizeof signals / sizeof *signals);
    require(setitimer(ITIMER_VIRTUAL, &often, NULL) == 0);
    do
        use_everything(13);
    while (handled == 0);
    const struct itimerval never = {{0, 0}, {0, 0}};
    require(setitimer(ITIMER_VIRTUAL, &never, NULL) == 0);
}

static void the_allocator_works(void **state)
{
    assert_int_equal(status_of(workload_alone), 0);
}

static void the_allocator_works_in_threads(void **state)
{
    assert_int_equal(status_of(workload_in_threads), 0);
}

static void the_allocator_works_in_a_forked_child(void **state)
{
    assert_int_equal(status_of(workload_in_a_forked_child), 0);
}

static void the_allocator_works_with_signals(void **state)
{
    assert_int_equal(status_of(workload_with_signals), 0);
}

/* The whole heap is in use, and there is no more address space. */
static void allow_without_memory(void)
{
    static char before[PROGRAM_MAX];
    static char after[PROGRAM_MAX];
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    require(filter != NULL && allow_own(filter));
    long length = program_of(filter, before);
    const rlim_t size = (rlim_t)status_number(getpid(), "VmSize") << 10;
    const struct rlimit no_more = {size, size};
    require(length > 0 && setrlimit(RLIMIT_AS, &no_more) == 0);
    void *list = NULL;
    for (size_t bytes = 65536; bytes >= sizeof list; bytes /= 2) {
        for (void **block = malloc(bytes); block != NULL; block = malloc(bytes)) {
            *block = list;
            list = block;
        }
    }
    require(cal_sandbox_allow(filter) == -ENOMEM);
    while (list != NULL) {
        void *next = *(void **)list;
        free(list);
        list = next;
    }
    require(program_of(filter, after) == length && memcmp(after, before, (size_t)length) == 0);
    require(cal_sandbox_allow(filter) == 0);
}

static void without_memory_a_filter_stays_as_it_was(void **state)
{
    assert_int_equal(status_of(allow_without_memory), 0);
}

/* What is not among the rules, call by call. */

enum { PAGE = 65536 };
static void *page;

static void map_code(void)
{
    mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void map_code_to_write(void)
{
    mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void map_shared(void)
{
    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void map_a_file(void)
{
    mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, STDERR_FILENO, 0);
}

static void make_code(void)
{
    mprotect(page, PAGE, PROT_READ | PROT_EXEC);
}

/* Bits above those that the kernel knows. */
static void protect_oddly(void)
{
    syscall(SYS_mprotect, page, PAGE, UINT64_C(1) << 32 | PROT_READ);
}

static void make_code_with_a_key(void)
{
    syscall(SYS_pkey_mprotect, page, PAGE, PROT_READ | PROT_EXEC, -1);
}

static void move_and_keep(void)
{
    syscall(SYS_mremap, page, PAGE, PAGE, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, NULL);
}

static void advise_otherwise(void)
{
    madvise(page, PAGE, MADV_DONTFORK);
}

static void lock_with_priority(void)
{
    syscall(SYS_futex, page, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
}

static void wait_between_processes(void)
{
    syscall(SYS_futex, page, FUTEX_WAIT, 1, NULL, NULL, 0);
}

static void open_socket(void)
{
    socket(AF_UNIX, SOCK_STREAM, 0);
}

static void start_a_program(void)
{
    execl("/bin/true", "true", NULL);
}

static void (*forbidden)(void);

static void do_what_is_forbidden(void)
{
    in_filter(NULL, 0);
    use_heap(1, 1000);
    forbidden();
}

static void all_else_kills(void **state)
{
    static void (*const calls[])(void) = {
        map_code,         map_code_to_write,  map_shared,    map_a_file,
        make_code,        protect_oddly,      move_and_keep, make_code_with_a_key,
        advise_otherwise, lock_with_priority, open_socket,   wait_between_processes,
        start_a_program,
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        forbidden = calls[i];
        int status = status_of(do_what_is_forbidden);
        if (status != -SIGSYS)
            print_error("call number %zu of the list\n", i);
        assert_int_equal(status, -SIGSYS);
    }
}

static int start(void **state)
{
    /* Of the core, linked or preloaded: its large blocks are multiples of 64 KiB. */
    void *block = malloc(200000);
    bool is_core = malloc_usable_size(block) == 4 * PAGE;
    free(block);
    if (!is_core) {
        print_error("these tests are about another malloc\n");
        return -1;
    }
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    workload_initialize(&workload, slots, SLOTS, LARGEST);
    return page == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_allocator_works),
        cmocka_unit_test(the_allocator_works_in_threads),
        cmocka_unit_test(the_allocator_works_in_a_forked_child),
        cmocka_unit_test(the_allocator_works_with_signals),
        cmocka_unit_test(without_memory_a_filter_stays_as_it_was),
        cmocka_unit_test(all_else_kills),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
