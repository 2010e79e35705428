/* refused_calls CALLS ANSWER: the allocator under a seccomp filter that is installed once the
 * process has started.
 *
 *   CALLS    others    all but the allocator's own calls, which are those of libcalloc-sandbox, and
 *                      those that this program needs
 *            openssh   the same with fewer flags for mmap, private, anonymous and fixed alone, as
 *                      in the sandbox of OpenSSH
 *            madvise, mremap, munmap, futex, mmap
 *                      that call itself, besides the others
 *   ANSWER   EPERM, EINVAL, ENOSYS or kill
 *
 * A call outside the list kills, or is answered as if it were not there; either way traffic of all
 * kinds must go on with every block good, and with no more address space than it takes without. */
#include <calloc/calloc.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rules.h"
#include "workload.h"

#define THREADS 3
#define SLOTS   512
#define LARGEST 22 /* slabs, runs, and mappings of up to 4 MiB */
#define ROUNDS  20
#define LONGEST ((size_t)48 << 20) /* of the blocks that grow */
#define STEPS   2000

#define SKIPPED 77

static _Atomic(size_t *) slots[SLOTS];
static struct workload workload;
static _Atomic int ready;  /* threads that the C library has started up */
static _Atomic int phase;  /* threads wait for 1 before they allocate for the first time */
static _Atomic int ended;  /* threads whose destructors run */
static _Atomic int failed; /* threads that found something wrong */
static pthread_key_t end_key;
static int statm = -1;

/* A filter can make every function of the C library that waits unusable: this does not. */
static void wait_until(_Atomic int *value, int wanted)
{
    while (atomic_load(value) != wanted)
        __asm__ volatile("" ::: "memory");
}

/* One write and nothing else; dprintf asks for the file's state too. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t)length < sizeof text)
        length = (int)write(STDERR_FILENO, text, (size_t)length);
}

static void complain(const char *what)
{
    say("refused_calls: %s\n", what);
}

static void count_end(void *argument)
{
    (void)argument;
    /* Its heap may be gone already, or go after this. */
    free(malloc(100));
    atomic_fetch_add(&ended, 1);
}

static void *thread(void *argument)
{
    uint64_t random = (uintptr_t)argument + 1;
    atomic_fetch_add(&ready, 1);
    wait_until(&phase, 1);
    pthread_setspecific(end_key, &end_key);
    const char *complaint = workload_run(&workload, &random, ROUNDS * STEPS / 4);
    if (complaint != NULL) {
        complain(complaint);
        atomic_fetch_add(&failed, 1);
    }
    return NULL;
}

static size_t address_space(void)
{
    char text[128] = {0};
    if (pread(statm, text, sizeof text - 1, 0) <= 0)
        return 0;
    return strtoull(text, NULL, 10) * 4096;
}

/* Sizes that only grow, and then only shrink, as a vector or a tensor does. */
static const char *grow_and_shrink(void)
{
    char *block = NULL;
    size_t size = 0;
    for (size_t next = 16; next <= LONGEST; next += next / 2 + 8) {
        char *moved = realloc(block, next);
        if (moved == NULL)
            return "realloc: no memory";
        block = moved;
        if (size != 0 && (block[0] != 'a' || block[size - 1] != 'z'))
            return "realloc: contents were not kept";
        size = next;
        block[0] = 'a';
        block[size - 1] = 'z';
    }
    while (size > 16) {
        size /= 2;
        char *moved = realloc(block, size);
        if (moved == NULL || moved[0] != 'a')
            return "realloc: shrinking lost the block";
        block = moved;
    }
    free(block);
    return NULL;
}

static const char *rounds(void)
{
    uint64_t random = 99;
    size_t warm = 0;
    for (int round = 1; round <= ROUNDS; round++) {
        const char *complaint = workload_run(&workload, &random, STEPS);
        if (complaint == NULL)
            complaint = grow_and_shrink();
        if (complaint != NULL)
            return complaint;
        if (round % 4 == 0)
            cal_trim();
        if (round % 4 == 2)
            malloc_trim(0);
        struct cal_statistics statistics = {.size = sizeof statistics};
        cal_stats(&statistics);
        if (round == ROUNDS / 2)
            warm = address_space();
    }
    size_t now = address_space();
    say("address space %zu KiB, half-way %zu KiB\n", now >> 10, warm >> 10);
    /* Where nothing can be unmapped, what other threads hold now and then splits the place that the
     * longest block had, which then needs another. But not in every other round. */
    if (now > warm + ROUNDS / 4 * LONGEST)
        return "address space grows";
    return NULL;
}

static const char *traffic(int threads)
{
    atomic_store(&phase, 1);
    const char *complaint = rounds();
    wait_until(&ended, threads);
    if (complaint == NULL && atomic_load(&failed) != 0)
        complaint = "a thread failed";
    if (complaint == NULL)
        complaint = workload_end(&workload);
    return complaint;
}

/* The filter. */

/* OpenSSH allows private, anonymous and fixed mappings, and no other flags. */
static bool is_left_out(const struct cal__rule *rule, const char *calls)
{
    bool openssh = strcmp(calls, "openssh") == 0 && strcmp(rule->name, "mmap") == 0;
    return strcmp(rule->name, calls) == 0 ||
           (openssh && (rule->conditions[1].datum_a & MAP_FIXED_NOREPLACE) != 0);
}

