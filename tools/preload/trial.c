#include "trial.h"

#include <common/file.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "say.h"

enum { SECONDS = 20, OUTPUT_MAX = 1 << 20 };

/* The second begins in a shell, and ends in a program that prints the table: dash ends by _exit. */
static const char *const programs[][4] = {
    {"/bin/true", NULL},
    {"/bin/sh", "-c", "x=$(echo calloc) && test \"$x\" = calloc && exec /bin/true", NULL},
};

/* The core prints it at exit where the option statistics is on. */
static const char marker[] = "libcalloc statistics of process ";

static _Noreturn void run(const char *root, const char *const program[], char *const environment[])
{
    if (*root != '\0' && (chdir(root) != 0 || chroot(".") != 0 || chdir("/") != 0)) {
        say("cannot change into %s: %s", root, strerror(errno));
        _exit(125);
    }
    /* Goes on through exec. */
    alarm(SECONDS);
    execve(program[0], (char *const *)(const void *)program, environment);
    say("cannot run %s: %s", program[0], strerror(errno));
    _exit(125);
}

/* The child's standard error is OUTPUT. Its wait status, or -1. */
static int watch(const char *root, const char *const program[], char *const environment[],
                 struct text *output)
{
    int ends[2], status;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        say("cannot make a pipe: %s", strerror(errno));
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0) {
            dup2(null, STDIN_FILENO);
            dup2(null, STDOUT_FILENO);
        }
        dup2(ends[1], STDERR_FILENO);
        run(root, program, environment);
    }
    close(ends[1]);
    int error = child < 0 ? -errno : file_take(ends[0], OUTPUT_MAX, output);
    close(ends[0]);
    if (child > 0 && error != 0)
        kill(child, SIGKILL);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (error != 0)
        say("cannot try %s: %s", program[0], strerror(-error));
    return error == 0 ? status : -1;
}

static bool ended_well(const char *name, int status)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        say("%s did not end within %d seconds on the libraries", name, SECONDS);
    else if (WIFSIGNALED(status))
        say("%s was ended on the libraries by signal %d (%s)", name, WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        say("%s ended on the libraries with status %d", name, WEXITSTATUS(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* What ld.so says of other lines of the file is not about us. */
static bool is_complaint(struct piece line, bool from_variable)
{
    if (piece_begins(line, marker))
        return false;
    if (piece_begins(line, "libcalloc: "))
        return true;
    if (!piece_begins(line, "ERROR: ld.so: "))
        return false;
    static const char variable[] = " from LD_PRELOAD ";
    bool of_variable = memmem(line.bytes, line.length, variable, sizeof variable - 1) != NULL;
    return from_variable ? of_variable : memmem(line.bytes, line.length, "/libcalloc", 10) != NULL;
}

static bool is_quiet(const char *name, const struct text *output, bool from_variable)
{
    bool quiet = true, marked = false;
    for (const char *from = text_get(output); *from != '\0';) {
        struct piece line = {from, strcspn(from, "\n")};
        if (is_complaint(line, from_variable)) {
            say("%s printed: %.*s", name, (int)line.length, line.bytes);
            quiet = false;
        }
        marked |= piece_begins(line, marker);
        from += line.length + (from[line.length] == '\n');
    }
    if (quiet && !marked)
        say("%s did not run on the libraries", name);
    return quiet && marked;
}

bool trial(const char *root, const char *preload, const char *options)
{
    struct text variable = {.length = 0}, settings = {.length = 0};
    text_format(&variable, "LD_PRELOAD=%s", preload == NULL ? "" : preload);
    text_format(&settings, "CALLOC_OPTIONS=%s%sstatistics=1", options, *options == '\0' ? "" : ",");
    char *const environment[] = {settings.bytes, (char[]){"PATH=/usr/bin:/bin"},
                                 (char[]){"LC_ALL=C"}, preload == NULL ? NULL : variable.bytes,
                                 NULL};
    bool good = true;
    for (size_t i = 0; good && i < sizeof programs / sizeof programs[0]; i++) {
        struct text output = {.length = 0};
        int status = watch(root, programs[i], environment, &output);
        good = status >= 0;
        /* What kept the program from running stands there as well. */
        if (good && WIFEXITED(status) && WEXITSTATUS(status) == 125) {
            fputs(text_get(&output), stderr);
            good = false;
        }
        good = good && ended_well(programs[i][0], status) &&
               is_quiet(programs[i][0], &output, preload != NULL);
        text_free(&output);
    }
    text_free(&variable);
    text_free(&settings);
    return good;
}
