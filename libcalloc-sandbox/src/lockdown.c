/* W^X for the whole process: by the kernel's own means where it has them, else by a filter.
 *
 * Neither is believed: a filter that is in force already may answer 0 to a call that it does not let
 * through. So what was asked for is tried afterwards.
 *
 * The filter is written out here. libseccomp 2.5 reads from NULL when memory is short while it
 * makes one, and cannot say "this bit, and not that value"; and this way nothing is allocated.
 *
 * One lock: `lock`, so that two threads do not load two filters. It is held across fork, so that
 * the child finds it free. */
#include <calloc/sandbox.h>

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "export.h"

/* Of Linux 6.3; the headers may be older. */
#ifndef PR_SET_MDWE
#    define PR_SET_MDWE              65
#    define PR_GET_MDWE              66
#    define PR_MDWE_REFUSE_EXEC_GAIN (1UL << 0)
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What a lockdown of this process, or of one it was forked from, has put in force. */
static _Atomic int in_force;

static void acquire(void)
{
    pthread_mutex_lock(&lock);
}

static void release(void)
{
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(acquire, release, release);
}

/* The kernel's own. */

static bool kernel_refuses(void)
{
    int bits = prctl(PR_GET_MDWE, 0UL, 0UL, 0UL, 0UL);
    return bits >= 0 && ((unsigned long)bits & PR_MDWE_REFUSE_EXEC_GAIN) != 0;
}

static bool ask_kernel(void)
{
    /* Where it was set for this process and not for its children (PR_MDWE_NO_INHERIT), the kernel
     * refuses to have it changed, and a filter has to do. */
    return prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0UL, 0UL, 0UL) == 0 && kernel_refuses();
}

/* The filter. */

#if defined(__x86_64__) || defined(__aarch64__)

/* The lower half of an argument. The kernel looks at no other bits of those that are asked for here,
 * or takes the argument for an int. */
#    if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#        define LOWER(argument) (offsetof(struct seccomp_data, args[argument]) + 4)
#    else
#        define LOWER(argument) offsetof(struct seccomp_data, args[argument])
#    endif

#    define LOAD(offset)             BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#    define AND(bits)                BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (bits))
#    define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#    define IF_SET(bits, yes, no)    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), (yes), (no))
#    define ANSWER(action)           BPF_STMT(BPF_RET | BPF_K, (action))
#    define REFUSE                   ANSWER(SECCOMP_RET_ERRNO | EPERM)
#    define ALLOW                    ANSWER(SECCOMP_RET_ALLOW)

/* What follows finds the number of the call loaded and leaves it so, unless it gives an answer. */

/* The call with all of these bits in an argument. */
#    define REFUSE_BITS(call, argument, bits)                                                     \
        IF_EQUAL((call), 0, 5), LOAD(LOWER(argument)), AND(bits), IF_EQUAL((bits), 0, 1), REFUSE, \
            ALLOW
/* With READ_IMPLIES_EXEC the kernel makes executable what is only to be readable. 0xffffffff changes
 * nothing, and asks for what is in force. */
#    define REFUSE_PERSONALITY(call)                                        \
        IF_EQUAL((call), 0, 5), LOAD(LOWER(0)), IF_EQUAL(0xffffffff, 2, 0), \
            IF_SET(READ_IMPLIES_EXEC, 0, 1), REFUSE, ALLOW
#    define REFUSE_CALL(call) IF_EQUAL((call), 0, 1), REFUSE
/* One call for all of System V's: the lower 16 bits of its first argument say which. */
#    define REFUSE_IPC(call, which, argument, bits)                                   \
        IF_EQUAL((call), 0, 7), LOAD(LOWER(0)), AND(0xffff), IF_EQUAL((which), 0, 3), \
            LOAD(LOWER(argument)), IF_SET(bits, 0, 1), REFUSE, ALLOW
#    define REFUSE_EXECUTION(map, protect, pkey_protect, set_personality)                \
        REFUSE_BITS(map, 2, PROT_WRITE | PROT_EXEC), REFUSE_BITS(protect, 2, PROT_EXEC), \
            REFUSE_BITS(pkey_protect, 2, PROT_EXEC), REFUSE_PERSONALITY(set_personality)

/* Instructions of REFUSE_EXECUTION, REFUSE_BITS, REFUSE_CALL and REFUSE_IPC, and of the two halves below
 * after the look at the architecture, over which that has to jump. */
enum { EXECUTION = 24, BITS = 6, CALL = 2, IPC = 8 };
#    if defined(__x86_64__)
enum { NATIVE = 2 + EXECUTION + BITS + 1, COMPATIBLE = 1 + EXECUTION + BITS + CALL + IPC + 1 };
#    else
enum { NATIVE = 1 + EXECUTION + BITS + 1, COMPATIBLE = 1 + EXECUTION + BITS + 1 };
#    endif

