/* Ends a program at a system call: kill_at N PROGRAM ARGUMENTS
 *
 * Each call is two places: before it is carried out, and after. The program is killed at the Nth, counted
 * from 1 after its start; its children go on. Prints "killed", or "ended STATUS" where it ended before, and
 * then N does not matter. With N 0 the calls that change files are printed instead, one in a line, as they
 * are made, with their results. The exit status says only whether this program worked. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    long number;
    const char *name;
} watched[] = {
    {SYS_openat, "open"},        {SYS_write, "write"},     {SYS_fsync, "fsync"},
    {SYS_ftruncate, "truncate"}, {SYS_fchmod, "chmod"},    {SYS_fchown, "chown"},
    {SYS_flock, "lock"},         {SYS_unlinkat, "unlink"}, {SYS_renameat2, "rename"},
    {SYS_renameat, "rename"},    {SYS_mkdirat, "mkdir"},
#ifdef SYS_open
    {SYS_open, "open"},
#endif
#ifdef SYS_unlink
    {SYS_unlink, "unlink"},
#endif
#ifdef SYS_rename
    {SYS_rename, "rename"},
#endif
#ifdef SYS_mkdir
    {SYS_mkdir, "mkdir"},
#endif
#ifdef SYS_fork
    {SYS_fork, "fork"},
#endif
    {SYS_clone, "fork"},
};

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static const char *name_of(unsigned long long number)
{
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
        if ((unsigned long long)watched[i].number == number)
            return watched[i].name;
    return NULL;
}

static void print(pid_t child, unsigned long long *number)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) <= 0)
        fail("PTRACE_GET_SYSCALL_INFO");
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
        *number = info.entry.nr;
    else if (info.op == PTRACE_SYSCALL_INFO_EXIT && name_of(*number) != NULL)
        printf("%s %lld\n", name_of(*number), (long long)info.exit.rval);
}

static pid_t start(char **program)
{
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            fail("PTRACE_TRACEME");
        execv(program[0], program);
        fail(program[0]);
    }
    int status;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
        fail("the program did not start");
    if (ptrace(PTRACE_SETOPTIONS, child, NULL,
               (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0)
        fail("PTRACE_SETOPTIONS");
    return child;
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fputs("usage: kill_at N PROGRAM [ARGUMENTS]\n", stderr);
        return 2;
    }
    unsigned long place = strtoul(arguments[1], NULL, 10), places = 0;
    unsigned long long number = 0;
    pid_t child = start(arguments + 2);
    long signal = 0;
    for (;;) {
        int status;
        if (ptrace(PTRACE_SYSCALL, child, NULL, (void *)signal) != 0 ||
            waitpid(child, &status, 0) != child)
            fail("PTRACE_SYSCALL");
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            printf("ended %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
            return 0;
        }
        signal = 0;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            signal = WSTOPSIG(status);
            continue;
        }
        if (place == 0)
            print(child, &number);
        if (++places == place) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            puts("killed");
            return 0;
        }
    }
}
