/* libcalloc-sandbox: the allocator in a process that gives up rights.
 *
 * A program under seccomp has to let the allocator make its system calls: cal_sandbox_allow() adds
 * the rules for them to the program's own filter. cal_sandbox_lockdown() makes sure that no memory of
 * the process becomes executable, with or without such a filter.
 *
 * Neither needs libcalloc to be in the process: the rules are those of libcalloc.so.1, whether it is
 * linked or preloaded, and the lockdown holds for all memory, whoever allocated it. None of the
 * functions may be called from a signal handler. All may be called in the child of a fork of a
 * threaded program; cal_sandbox_allow(), which allocates, as far as malloc may, with libcalloc
 * always. Not in the child of a vfork, which has its parent's memory. */
#ifndef CALLOC_SANDBOX_H
#define CALLOC_SANDBOX_H

#include <seccomp.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Adds the rules with which the allocator and its add-ons work, with the action SCMP_ACT_ALLOW, to a
 * filter of libseccomp that is being built. The manual page lists them; none lets memory become
 * executable. What the rest of the program needs is for the program to allow. Where it has a rule of
 * its own for the whole of such a call, whatever the arguments, or under a part of the conditions,
 * libseccomp goes by that, whatever its action is, and says nothing; where it has one under others that
 * the allocator's arguments meet, libseccomp goes by either. So a rule of its own that does not allow
 * such a call should have conditions that those never meet.
 *
 * The filter must be for the native architecture alone; one for others is made apart and joined by
 * seccomp_merge(). It stays the caller's, who loads and releases it.
 *
 * 0: all rules are in the filter, but for what the program's own stand before; a second call changes
 * nothing. A negative errno: none has been added. With
 *   -EINVAL      `filter` is NULL or not in a valid state,
 *   -EDOM        it is not for the native architecture,
 *   -EOPNOTSUPP  it is for other architectures, too,
 *   -EACCES      its default action is SCMP_ACT_ALLOW already
 * it is as it was. With
 *   -EEXIST      one of its rules gives the same call under the same conditions another action,
 *   -ENOMEM      memory is short
 * it is as it was too, or, where some rules had been added, which libseccomp cannot take out again, it
 * has been emptied: every function but seccomp_release() and seccomp_reset() then refuses it with
 * -EINVAL, so that no filter with a part of the rules can be loaded.
 *
 * Any thread may call it, but no two at a time for one filter. errno is not meaningful after it. */
int cal_sandbox_allow(scmp_filter_ctx filter);

/* What keeps memory from becoming executable. */
enum cal_sandbox_mechanism {
    CAL_SANDBOX_NONE = 0,   /* nothing that is known */
    CAL_SANDBOX_MDWE = 1,   /* the kernel's PR_SET_MDWE, of Linux 6.3 */
    CAL_SANDBOX_SECCOMP = 2 /* a filter of system calls */
};

/* From now on no memory of the process becomes executable, unless it is mapped so and is not
 * writable then, as the code of programs and libraries is. Refused, with EACCES by CAL_SANDBOX_MDWE
 * and with EPERM by CAL_SANDBOX_SECCOMP:
 *   - mapping memory that is writable and executable, and attaching such shared memory,
 *   - making memory executable by mprotect() or pkey_mprotect(), with CAL_SANDBOX_SECCOMP also where
 *     it is executable already,
 *   - with CAL_SANDBOX_SECCOMP also setting READ_IMPLIES_EXEC by personality().
 * It holds for all threads, those that run already too, and for all children, also after execve(), but
 * not for what the kernel gives a program at its start: the stack is executable where the program is
 * linked so, and with CAL_SANDBOX_SECCOMP all that is readable in a 32-bit program without
 * PT_GNU_STACK. There is no way back. What is executable when it is called stays so. Code that is made
 * at run time (Java, JavaScript, LuaJIT, PCRE's compiler) and libraries with text relocations stop
 * working; dlopen() of other libraries does not.
 *
 * Returns CAL_SANDBOX_MDWE where the kernel has that and lets the process have it, else
 * CAL_SANDBOX_SECCOMP; where the lockdown is in force already, the same again, and nothing changes.
 * The filter comes with no_new_privs, unless the process has CAP_SYS_ADMIN.
 *
 * A negative errno: memory can become executable as before, in all threads.
 *   -EBUSY       what is readable is executable for the calling thread (READ_IMPLIES_EXEC), so there
 *                is nothing left to lock
 *   -EOPNOTSUPP  the kernel has neither, or the filters in force refuse both as if it had not, or
 *                answer that it is done where it is not, or the kernel has not the one, and the
 *                machine is neither x86-64 nor AArch64
 *   -EPERM, -EACCES and others
 *                the filters in force refuse both with this error
 *   -ESRCH       another thread has a filter that this one has not
 *   -ENOMEM      the kernel has no memory for the filter
 * no_new_privs may have been set before -EACCES, -ESRCH and -ENOMEM.
 *
 * READ_IMPLIES_EXEC belongs to a thread, which has it of its own personality() or of the thread that
 * made it, and no other thread is asked. Memory that one with it maps afterwards to read is refused
 * by CAL_SANDBOX_MDWE where it is writable too, and is executable with CAL_SANDBOX_SECCOMP.
 *
 * Makes the system calls personality, prctl and, unless it returns CAL_SANDBOX_MDWE, seccomp and
 * mprotect (of no memory, with PROT_EXEC): call it before a filter is loaded that kills on these.
 * Thread-safe. Preserves errno, and allocates nothing. */
int cal_sandbox_lockdown(void);

/* The mechanism in force, a value of enum cal_sandbox_mechanism. CAL_SANDBOX_MDWE also where it was
 * inherited or set by somebody else; CAL_SANDBOX_SECCOMP only for the filter of a
 * cal_sandbox_lockdown() in this process or in one that it was forked from: of what was in force
 * before execve() nothing is known. Calls prctl, but not after a cal_sandbox_lockdown() that
 * succeeded. Thread-safe. Preserves errno, and allocates nothing. */
int cal_sandbox_locked(void);

#ifdef __cplusplus
}
#endif

#endif