static bool allow_memory(scmp_filter_ctx filter, const char *calls)
{
    int error = 0;
    size_t left_out = 0;
    for (size_t i = 0; i < cal__rule_count; i++) {
        if (is_left_out(&cal__rules[i], calls))
            left_out++;
        else
            error |= cal__rule_add(filter, &cal__rules[i]);
    }
    return error == 0 && (left_out != 0) == (strcmp(calls, "others") != 0);
}

static bool install(const char *calls, uint32_t answer)
{
    scmp_filter_ctx filter = seccomp_init(answer);
    if (filter == NULL)
        return false;
    /* All threads, also those that are there already. */
    int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    error |= !allow_memory(filter, calls);
    /* The program's own: to report, to look at its size, to end; threads end with the latter two,
     * for which the C library also blocks signals. */
    static const int own[] = {SCMP_SYS(write), SCMP_SYS(pread64), SCMP_SYS(exit),
                              SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit_group)};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        error |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, own[i], 0);
    error |= seccomp_load(filter);
    seccomp_release(filter);
    return error == 0;
}

/* That the filter does what this test is about. */
static const char *probe(const char *calls, int error)
{
    if (error == 0)
        return NULL;
    errno = 0;
    if (syscall(SYS_getppid) != -1 || errno != error)
        return "the filter does not refuse getppid";
    errno = 0;
    if (strcmp(calls, "munmap") == 0 && (munmap(NULL, 4096) != -1 || errno != error))
        return "the filter does not refuse munmap";
    errno = 0;
    if (strcmp(calls, "mremap") == 0 &&
        (mremap(NULL, 4096, 8192, 0) != MAP_FAILED || errno != error))
        return "the filter does not refuse mremap";
    errno = 0;
    if (strcmp(calls, "madvise") == 0 && (madvise(NULL, 0, MADV_DONTNEED) != -1 || errno != error))
        return "the filter does not refuse madvise";
    errno = 0;
    int word = 0;
    if (strcmp(calls, "futex") == 0 &&
        (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != -1 || errno != error))
        return "the filter does not refuse futex";
    return NULL;
}

/* Without mmap there is no new memory: what is there is used up, and then NULL and ENOMEM. */
static const char *without_mmap(void)
{
    void *block = NULL;
    void *list = NULL;
    errno = 0;
    while ((block = malloc(1000)) != NULL) {
        *(void **)block = list;
        list = block;
    }
    if (errno != ENOMEM)
        return "malloc: wrong error";
    if (list == NULL)
        return "malloc: memory that is there was not used";
    while (list != NULL) {
        block = list;
        list = *(void **)block;
        free(block);
    }
    errno = 0;
    if (malloc((size_t)64 << 20) != NULL || errno != ENOMEM)
        return "malloc: a large block must be refused with ENOMEM";
    block = malloc(1000);
    if (block == NULL)
        return "malloc: what was freed is not there again";
    free(block);
    return NULL;
}

static const char *run(const char *calls, uint32_t answer, int error, int threads)
{
    wait_until(&ready, threads);
    if (!install(calls, answer))
        return "the filter cannot be installed";
    const char *complaint = probe(calls, error);
    if (complaint == NULL)
        complaint = strcmp(calls, "mmap") == 0 ? without_mmap() : traffic(threads);
    return complaint;
}

/* As in a privilege-separated server: the child of a process that used its heap goes to jail. */
static int in_child(const char *calls, uint32_t answer, int error)
{
    pid_t child = fork();
    if (child == 0) {
        const char *complaint = run(calls, answer, error, 0);
        if (complaint != NULL)
            complain(complaint);
        _exit(complaint != NULL);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return EXIT_FAILURE;
    if (WIFSIGNALED(status))
        say("refused_calls: the child got signal %d\n", WTERMSIG(status));
    return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int error;
    } answers[] = {{"EPERM", EPERM}, {"EINVAL", EINVAL}, {"ENOSYS", ENOSYS}, {"kill", 0}};
    size_t chosen = 0;
    if (argc != 3)
        return fprintf(stderr, "usage: refused_calls CALLS ANSWER\n"), 2;
    while (chosen < 4 && strcmp(answers[chosen].name, argv[2]) != 0)
        chosen++;
    if (chosen == 4)
        return fprintf(stderr, "refused_calls: no such answer\n"), 2;
    int error = answers[chosen].error;
    uint32_t answer = error == 0 ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO((uint32_t)error);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) != -1 || errno != EFAULT)
        return printf("skipped: this kernel has no seccomp filters\n"), SKIPPED;

    statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    workload_initialize(&workload, slots, SLOTS, LARGEST);
    uint64_t random = 5;
    const char *complaint = workload_run(&workload, &random, STEPS);

    cal_trim();
    if (complaint == NULL && in_child(argv[1], answer, error) != EXIT_SUCCESS)
        complaint = "failed in a child";
    if (pthread_key_create(&end_key, count_end) != 0)
        return EXIT_FAILURE;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (uintptr_t i = 0; i < THREADS && complaint == NULL; i++) {
        pthread_t made;
        if (pthread_create(&made, &detached, thread, (void *)i) != 0)
            complaint = "no thread could be made";
    }
    if (complaint == NULL)
        complaint = run(argv[1], answer, error, THREADS);
    if (complaint != NULL)
        complain(complaint);
    /* Not exit(): flushing and destructors of libraries are not what is tested. */
    _exit(complaint != NULL);
}
