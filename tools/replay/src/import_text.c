#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <libcalloc-track/src/format.h>

#include "import.h"

void cal__import_say(const struct cal__import *import, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: \"%s\" ", import->messages, import->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void cal__import_warn(const struct cal__import *import, const char *sentence)
{
    fprintf(stderr, "%s: \"%s\": %s\n", import->messages, import->name, sentence);
}

/* Takes a number, decimal or with 0x, off the front of a line; false when there is none. */
static bool number(const char **line, uint64_t *value)
{
    const char *from = *line + strspn(*line, " \t");
    char *end;
    if (*from < '0' || *from > '9')
        return false;
    errno = 0;
    *value = strtoull(from, &end, strncmp(from, "0x", 2) == 0 ? 16 : 10);
    if (errno != 0)
        return false;
    *line = end;
    return true;
}

static bool nothing_left(const char *line)
{
    return line[strspn(line, " \t\r\n")] == '\0';
}

/* A line that is not as it should be ends the reading: what comes after it cannot be trusted. */
static bool wrong_line(struct cal__import *import, uint64_t line)
{
    cal__import_say(import, "is broken in line %" PRIu64 "; what comes before was read", line);
    import->broken = true;
    return false;
}

/* --- Android -------------------------------------------------------------------- */

/* "186: realloc 0xb609f080 0xb603e9a0 12", with two times behind it in newer files. */
static bool android_line(struct cal__import *import, const char *line)
{
    static const struct {
        const char *name;
        unsigned numbers; /* behind the pointer */
    } kinds[] = {{"malloc", 1},  {"calloc", 2}, {"memalign", 2},
                 {"realloc", 2}, {"free", 0},   {"thread_done", 0}};
    enum { MALLOC, CALLOC, MEMALIGN, REALLOC, FREE, DONE, KINDS };
    struct cal__building *building = import->building;
    uint64_t name, pointer, values[2] = {0}, time;
    if (!number(&line, &name) || *line++ != ':')
        return false;
    line += strspn(line, " \t");
    size_t length = strcspn(line, " \t"), kind = 0;
    while (kind < KINDS &&
           (strlen(kinds[kind].name) != length || memcmp(line, kinds[kind].name, length) != 0))
        kind++;
    line += length;
    if (kind == KINDS || !number(&line, &pointer))
        return false;
    for (unsigned i = 0; i < kinds[kind].numbers; i++)
        if (!number(&line, &values[i]))
            return false;
    while (number(&line, &time))
        ; /* when it was: the order is that of the lines */
    uint64_t bytes = 0;
    if (!nothing_left(line) ||
        (kind == CALLOC && __builtin_mul_overflow(values[0], values[1], &bytes)))
        return false;
    uint32_t thread = cal__building_thread(building, name);
    if (kind == DONE)
        return true;
    if (kind == REALLOC && values[0] != 0) {
        /* realloc(p, 0) is recorded as giving NULL: it frees. */
        if (pointer == 0 && values[1] == 0)
            cal__building_free_block(building, thread, values[0]);
        else if (pointer != 0)
            cal__building_resize(building, thread, values[0], pointer, values[1]);
        return true;
    }
    if (pointer == 0)
        return true; /* free(NULL), or no memory then */
    if (kind == FREE)
        cal__building_free_block(building, thread, pointer);
    else if (kind == MEMALIGN && (values[0] & (values[0] - 1)) == 0)
        cal__building_allocate(building, thread, pointer, CAL__CALL_ALIGNED, values[0], values[1]);
    else if (kind == CALLOC)
        cal__building_allocate(building, thread, pointer, CAL__CALL_CALLOC, 0, bytes);
    else if (kind == MEMALIGN)
        return false;
    else
        cal__building_allocate(building, thread, pointer, CAL__CALL_MALLOC, 0,
                               values[kind == REALLOC]);
    return true;
}

bool cal__import_android(struct cal__import *import)
{
    char *line = NULL;
    size_t size = 0;
    uint64_t count = 0;
    while (getline(&line, &size, import->file) > 0) {
        count++;
        if (!nothing_left(line) && !android_line(import, line)) {
            wrong_line(import, count);
            break;
        }
    }
    free(line);
    snprintf(import->source, sizeof import->source, "%.200s, a trace of Android's", import->name);
    return true;
}

/* --- CS:APP --------------------------------------------------------------------- */

static bool rep_line(struct cal__import *import, const char *line)
{
    char kind = *line++;
    uint64_t id, size = 0;
    if (!number(&line, &id) || (kind != 'f' && !number(&line, &size)) || !nothing_left(line))
        return false;
    uint32_t thread = cal__building_thread(import->building, 0);
    if (kind == 'a')
        cal__building_allocate(import->building, thread, id, CAL__CALL_MALLOC, 0, size);
    else if (kind == 'r' && size == 0)
        cal__building_free_block(import->building, thread, id); /* as realloc() of old did */
    else if (kind == 'r')
        cal__building_resize(import->building, thread, id, id, size);
    else if (kind == 'f')
        cal__building_free_block(import->building, thread, id);
    return kind == 'a' || kind == 'r' || kind == 'f';
}

bool cal__import_rep(struct cal__import *import)
{
    enum { HEAD = 4 }; /* heap size, ids, operations, weight */
    char *line = NULL;
    size_t size = 0;
    uint64_t count = 0, value, said = 0, numbers = 0, operations = 0;
    while (getline(&line, &size, import->file) > 0) {
        const char *rest = line;
        count++;
        if (nothing_left(line))
            continue;
        if (numbers < HEAD ? !number(&rest, &value) || !nothing_left(rest)
                           : !rep_line(import, line)) {
            wrong_line(import, count);
            break;
        }
        if (numbers < HEAD && numbers++ == 2)
            said = value;
        else if (numbers >= HEAD && *line >= 'a')
            operations++;
    }
    free(line);
    if (!import->broken && operations != said) {
        cal__import_say(import, "says that it has %" PRIu64 " operations, and has %" PRIu64, said,
                        operations);
        import->broken = true;
    }
    snprintf(import->source, sizeof import->source, "%.200s, a trace of CS:APP's malloc lab",
             import->name);
    return true;
}

/* --- whichever ------------------------------------------------------------------- */

bool cal__import(struct cal__import *import)
{
    char first[256] = "";
    size_t length = fread(first, 1, sizeof first - 1, import->file);
    if (ferror(import->file)) {
        cal__import_say(import, "cannot be read: %s", strerror(errno));
        return false;
    }
    if (fseek(import->file, 0, SEEK_SET) != 0) {
        cal__import_say(import, "is not a file that can be read twice: %s", strerror(errno));
        return false;
    }
    if (length >= 8 && memcmp(first, CAL_FILE_MAGIC, 8) == 0)
        return cal__import_track(import);
    /* The first line that is not empty. */
    const char *line = first + strspn(first, " \t\r\n");
    uint64_t value;
    if (memchr(first, '\0', length) == NULL && number(&line, &value)) {
        if (*line == ':')
            return cal__import_android(import);
        if (*line == '\r' || *line == '\n')
            return cal__import_rep(import);
    }
    cal__import_say(import, length == 0
                                ? "is empty"
                                : "is no trace that is known: of libcalloc-track, of Android's "
                                  "memory_replay, or a .rep file");
    return false;
}
