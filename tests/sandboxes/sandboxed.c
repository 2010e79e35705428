/* sandboxed REPLICA ANSWER ALLOCATOR: traffic of all kinds inside the seccomp filter of a real program.
 *
 *   REPLICA    one of replica.h's, or `list`, which lists them
 *   ANSWER     kill, EPERM, EINVAL or ENOSYS: what calls get that the filter does not allow
 *   ALLOCATOR  system, core or secure: what must be at work here, by a preload
 *
 * Each way into the filter that the real program knows is a process of its own, and so is a double free,
 * which must end it with its line inside, too. Where one fails, it is run again with a filter that tells
 * which calls it refuses, and these are listed. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../workload.h"
#include "replica.h"

enum {
    THREADS = 3,
    SLOTS = 512,
    LARGEST = 22, /* slabs, runs, and mappings of up to 4 MiB */
    STEPS = 4000,
    ROUNDS = 3,
    CROWD = 3000,
    DELAY = 10, /* milliseconds for which free memory is kept */
    SKIPPED = 77,
    /* Of the process that is told about, where the other end reads. */
    TELL = 3,
    TOLD_MAX = 24,
};

#define LONGEST ((size_t)48 << 20)  /* of the blocks that grow step by step */
#define CLEAN   ((size_t)32 << 20)  /* from calloc */
#define HUGE    ((size_t)128 << 20) /* touched at its ends */

struct answer {
    const char *name;
    int error; /* 0: kill */
};

static const struct answer answers[] = {
    {"kill", 0}, {"EPERM", EPERM}, {"EINVAL", EINVAL}, {"ENOSYS", ENOSYS}};

static const char *const allocators[] = {"system", "core", "secure"};

static const struct {
    const char *name;
    int situation; /* of replica.h */
} ways[] = {{"started", REPLICA_STARTED}, {"forked", REPLICA_FORKED}, {"execed", REPLICA_EXECED}};

/* Not a way of its own: the process is started, and frees twice. */
#define TWICE "twice"

static const struct replica *replica;
static const struct answer *answer;

/* One write and nothing else. */
static void complain(const char *what)
{
    char text[256];
    int length = snprintf(text, sizeof text, "sandboxed: %s\n", what);
    if (length > 0 && (size_t)length < sizeof text)
        length = (int)write(STDERR_FILENO, text, (size_t)length);
}

/* What the filter refuses, told by the process itself. */

struct told {
    int call;
    uint64_t arguments[6];
};

#if defined(__x86_64__)
static void read_arguments(const ucontext_t *context, uint64_t arguments[6])
{
    static const int registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
    for (int i = 0; i < 6; i++)
        arguments[i] = (uint64_t)context->uc_mcontext.gregs[registers[i]];
}

static void give_result(ucontext_t *context, int result)
{
    context->uc_mcontext.gregs[REG_RAX] = result;
}
#elif defined(__aarch64__)
static void read_arguments(const ucontext_t *context, uint64_t arguments[6])
{
    memcpy(arguments, context->uc_mcontext.regs, 6 * sizeof *arguments);
}

static void give_result(ucontext_t *context, int result)
{
    context->uc_mcontext.regs[0] = (uint64_t)(int64_t)result;
}
#else
static void read_arguments(const ucontext_t *context, uint64_t arguments[6])
{
    memset(arguments, 0, 6 * sizeof *arguments);
}

static void give_result(ucontext_t *context, int result)
{
    _exit(EXIT_FAILURE);
}
#endif

/* Each call once, as far as its number, its third argument and what has flags in the fourth tell. */
static bool is_new(const struct told *told)
{
    bool flags = told->call == SCMP_SYS(mmap) || told->call == SCMP_SYS(mremap);
    static struct told known[TOLD_MAX];
    static int count;
    for (int i = 0; i < count; i++)
        if (known[i].call == told->call && known[i].arguments[2] == told->arguments[2] &&
            (!flags || known[i].arguments[3] == told->arguments[3]))
            return false;
    if (count == TOLD_MAX)
        return false;
    known[count++] = *told;
    return true;
}

static void tell(int signal_number, siginfo_t *info, void *context)
{
    struct told told = {.call = info->si_syscall};
    read_arguments(context, told.arguments);
    if (is_new(&told) && write(TELL, &told, sizeof told) != sizeof told)
        _exit(EXIT_FAILURE);
    if (answer->error == 0)
        _exit(EXIT_FAILURE);
    give_result(context, -answer->error);
}

