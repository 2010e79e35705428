#include "suppress.h"

#include <errno.h>
#include <fcntl.h>
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

static struct cal__suppression *suppressions;
static uint32_t count;

/* Open files, by the number of the module modulo this. */
enum { OPEN = 16 };

static struct {
    uint32_t module; /* and 1 more; 0: none */
    bool usable;
    struct cal__symbols symbols;
} files[OPEN];

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

static const struct cal__symbols *symbols_of(uint32_t number)
{
    size_t i = number % OPEN;
    if (files[i].module != number + 1) {
        cal__symbols_close(&files[i].symbols);
        files[i].module = number + 1;
        files[i].usable = cal__symbols_open(&files[i].symbols, cal__module(number)->path);
    }
    return files[i].usable ? &files[i].symbols : NULL;
}

void cal__suppress_close(void)
{
    for (size_t i = 0; i < OPEN; i++) {
        cal__symbols_close(&files[i].symbols);
        files[i].module = 0;
    }
}

static uint32_t find_name(const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (cal__suppress_matches(suppressions[i].pattern, name))
            return i;
    return CAL_FILE_NONE;
}

uint32_t cal__suppress_find(uint32_t node)
{
    for (; count != 0 && node > CAL_NODE_UNKNOWN; node = cal__node(node).parent) {
        const struct cal__file_frame *frame = cal__frame(cal__node(node).frame);
        if (frame->module == CAL_MODULE_NONE)
            continue;
        const struct cal__module *module = cal__module(frame->module);
        uint32_t found = find_name(module->path);
        const struct cal__symbols *symbols = symbols_of(frame->module);
        const char *name = NULL;
        if (found == CAL_FILE_NONE && symbols != NULL)
            name = cal__symbols_find(symbols, frame->address - module->bias -
                                                  ((frame->flags & CAL_FRAME_EXACT) != 0 ? 0 : 1));
        if (name != NULL)
            found = find_name(name);
        if (found != CAL_FILE_NONE)
            return found;
    }
    return CAL_FILE_NONE;
}
