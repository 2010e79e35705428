/* The library and its settings are found in /proc. The signal of track.signal starts the recording, or, where it is
 * on, makes the process write its profile: which of the two it was shows by whether a file comes. */
#include "attach.h"

#include <common/file.h>
#include <common/process.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "say.h"

enum {
    MOMENT = 100000000,  /* ns between two looks */
    FIRST_MOMENTS = 10,  /* within which a profile that is written begins to be */
    LAST_MOMENTS = 6000, /* within which it is there, as long as something of it is */
    COPY_MOST = 1 << 30  /* bytes of a profile that is copied */
};

struct target {
    pid_t id;
    struct process process;
    int signal;
    struct text pattern; /* of its profiles, for glob */
    struct timespec since;
};

bool attach_option(const char *options, const char *name, struct text *value)
{
    size_t length = strlen(name);
    bool found = false;
    while (*options != '\0') {
        size_t item = strcspn(options, ",");
        if (item > length && strncmp(options, name, length) == 0 && options[length] == '=') {
            text_clear(value);
            text_bytes(value, options + length + 1, item - length - 1);
            found = true;
        }
        options += item + (options[item] == ',');
    }
    return found;
}

/* A name in which glob() sees nothing but the name. */
static void add_quoted(struct text *path, const char *name)
{
    for (; *name != '\0'; name++)
        text_format(path, "%s%c", strchr("*?[]\\", *name) != NULL ? "\\" : "", *name);
}

void attach_expand(const char *pattern, const char *folder, pid_t id, const char *program,
                   struct text *path)
{
    if (*pattern != '/')
        add_quoted(path, folder), text_string(path, "/");
    for (; *pattern != '\0'; pattern++) {
        char plain[2] = {*pattern, '\0'};
        if (*pattern != '%') {
            add_quoted(path, plain);
            continue;
        }
        switch (pattern[1]) {
        case 'p':
            text_format(path, "%ld", (long)id);
            break;
        case 'e':
            add_quoted(path, program);
            break;
        case 'n':
            text_string(path, "*");
            break;
        case '%':
            text_string(path, "%");
            break;
        default:
            text_string(path, "%");
            pattern--; /* the character behind it is plain */
            break;
        }
        pattern++;
    }
}

/* Whether the process would handle the signal, so that it does not end by it. */
static bool handles(pid_t id, int number)
{
    struct text path = {.length = 0}, status = {.length = 0};
    text_format(&path, "/proc/%ld/status", (long)id);
    bool handled = false;
    if (file_read(text_get(&path), 65536, &status) == 0) {
        const char *line = strstr(text_get(&status), "\nSigCgt:");
        unsigned long long mask = line ? strtoull(line + strlen("\nSigCgt:"), NULL, 16) : 0;
        handled = mask >> (number - 1) & 1;
    }
    text_free(&path);
    text_free(&status);
    return handled;
}

static bool has_library(const struct process *process)
{
    size_t from = 0;
    struct piece file;
    bool deleted;
    while (process_next_file(process, &from, &file, &deleted))
        if (piece_begins(piece_base(file), "libcalloc-track.so"))
            return true;
    return false;
}

static bool read_settings(struct target *target)
{
    struct text options = {.length = 0}, value = {.length = 0}, link = {.length = 0};
    char folder[PROCESS_PATH_MAX] = "";
    unsigned long number = 0;
    bool known = process_variable(target->id, "CALLOC_OPTIONS", &options);
    if (known && attach_option(text_get(&options), "track.signal", &value))
        number = strtoul(text_get(&value), NULL, 10);
    bool good = number >= 1 && number <= 64 && handles(target->id, (int)number);
    if (!good) {
        say("process %ld was not started with track.signal, by which it can be told to record: "
            "calloc run --with track --option track.signal=12 --option track.record=0 -- PROGRAM",
            (long)target->id);
    } else {
        text_format(&link, "/proc/%ld/cwd", (long)target->id);
        if (file_link(text_get(&link), folder, sizeof folder) != 0)
            say("note: the working directory of process %ld is not known", (long)target->id);
        const char *program = strrchr(target->process.program, '/');
        text_clear(&value);
        if (!attach_option(text_get(&options), "track.path", &value))
            text_string(&value, "calloc.%p.profile");
        attach_expand(text_get(&value), folder, target->id, program ? program + 1 : "*",
                      &target->pattern);
        target->signal = (int)number;
    }
    text_free(&options);
    text_free(&value);
    text_free(&link);
    return good;
}

static bool find(struct target *target)
{
    int error = process_read(target->id, &target->process);
    if (error != 0) {
        say("process %ld: %s", (long)target->id, strerror(-error));
        return false;
    }
    if (!target->process.is_readable) {
        say("process %ld is somebody else's: what it has loaded is not known", (long)target->id);
        return false;
    }
    if (!has_library(&target->process)) {
        say("process %ld has no libcalloc-track: it must be there when a program starts, by calloc "
            "run "
            "--with track",
            (long)target->id);
        return false;
    }
    return read_settings(target);
}