static void tell_refused(void)
{
    struct sigaction action = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (fcntl(TELL, F_GETFD) >= 0)
        sigaction(SIGSYS, &action, NULL);
}

static void choose(char **arguments)
{
    replica = replica_find(arguments[1]);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (strcmp(answers[i].name, arguments[2]) == 0)
            answer = &answers[i];
}

static bool is_telling(int count, char **arguments)
{
    return count == 6 && strcmp(arguments[5], "tell") == 0;
}

/* A program that starts inside: before the libraries are initialised. */
static void early(int count, char **arguments, char **environment)
{
    if (!is_telling(count, arguments))
        return;
    choose(arguments);
    tell_refused();
}

__attribute__((section(".preinit_array"), used)) static void (*const early_entry)(int, char **,
                                                                                  char **) = early;

/* The traffic. */

static _Atomic(size_t *) slots[SLOTS];
static struct workload workload;
static void *crowd[CROWD];
static _Atomic int failed;
/* The allocator's own, where it is there. */
static int (*own_trim)(void);
static int (*own_stats)(void *);

/* Sizes that only grow, and then only shrink. */
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

static const char *huge(void)
{
    /* Of no size: hardened, these are the first with pages of their own. */
    for (int i = 0; i < 100; i++) {
        void *volatile nothing = malloc(0);
        if (nothing == NULL)
            return "malloc: no block of no size";
        free(nothing);
    }
    char *block = malloc(HUGE);
    if (block == NULL)
        return "malloc: no memory for a huge block";
    block[0] = 'a';
    block[HUGE - 1] = 'z';
    char *moved = realloc(block, HUGE + HUGE / 2);
    if (moved == NULL)
        return "realloc: no memory for a huge block";
    if (moved[0] != 'a' || moved[HUGE - 1] != 'z')
        return "realloc: a huge block lost its contents";
    moved[HUGE + HUGE / 2 - 1] = 'z';
    block = realloc(moved, CLEAN);
    if (block == NULL || block[0] != 'a')
        return "realloc: a huge block was lost";
    free(block);
    return NULL;
}

static const char *clean(void)
{
    for (int i = 0; i < 2; i++) {
        char *block = calloc(CLEAN / 8, 8);
        if (block == NULL)
            return "calloc: no memory";
        for (size_t at = 0; at < CLEAN; at += 64)
            if (block[at] != 0)
                return "calloc: not zero";
        memset(block, 0xaa, CLEAN);
        free(block);
    }
    return NULL;
}

/* By the clock that is never a system call; where there is none, not at all. */
static void wait_for_delay(void)
{
    struct timespec from, now;
    if (getauxval(AT_SYSINFO_EHDR) == 0)
        return;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &from);
    do
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 <= 2 * DELAY);
}

/* Much memory that becomes free at once, and goes back to the kernel: after its delay, and on demand. */
static const char *come_and_go(uint64_t *random)
{
    for (int i = 0; i < CROWD; i++) {
        size_t size = 16 + (size_t)(workload_random(random) % 30000);
        crowd[i] = malloc(size);
        if (crowd[i] == NULL)
            return "malloc: no memory for a crowd";
        memset(crowd[i], i, size);
    }
    for (int i = 0; i < CROWD; i++)
        free(crowd[i * 7919 % CROWD]);
    wait_for_delay();
    const char *complaint = workload_run(&workload, random, STEPS / 4);
    malloc_trim(0);
    if (own_trim != NULL)
        own_trim();
    return complaint;
}

static void *thread(void *argument)
{
    uint64_t random = (uintptr_t)argument + 1;
    const char *complaint = workload_run(&workload, &random, STEPS);
    if (complaint != NULL) {
        complain(complaint);
        atomic_store(&failed, 1);
    }
    return NULL;
}

static const char *threads(void)
{
    pthread_t made[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&made[i], NULL, thread, (void *)i) != 0)
            return "no thread could be made";
    for (int i = 0; i < THREADS; i++)
        pthread_join(made[i], NULL);
    return atomic_load(&failed) != 0 ? "a thread failed" : NULL;
}

