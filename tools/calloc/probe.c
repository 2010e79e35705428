#include "probe.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
enum { GUARD_INSTALL = 102, SET_MDWE = 65, MDWE_REFUSE_GAIN = 1, MSEAL = 462 };

enum { PAGE = 4096, OTHER_ERROR = 255 };

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int advise(int advice)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = map(size);
    return memory == NULL || madvise(memory, size, advice) != 0 ? errno : 0;
}

static int try_guard(void)
{
    return advise(GUARD_INSTALL);
}

static int try_populate(void)
{
    return advise(MADV_POPULATE_WRITE);
}

static int try_free(void)
{
    return advise(MADV_FREE);
}

/* Not just a yes: memory may really not become executable then. */
static int try_mdwe(void)
{
    if (prctl(SET_MDWE, MDWE_REFUSE_GAIN, 0, 0, 0) != 0)
        return errno;
    void *memory = map(PAGE);
    return memory != NULL && mprotect(memory, PAGE, PROT_READ | PROT_EXEC) == 0 ? ENOTSUP : 0;
}

static int try_seal(void)
{
    void *memory = map(PAGE);
    if (memory == NULL || syscall(MSEAL, memory, (size_t)PAGE, 0UL) != 0)
        return errno;
    return munmap(memory, PAGE) == 0 ? ENOTSUP : 0;
}

static int try_membarrier(void)
{
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
        return errno;
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0 ? errno : 0;
}

/* The C library registers it for each thread. */
static int try_rseq(void)
{
    return __rseq_size == 0 ? ENOSYS : 0;
}

static int try_random(void)
{
    char bytes[16];
    return getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != sizeof bytes ? errno : 0;
}

static const struct {
    const char *name;
    int (*try)(void); /* 0, or an errno; in a process of its own */
    const char *use;
    const char *without;
} probes[] = {
    {"MADV_GUARD_INSTALL", try_guard, "guard pages that cost no mapping (Linux 6.13)",
     "guard pages are made by mprotect, and use up vm.max_map_count"},
    {"MADV_POPULATE_WRITE", try_populate, "the option prefault (5.14)",
     "the option prefault has no effect"},
    {"MADV_FREE", try_free, "giving memory back lazily (4.5)", "memory is given back at once"},
    {"PR_SET_MDWE", try_mdwe, "memory that never becomes executable (6.3)",
     "cal_sandbox_lockdown() has to do with a filter of system calls"},
    {"mseal", try_seal, "mappings that cannot be changed any more (6.10)",
     "settings are protected by mprotect alone"},
    {"membarrier", try_membarrier, "fences that only the rare side pays for (4.14)",
     "both sides pay for fences"},
    {"rseq", try_rseq, "the number of the processor without a system call (4.18, glibc 2.35)",
     "the number of the processor comes from the vDSO"},
    {"getrandom", try_random, "secrets of the hardening (3.17)",
     "secrets come from weaker sources until the kernel has gathered enough"},
};

/* The errno of a probe; OTHER_ERROR where it did not say. *SIGNAL: what ended it. */
static int run(int (*try)(void), int *signal)
{
    int status;
    pid_t child = fork();
    *signal = 0;
    if (child < 0)
        return errno;
    if (child == 0) {
        alarm(10);
        int error = try();
        _exit(error >= 0 && error < OTHER_ERROR ? error : OTHER_ERROR);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    if (WIFSIGNALED(status)) {
        *signal = WTERMSIG(status);
        return OTHER_ERROR;
    }
    return WEXITSTATUS(status);
}

void probe_kernel(struct output *output)
{
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        int signal, error = run(probes[i].try, &signal);
        struct text value = {.length = 0}, remark = {.length = 0};
        if (error == 0) {
            output_string(output, OUTPUT_FACT, probes[i].name, "works", probes[i].use);
            continue;
        }
        if (signal != 0)
            text_format(&value, "ended by signal %d (%s)", signal, strsignal(signal));
        else
            text_format(&value, "missing (%s)", error == OTHER_ERROR ? "?" : strerror(error));
        text_format(&remark, "%s: %s", probes[i].use, probes[i].without);
        output_string(output, OUTPUT_NOTE, probes[i].name, text_get(&value), text_get(&remark));
        text_free(&value);
        text_free(&remark);
    }
}