/* The native calls, then those of 32 bits that the same kernel takes, also of programs that the process
 * starts: without rules of their own these would have to be killed. */
static const struct sock_filter instructions[] = {
    LOAD(offsetof(struct seccomp_data, arch)),
#    if defined(__x86_64__)
    /* x32 has the same numbers with one bit more. */
    IF_EQUAL(AUDIT_ARCH_X86_64, 0, NATIVE),
    LOAD(offsetof(struct seccomp_data, nr)),
    AND(~(unsigned)__X32_SYSCALL_BIT),
#    else
    IF_EQUAL(AUDIT_ARCH_AARCH64, 0, NATIVE),
    LOAD(offsetof(struct seccomp_data, nr)),
#    endif
    REFUSE_EXECUTION(SYS_mmap, SYS_mprotect, SYS_pkey_mprotect, SYS_personality),
    REFUSE_BITS(SYS_shmat, 2, SHM_EXEC),
    ALLOW,
#    if defined(__x86_64__)
    /* The first mmap of i386 has its arguments in memory, where no filter sees them. Nobody calls it
     * since there is the second. */
    IF_EQUAL(AUDIT_ARCH_I386, 0, COMPATIBLE),
    LOAD(offsetof(struct seccomp_data, nr)),
    REFUSE_EXECUTION(192, 125, 380, 136),
    REFUSE_CALL(90),
    /* shmat has had a number of its own since Linux 5.1, and the older way by ipc still. */
    REFUSE_BITS(397, 2, SHM_EXEC),
    REFUSE_IPC(117, 21, 2, SHM_EXEC),
    ALLOW,
#    else
    IF_EQUAL(AUDIT_ARCH_ARM, 0, COMPATIBLE),
    LOAD(offsetof(struct seccomp_data, nr)),
    REFUSE_EXECUTION(192, 125, 394, 136),
    REFUSE_BITS(305, 2, SHM_EXEC),
    ALLOW,
#    endif
    ANSWER(SECCOMP_RET_KILL_PROCESS),
};

static const struct sock_filter *const filter = instructions;
enum { FILTER_LENGTH = sizeof instructions / sizeof *instructions };
static_assert(FILTER_LENGTH == 1 + 1 + NATIVE + 1 + COMPATIBLE + 1, "a jump would miss its aim");

#else

static const struct sock_filter *const filter = NULL;
enum { FILTER_LENGTH = 0 };

#endif

/* For every thread, or for none. */
static int load(void)
{
    const struct sock_fprog program = {.len = FILTER_LENGTH,
                                       .filter = (struct sock_filter *)(uintptr_t)filter};
    long result =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    /* Not 0 and not an error: a thread that has another filter. */
    return result > 0 ? -ESRCH : result < 0 ? -errno : 0;
}

static int load_filter(void)
{
    int error = load();
    /* The kernel wants no_new_privs of a process without CAP_SYS_ADMIN. Another keeps what it may do
     * by running set-user-ID programs. */
    if (error == -EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0)
        error = load();
    return error == -EINVAL || error == -ENOSYS ? -EOPNOTSUPP : error;
}

/* Of no memory: without a filter nothing happens. */
static bool filter_refuses(void)
{
    return mprotect(NULL, 0, PROT_EXEC) != 0;
}

/* The public functions. */

/* The calling thread's: others would have to be looked up in /proc, which may not be there and takes
 * calls that a filter may kill on. Asked with a value that changes nothing. -1, should a filter refuse
 * it, has to be taken for none. */
static bool reading_is_executing(void)
{
    int now = personality(0xffffffff);
    return now != -1 && (now & READ_IMPLIES_EXEC) != 0;
}

static int lock_down(void)
{
    if (reading_is_executing())
        return -EBUSY;
    if (ask_kernel())
        return CAL_SANDBOX_MDWE;
    if (filter == NULL)
        return -EOPNOTSUPP;
    int error = load_filter();
    if (error == 0 && !filter_refuses())
        error = -EOPNOTSUPP;
    return error == 0 ? CAL_SANDBOX_SECCOMP : error;
}

CAL_EXPORT int cal_sandbox_lockdown(void)
{
    int saved = errno;
    acquire();
    int result = atomic_load_explicit(&in_force, memory_order_relaxed);
    if (result == CAL_SANDBOX_NONE) {
        result = lock_down();
        if (result > 0)
            atomic_store_explicit(&in_force, result, memory_order_release);
    }
    release();
    errno = saved;
    return result;
}

CAL_EXPORT int cal_sandbox_locked(void)
{
    int known = atomic_load_explicit(&in_force, memory_order_acquire);
    if (known != CAL_SANDBOX_NONE)
        return known;
    int saved = errno;
    bool refuses = kernel_refuses();
    errno = saved;
    return refuses ? CAL_SANDBOX_MDWE : CAL_SANDBOX_NONE;
}