static const char *traffic(uint64_t *random)
{
    const char *complaint = NULL;
    for (int round = 0; round < ROUNDS && complaint == NULL; round++) {
        complaint = workload_run(&workload, random, STEPS);
        if (complaint == NULL)
            complaint = grow_and_shrink();
        if (complaint == NULL)
            complaint = huge();
        if (complaint == NULL)
            complaint = clean();
        if (complaint == NULL && replica_allows(replica, "clone") &&
            replica_allows(replica, "clone3"))
            complaint = threads();
        if (complaint == NULL)
            complaint = come_and_go(random);
    }
    if (complaint == NULL)
        complaint = workload_end(&workload);
    /* Its first field is its size; there is room for the others. */
    size_t statistics[64] = {sizeof statistics};
    if (complaint == NULL && own_stats != NULL && own_stats(statistics) != 0)
        complaint = "cal_stats fails";
    return complaint;
}

/* Plain, the allocator sees it when the free blocks are handed out again. */
static const char *free_twice(void)
{
    void (*volatile release)(void *) = free;
    void *block = malloc(100);
    release(block);
    release(block);
    for (int i = 0; i < 100000; i++)
        if (malloc(100) == NULL)
            return "malloc: no memory";
    return "a double free is not noticed";
}

/* The processes inside. */

static const char *wrong_allocator(const char *wanted)
{
    bool core = dlsym(RTLD_DEFAULT, "cal_allocate") != NULL;
    int (*level)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "cal_secure_level");
    bool secure = level != NULL && level() != 0;
    if (core != (strcmp(wanted, "system") != 0))
        return core ? "libcalloc is preloaded" : "libcalloc is not preloaded";
    if (secure != (strcmp(wanted, "secure") == 0))
        return secure ? "libcalloc-secure is at work" : "libcalloc-secure is not at work";
    return NULL;
}

static bool enter(bool telling)
{
    uint32_t otherwise = telling              ? SECCOMP_RET_TRAP
                         : answer->error == 0 ? SECCOMP_RET_KILL_PROCESS
                                              : SECCOMP_RET_ERRNO | (uint32_t)answer->error;
    if (telling)
        tell_refused();
    return replica_enter(replica, otherwise);
}

/* That the filter is there, and looks at arguments. */
static const char *probe(void)
{
    errno = 0;
    if (answer->error != 0 && (syscall(SYS_swapoff, NULL) != -1 || errno != answer->error))
        return "the filter does not refuse swapoff";
    if (strcmp(replica->name, "openssh-9.3") != 0)
        return NULL;
    errno = 0;
    if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) !=
            MAP_FAILED ||
        errno != EINVAL)
        return "the filter does not refuse MAP_NORESERVE";
    errno = 0;
    if (madvise(NULL, 0, MADV_HUGEPAGE) != -1 || errno != EINVAL)
        return "the filter does not refuse MADV_HUGEPAGE";
    return NULL;
}

/* For the rest of the process; the status is that of the child. */
static bool go_on_in_child(void)
{
    pid_t child = fork();
    if (child == 0)
        return true;
    int status = EXIT_FAILURE;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    exit(WEXITSTATUS(status));
}

static const char *inside(char **arguments, const char *way, bool telling)
{
    uint64_t random = 5;
    const char *complaint = wrong_allocator(arguments[3]);
    if (complaint != NULL)
        return complaint;
    own_trim = (int (*)(void))dlsym(RTLD_DEFAULT, "cal_trim");
    own_stats = (int (*)(void *))dlsym(RTLD_DEFAULT, "cal_stats");
    workload_initialize(&workload, slots, SLOTS, LARGEST);
    bool execed = strcmp(way, "execed") == 0;
    if (execed && !telling)
        complaint = probe();
    if (execed)
        return complaint != NULL ? complaint : traffic(&random);
    complaint = workload_run(&workload, &random, STEPS);
    if (complaint != NULL)
        return complaint;
    if (strcmp(way, "forked") == 0 && !go_on_in_child())
        return "no child could be made";
    if (!enter(telling))
        return "the filter cannot be installed";
    if (!telling && (complaint = probe()) != NULL)
        return complaint;
    return strcmp(way, TWICE) == 0 ? free_twice() : traffic(&random);
}

/* The process outside. */

static char *self(void)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    return length > 0 ? path : NULL;
}

/* In the filter from its very start. */
_Noreturn static void start_inside(char **arguments, bool telling)
{
    char *path = self();
    if (path == NULL || !enter(telling))
        complain("the filter cannot be installed");
    else
        execv(path, arguments);
    complain("it cannot be started in the filter");
    _exit(EXIT_FAILURE);
}

