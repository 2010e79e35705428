#include "suppress.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "format.h"
#include "memory.h"
#include "modules.h"
#include "nodes.h"
#include "note.h"
#include "rows.h"
#include "symbols.h"
#include "thread.h"

static struct cal__suppression *suppressions;
static uint32_t count;

/* What turns names of C++ into what their author wrote: the C++ library's, where the process has one. */
typedef char *demangler(const char *mangled, char *buffer, size_t *length, int *status);
extern demangler __cxa_demangle __attribute__((weak));

uint32_t cal__suppressions_count(void)
{
    return count;
}

struct cal__suppression *cal__suppression(uint32_t number)
{
    return &suppressions[number];
}

static void say(const char *what, const char *item, size_t length)
{
    struct cal__note note = {.length = 0};
    cal__note_string(&note, "libcalloc: ");
    cal__note_string(&note, what);
    cal__note_string(&note, " '");
    cal__note_foreign(&note, item, length);
    cal__note_string(&note, "'");
    cal__note_write(&note, STDERR_FILENO);
}

static void add(const char *line, size_t length)
{
    while (length > 0 && (line[0] == ' ' || line[0] == '\t')) {
        line++;
        length--;
    }
    while (length > 0 &&
           (line[length - 1] == ' ' || line[length - 1] == '\t' || line[length - 1] == '\r'))
        length--;
    if (length == 0 || line[0] == '#')
        return;
    if (length < 6 || memcmp(line, "leak:", 5) != 0) {
        say("passed over, as it is no 'leak:…' of suppressions:", line, length);
        return;
    }
    if (suppressions == NULL)
        suppressions = cal__memory_map(CAL_SUPPRESSIONS_MAX * sizeof *suppressions);
    char *pattern = count < CAL_SUPPRESSIONS_MAX && suppressions != NULL
                        ? cal__memory_take(length - 5 + 1)
                        : NULL;
    if (pattern == NULL) {
        say("no room for the suppression", line, length);
        return;
    }
    memcpy(pattern, line + 5, length - 5);
    suppressions[count++] = (struct cal__suppression){.pattern = pattern};
}

bool cal__suppress_load(const char *path)
{
    static char bytes[64 << 10];
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    long part = 0;
    if (file >= 0) {
        while (used < sizeof bytes &&
               (part = syscall(SYS_read, file, bytes + used, sizeof bytes - used)) > 0)
            used += (size_t)part;
        syscall(SYS_close, file);
    }
    if (file < 0 || part < 0) {
        say("cannot read the suppressions", path, strlen(path));
        return false;
    }
    if (used == sizeof bytes)
        say("only the first 65536 bytes are read of the suppressions", path, strlen(path));
    for (size_t at = 0; at < used;) {
        const char *end = memchr(bytes + at, '\n', used - at);
        size_t length = end == NULL ? used - at : (size_t)(end - bytes) - at;
        add(bytes + at, length);
        at += length + 1;
    }
    return true;
}

/* PATTERN at the start of NAME; with WHOLE it must end where NAME ends. */
static bool matches_here(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;
    for (;;) {
        if (*pattern == '\0')
            return true;
        if (pattern[0] == '$' && pattern[1] == '\0') {
            if (*name == '\0')
                return true;
        } else if (*pattern == '*') {
            star = ++pattern;
            retry = name;
            continue;
        } else if (*name != '\0' && *pattern == *name) {
            pattern++;
            name++;
            continue;
        }
        /* Not so: the last star stands for one more. */
        if (star == NULL || *retry == '\0')
            return false;
        pattern = star;
        name = ++retry;
    }
}

bool cal__suppress_matches(const char *pattern, const char *name)
{
    if (*pattern == '^')
        return matches_here(pattern + 1, name);
    for (;; name++) {
        if (matches_here(pattern, name))
            return true;
        if (*name == '\0')
            return false;
    }
}

