#include "support.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

enum { SECONDS = 120 };

_Noreturn void test_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
    abort();
}

int watch_child(void (*function)(void), char *text, size_t size)
{
    int ends[2];
    require(pipe2(ends, O_CLOEXEC) == 0);
    fflush(NULL);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        alarm(SECONDS);
        require(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        close(ends[1]);
        function();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && ((got = read(ends[0], text + length, size - 1 - length)) > 0 ||
                                 (got < 0 && errno == EINTR)))
        length += got > 0 ? (size_t)got : 0;
    text[length] = '\0';
    close(ends[0]);
    int status;
    require(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void assert_ends(void (*function)(void), int expected)
{
    char text[4000];
    int status = watch_child(function, text, sizeof text);
    if (status != expected || text[0] != '\0')
        print_error("the child ended with %d and wrote: %s\n", status, text);
    assert_int_equal(status, expected);
    assert_string_equal(text, "");
}

void assert_child_passes(void (*function)(void))
{
    assert_ends(function, 0);
}

void assert_child_dies(void (*function)(void), int signal)
{
    assert_ends(function, -signal);
}

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED);
    return memory;
}

void unshare_memory(void *memory, size_t size)
{
    require(munmap(memory, size) == 0);
}

static volatile sig_atomic_t trap_count;

unsigned trapped(void)
{
    return (unsigned)trap_count;
}

#if defined(__x86_64__)

/* The kernel's numbers for the first argument and the result. */
static void on_trap(int signal, siginfo_t *information, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)signal;
    (void)information;
    trap_count++;
    memset((void *)registers[REG_RDI], 0x55, 32);
    registers[REG_RAX] = 32;
}

enum { CAN_TRAP = 1 };
#    define ARCHITECTURE AUDIT_ARCH_X86_64

#else

static void on_trap(int signal, siginfo_t *information, void *context)
{
    (void)signal;
    (void)information;
    (void)context;
}

enum { CAN_TRAP = 0 };
#    define ARCHITECTURE AUDIT_ARCH_AARCH64

#endif

bool answer_getrandom(int error)
{
    if (error == COUNT_ONLY && !CAN_TRAP)
        return false;
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    require(sigaction(SIGSYS, &action, NULL) == 0);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K,
                 error == COUNT_ONLY ? SECCOMP_RET_TRAP : SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

size_t mappings(void)
{
    static char buffer[65536];
    int descriptor = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    require(descriptor >= 0);
    size_t lines = 0;
    ssize_t got;
    while ((got = read(descriptor, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < got; i++)
            lines += buffer[i] == '\n';
    close(descriptor);
    return lines;
}

size_t max_map_count(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    size_t value = 0;
    if (file != NULL && fscanf(file, "%zu", &value) != 1)
        value = 0;
    if (file != NULL)
        fclose(file);
    return value;
}
