#include "support.h"

#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

enum { SECONDS = 60, VARIABLES = 200 };

_Noreturn void test_failed(const char *condition, const char *file, int line)
{
    char text[1000];
    snprintf(text, sizeof text, "%s:%d: %s does not hold\n", file, line, condition);
    say(text);
    abort();
}

static int end_of(pid_t child)
{
    int status;
    require(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int status_of(void (*function)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        alarm(SECONDS);
        function();
        _exit(0);
    }
    return end_of(child);
}

int status_of_program(char *const arguments[], char *variable)
{
    char *variables[VARIABLES + 2] = {variable};
    size_t count = variable != NULL;
    for (size_t i = 0; environ[i] != NULL && i < VARIABLES; i++)
        if (strncmp(environ[i], "CALLOC_OPTIONS=", strlen("CALLOC_OPTIONS=")) != 0)
            variables[count++] = environ[i];
    pid_t child;
    require(posix_spawn(&child, arguments[0], NULL, NULL, arguments, variables) == 0);
    return end_of(child);
}

void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

void wait_until(_Atomic int *value, int wanted)
{
    while (*value != wanted)
        __asm__ volatile("" ::: "memory");
}

bool allow_own(scmp_filter_ctx filter)
{
    static const int own[] = {SCMP_SYS(write), SCMP_SYS(pread64), SCMP_SYS(rt_sigprocmask),
                              SCMP_SYS(exit), SCMP_SYS(exit_group)};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, own[i], 0) != 0)
            return false;
    return true;
}

bool answer(int call, int first, int error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL)
        return false;
    const struct scmp_arg_cmp condition = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)first);
    bool made = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW) == 0 &&
                seccomp_rule_add_exact_array(filter, SCMP_ACT_ERRNO((uint32_t)error), call,
                                             first == ANY ? 0 : 1, &condition) == 0;
    /* Without no_new_privs, if that can be: some tests are about who sets it. */
    bool done =
        made && seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) == 0 && seccomp_load(filter) == 0;
    if (!done)
        done = made && seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1) == 0 &&
               seccomp_load(filter) == 0;
    seccomp_release(filter);
    return done;
}

long program_of(scmp_filter_ctx filter, char program[PROGRAM_MAX])
{
    int file = memfd_create("program", MFD_CLOEXEC);
    require(file >= 0);
    long result = seccomp_export_bpf(filter, file);
    if (result == 0) {
        result = pread(file, program, PROGRAM_MAX, 0);
        require(result > 0 && result < PROGRAM_MAX);
    }
    close(file);
    return result;
}

long status_number(pid_t thread, const char *name)
{
    char text[4096];
    snprintf(text, sizeof text, "/proc/self/task/%d/status", (int)thread);
    FILE *file = fopen(text, "r");
    require(file != NULL);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *line = strstr(text, name);
    require(line != NULL && line[strlen(name)] == ':');
    return strtol(line + strlen(name) + 1, NULL, 10);
}