static bool is_newer(const struct stat *facts, const struct timespec *since)
{
    return facts->st_mtim.tv_sec != since->tv_sec ? facts->st_mtim.tv_sec > since->tv_sec
                                                  : facts->st_mtim.tv_nsec >= since->tv_nsec;
}

/* The newest file of the pattern with END behind it that was written since the signal. */
static bool newest(const struct target *target, const char *end, struct text *path)
{
    struct text pattern = {.length = 0};
    glob_t found;
    struct stat facts;
    struct timespec since = target->since;
    bool any = false;
    text_format(&pattern, "%s%s", text_get(&target->pattern), end);
    if (glob(text_get(&pattern), 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            if (stat(found.gl_pathv[i], &facts) == 0 && is_newer(&facts, &since)) {
                since = facts.st_mtim;
                text_clear(path);
                text_string(path, found.gl_pathv[i]);
                any = true;
            }
        globfree(&found);
    }
    text_free(&pattern);
    return any;
}

static bool send(struct target *target)
{
    /* Times of files are those of the kernel's last tick. */
    clock_gettime(CLOCK_REALTIME_COARSE, &target->since);
    if (kill(target->id, target->signal) == 0)
        return true;
    say("process %ld takes no signal: %s", (long)target->id, strerror(errno));
    return false;
}

/* The profile that the process writes now, once it is whole. */
static bool await(const struct target *target, struct text *path)
{
    static const struct timespec moment = {.tv_nsec = MOMENT};
    struct text part = {.length = 0};
    bool there = false;
    for (int i = 0, last = FIRST_MOMENTS; i < last && !there; i++) {
        nanosleep(&moment, NULL);
        there = newest(target, "", path);
        if (!there && newest(target, ".part", &part))
            last = LAST_MOMENTS;
    }
    text_free(&part);
    return there;
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    interrupted = number;
}

/* Waits as long as it is to be recorded; false: the process has ended. */
static bool wait_for_end(const struct target *target, unsigned long seconds)
{
    struct timespec now, until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)seconds;
    bool alive = true;
    for (bool done = false; !done && !interrupted && alive;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        poll(&input, seconds == 0 ? 1 : 0, seconds == 0 ? 200 : 100);
        clock_gettime(CLOCK_MONOTONIC, &now);
        done = seconds == 0 ? input.revents != 0
                            : now.tv_sec > until.tv_sec ||
                                  (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec);
        alive = kill(target->id, 0) == 0 || errno == EPERM;
    }
    return alive;
}

static bool write_all(int descriptor, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t put = write(descriptor, bytes, length);
        if (put < 0 && errno != EINTR)
            return false;
        if (put > 0) {
            bytes += put;
            length -= (size_t)put;
        }
    }
    return true;
}

/* Copied, as the process may be on another file system or another user's. */
static bool copy(const char *from, const char *to)
{
    struct text content = {.length = 0};
    int error = file_read(from, COPY_MOST, &content);
    if (error != 0) {
        say("%s cannot be read: %s", from, strerror(-error));
        return false;
    }
    int descriptor = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = descriptor >= 0 && write_all(descriptor, content.bytes, content.length);
    if (descriptor >= 0)
        good = close(descriptor) == 0 && good;
    if (!good)
        say("%s cannot be written: %s", to, strerror(errno));
    text_free(&content);
    return good;
}

static int hand_over(const char *path, const char *output)
{
    if (output != NULL && !copy(path, output))
        return FAILED;
    say("calloc report %s shows it", output ? output : path);
    return DONE;
}

int attach(pid_t id, unsigned long seconds, const char *output)
{
    struct target target = {.id = id};
    struct text path = {.length = 0};
    /* From here on: a recording that was begun is to be ended. */
    struct sigaction action = {.sa_handler = interrupt}, before;
    int status = FAILED;
    sigaction(SIGINT, &action, &before);
    if (!find(&target) || !send(&target)) {
        /* It has been said. */
    } else if (await(&target, &path)) {
        say("process %ld was recording already, and has written its profile", (long)id);
        status = hand_over(text_get(&path), output);
    } else {
        say(seconds ? "process %ld is recording"
                    : "process %ld is recording; Enter or SIGINT ends it",
            (long)id);
        if (!wait_for_end(&target, seconds))
            say("process %ld has ended", (long)id);
        else if (!send(&target))
            ;
        else if (!await(&target, &path))
            say("process %ld writes no profile; looked for %s", (long)id,
                text_get(&target.pattern));
        else
            status = hand_over(text_get(&path), output);
        if (status != DONE && newest(&target, "", &path)) /* written as it ended */
            status = hand_over(text_get(&path), output);
    }
    sigaction(SIGINT, &before, NULL);
    process_free(&target.process);
    text_free(&target.pattern);
    text_free(&path);
    return status;
}