static pid_t start(char **arguments, const char *way, bool telling, int error_file, int tell_file)
{
    char *path = self();
    char *given[] = {arguments[0], arguments[1], arguments[2],
                     arguments[3], (char *)way,  (char *)(telling ? "tell" : NULL),
                     NULL};
    pid_t child = fork();
    if (child != 0)
        return child;
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (error_file >= 0)
        dup2(error_file, STDERR_FILENO);
    if (tell_file >= 0)
        dup2(tell_file, TELL);
    if (strcmp(way, "execed") == 0)
        start_inside(given, telling);
    if (path != NULL)
        execv(path, given);
    _exit(EXIT_FAILURE);
}

static void list(const struct told *told)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, told->call);
    printf("  refused: %s(0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx), number %d\n",
           name != NULL ? name : "?", (unsigned long long)told->arguments[0],
           (unsigned long long)told->arguments[1], (unsigned long long)told->arguments[2],
           (unsigned long long)told->arguments[3], (unsigned long long)told->arguments[4],
           (unsigned long long)told->arguments[5], told->call);
    free(name);
}

static void list_refused(char **arguments, const char *way)
{
    int ends[2];
    struct told told;
    int status = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t child = start(arguments, way, true, -1, ends[1]);
    close(ends[1]);
    while (read(ends[0], &told, sizeof told) == sizeof told)
        list(&told);
    close(ends[0]);
    if (child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status))
        printf("  and while these were listed, signal %d\n", WTERMSIG(status));
}

static bool passes(char **arguments, const char *way)
{
    int status = 0;
    fflush(NULL);
    pid_t child = start(arguments, way, false, -1, -1);
    bool passed = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    if (passed)
        printf("PASS %s\n", way);
    else if (WIFSIGNALED(status))
        printf("FAIL %s: signal %d\n", way, WTERMSIG(status));
    else
        printf("FAIL %s: status %d\n", way, WEXITSTATUS(status));
    fflush(NULL);
    if (!passed)
        list_refused(arguments, way);
    return passed;
}

/* The line, and then the end: by abort, or by the call for that, where that kills. */
static bool ends_with_line(char **arguments)
{
    static const char line[] = "libcalloc: double free of 0x";
    char text[4096] = {0};
    size_t length = 0;
    ssize_t got;
    int ends[2];
    int status = 0;
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t child = start(arguments, TWICE, false, ends[1], -1);
    close(ends[1]);
    while (length < sizeof text - 1 &&
           (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    close(ends[0]);
    bool ended = child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status);
    const char *end = strchr(text, '\n');
    bool passed = ended && strncmp(text, line, sizeof line - 1) == 0 && end != NULL && end[1] == 0;
    printf("%s double free: status 0x%x, %s", passed ? "PASS" : "FAIL", (unsigned)status,
           length != 0 ? text : "no line\n");
    fflush(NULL);
    if (!passed)
        list_refused(arguments, TWICE);
    return passed;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: sandboxed list | REPLICA kill|EPERM|EINVAL|ENOSYS system|core|secure\n");
    return 2;
}

static bool is_allocator(const char *name)
{
    for (size_t i = 0; i < sizeof allocators / sizeof *allocators; i++)
        if (strcmp(allocators[i], name) == 0)
            return true;
    return false;
}

/* Memory goes back soon, so that this happens inside. */
static void shorten_delay(void)
{
    char text[1000];
    const char *given = getenv("CALLOC_OPTIONS");
    snprintf(text, sizeof text, "%s%spurge_delay=%d", given != NULL ? given : "",
             given != NULL && given[0] != '\0' ? "," : "", DELAY);
    setenv("CALLOC_OPTIONS", text, 1);
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "list") == 0) {
        for (size_t i = 0; replica_name(i) != NULL; i++)
            puts(replica_name(i));
        return 0;
    }
    if (count < 4 || count > 6)
        return usage();
    choose(arguments);
    if (replica == NULL || answer == NULL || !is_allocator(arguments[3]))
        return usage();
    if (count > 4) {
        const char *complaint = inside(arguments, arguments[4], is_telling(count, arguments));
        if (complaint != NULL)
            complain(complaint);
        return complaint != NULL;
    }
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) != -1 || errno != EFAULT)
        return printf("skipped: this kernel has no seccomp filters\n"), SKIPPED;
    shorten_delay();
    bool passed = true;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if ((replica->situations & ways[i].situation) != 0)
            passed &= passes(arguments, ways[i].name);
    if (strcmp(arguments[3], "system") != 0)
        passed &= ends_with_line(arguments);
    printf("%s, %s, %s: %s\n", replica->name, answer->name, arguments[3],
           passed ? "passed" : "failed");
    return !passed;
}