static const struct cal__symbols *symbols_of(struct cal__suppress_search *search, uint32_t number)
{
    size_t i = number % CAL_SUPPRESS_FILES;
    if (search->files[i].module != number + 1) {
        cal__symbols_close(&search->files[i].symbols);
        search->files[i].module = number + 1;
        search->files[i].usable =
            cal__symbols_open(&search->files[i].symbols, cal__module(number)->path);
    }
    return search->files[i].usable ? &search->files[i].symbols : NULL;
}

void cal__suppress_end(struct cal__suppress_search *search)
{
    for (size_t i = 0; i < CAL_SUPPRESS_FILES; i++)
        cal__symbols_close(&search->files[i].symbols);
    cal__memory_unmap(search->verdicts, search->verdicts_count * sizeof *search->verdicts);
}

static uint32_t find_name(const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (cal__suppress_matches(suppressions[i].pattern, name))
            return i;
    return CAL_FILE_NONE;
}

/* Loaded with the program, or by it, for all. */
static demangler *find_demangler(void)
{
    static bool looked;
    static demangler *function = __cxa_demangle;
    if (function == NULL && !looked) {
        void *found = dlsym(RTLD_DEFAULT, "__cxa_demangle");
        memcpy(&function, &found, sizeof function);
        looked = true;
    }
    return function;
}

/* By the name that is written in the source. What is allocated for it is nobody's loss. */
static uint32_t find_written(const char *name)
{
    uint32_t found = CAL_FILE_NONE;
    struct cal__thread *thread = cal__thread_self();
    uint64_t missed = thread == NULL ? 0 : cal__count_get(&thread->missed);
    demangler *demangle = find_demangler();
    int status;
    char *written = demangle == NULL ? NULL : demangle(name, NULL, NULL, &status);
    if (written != NULL)
        found = find_name(written);
    free(written);
    if (thread != NULL)
        cal__count_add(&thread->missed, missed - cal__count_get(&thread->missed));
    return found;
}

static uint32_t find_function(const char *name)
{
    uint32_t found = find_name(name);
    return found == CAL_FILE_NONE && name[0] == '_' && name[1] == 'Z' ? find_written(name) : found;
}

static uint32_t find_frame(struct cal__suppress_search *search, const struct cal__file_frame *frame)
{
    if (frame->module == CAL_MODULE_NONE)
        return CAL_FILE_NONE;
    const struct cal__module *module = cal__module(frame->module);
    uint32_t found = find_name(module->path);
    const struct cal__symbols *symbols =
        found == CAL_FILE_NONE ? symbols_of(search, frame->module) : NULL;
    const char *name = NULL;
    if (symbols != NULL)
        name = cal__symbols_find(symbols, frame->address - module->bias -
                                              ((frame->flags & CAL_FRAME_EXACT) != 0 ? 0 : 1));
    return name != NULL ? find_function(name) : found;
}

/* Stacks have most of their frames in common. */
static uint32_t find_frame_once(struct cal__suppress_search *search, uint32_t number)
{
    if (search->verdicts == NULL) {
        search->verdicts_count = cal__frames_count() + 1;
        search->verdicts = cal__memory_map(search->verdicts_count * sizeof *search->verdicts);
        if (search->verdicts == NULL)
            search->verdicts_count = 0;
    }
    bool known = number < search->verdicts_count;
    if (known && search->verdicts[number] != 0)
        return search->verdicts[number] == 1 ? CAL_FILE_NONE : search->verdicts[number] - 2;
    uint32_t found = find_frame(search, cal__frame(number));
    if (known)
        search->verdicts[number] = found == CAL_FILE_NONE ? 1 : found + 2;
    return found;
}

uint32_t cal__suppress_find(struct cal__suppress_search *search, uint32_t node)
{
    for (; count != 0 && node > CAL_NODE_UNKNOWN; node = cal__node(node).parent) {
        uint32_t found = find_frame_once(search, cal__node(node).frame);
        if (found != CAL_FILE_NONE)
            return found;
    }
    return CAL_FILE_NONE;
}
