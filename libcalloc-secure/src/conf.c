#include "conf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "line.h"

/* Two kinds of wildcards, so two places to go back to: the last * in this part of the path, and the last
 * **. Before the last ** nothing needs to be tried again: it takes up whatever an earlier wildcard would
 * have taken more. */
bool cal__conf_matches(const char *pattern, size_t length, const char *program)
{
    const char *end = pattern + length;
    const char *star = NULL, *star_text = NULL;
    const char *stars = NULL, *stars_text = NULL;
    for (;;) {
        if (pattern < end && *pattern == '*') {
            bool all = pattern + 1 < end && pattern[1] == '*';
            pattern += all ? 2 : 1;
            if (all)
                stars = pattern, stars_text = program, star = NULL;
            else
                star = pattern, star_text = program;
            continue;
        }
        if (pattern == end && *program == '\0')
            return true;
        if (pattern < end && *program != '\0' &&
            (*pattern == *program || (*pattern == '?' && *program != '/'))) {
            pattern++, program++;
        } else if (star != NULL && *star_text != '\0' && *star_text != '/') {
            pattern = star, program = ++star_text;
        } else if (stars != NULL && *stars_text != '\0') {
            /* The last *, if there is one behind it, has been tried to its end. */
            pattern = stars, program = ++stars_text;
        } else {
            return false;
        }
    }
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

struct piece {
    const char *bytes;
    size_t length;
};

static struct piece trim(struct piece piece)
{
    while (piece.length > 0 && is_blank(piece.bytes[piece.length - 1]))
        piece.length--;
    while (piece.length > 0 && is_blank(*piece.bytes))
        piece.bytes++, piece.length--;
    return piece;
}

static void warn(const struct cal__settings_place *place, const char *what, struct piece piece)
{
    if (place == NULL)
        return;
    struct cal__line line = {.length = 0};
    cal__line_string(&line, "libcalloc: ");
    cal__line_string(&line, place->file);
    if (place->line != 0) {
        cal__line_string(&line, ":");
        cal__line_decimal(&line, place->line);
    }
    cal__line_string(&line, ": ");
    cal__line_string(&line, what);
    if (piece.length != 0) {
        cal__line_string(&line, " '");
        cal__line_foreign(&line, piece.bytes, piece.length);
        cal__line_string(&line, "'");
    }
    cal__line_string(&line, ", ignored");
    cal__line_write(&line, STDERR_FILENO);
}

/* The pattern of a line that begins with '[': true if it is one. */
static bool parse_header(struct piece line, struct piece *pattern)
{
    if (line.length < 2 || line.bytes[line.length - 1] != ']')
        return false;
    *pattern = trim((struct piece){line.bytes + 1, line.length - 2});
    return pattern->length != 0 && (*pattern->bytes == '/' || *pattern->bytes == '*');
}

/* True if the line is right. *APPLIES: whether what follows is for the program. */
static bool parse_line(struct cal__settings_draft *draft, struct piece line, const char *program,
                       bool *applies, const struct cal__settings_place *place)
{
    static const char prefix[] = "secure.";
    if (line.length == 0 || *line.bytes == '#')
        return true;
    if (*line.bytes == '[') {
        struct piece pattern;
        /* What follows a header that nobody understands is meant for some programs, not for all. */
        *applies = false;
        if (!parse_header(line, &pattern)) {
            warn(place, "bad section", line);
            return false;
        }
        *applies = cal__conf_matches(pattern.bytes, pattern.length, program);
        return true;
    }
    size_t skip = sizeof prefix - 1;
    if (line.length >= skip && memcmp(line.bytes, prefix, skip) == 0)
        line.bytes += skip, line.length -= skip;
    return cal__settings_item(*applies ? draft : NULL, line.bytes, line.length, place);
}

void cal__conf_text(struct cal__settings_draft *draft, const char *name, const char *text,
                    size_t length, const char *program)
{
    struct cal__settings_place place = {.file = name, .line = 0};
    bool applies = true;
    unsigned wrong = 0;
    for (size_t from = 0; from < length;) {
        const char *newline = memchr(text + from, '\n', length - from);
        size_t to = newline == NULL ? length : (size_t)(newline - text);
        place.line++;
        struct piece line = trim((struct piece){text + from, to - from});
        if (!parse_line(draft, line, program, &applies, wrong < CAL_CONF_WARNINGS ? &place : NULL))
            wrong++;
        from = to + 1;
    }
    if (wrong > CAL_CONF_WARNINGS) {
        place.line = 0;
        warn(&place, "further lines are wrong", (struct piece){NULL, 0});
    }
}

static const char *what_is_wrong(long error)
{
    switch (error) {
    case -ELOOP:
        return "is a symbolic link";
    case -EINVAL:
        return "is not a regular file";
    case CAL_FILE_UNTRUSTED:
        return "does not belong to root alone, or others may write it";
    case -EFBIG:
        return "is longer than 64 KiB";
    default:
        return "cannot be read";
    }
}

/* What is in it is in TEXT. Where the program is only matters to sections. */
static void use(struct cal__settings_draft *draft, const char *path, const char *text,
                size_t length, const char *program)
{
    if (program == NULL && memchr(text, '[', length) == NULL)
        program = "";
    if (program != NULL) {
        cal__conf_text(draft, path, text, length, program);
        return;
    }
    char own[CAL_CONF_PROGRAM] = "";
    cal__file_link("/proc/self/exe", own, sizeof own);
    cal__conf_text(draft, path, text, length, own);
}

/* One that is longer than its first LENGTH bytes, which are in BEGUN. Closes it. */
static long use_long(struct cal__settings_draft *draft, const char *path, int descriptor,
                     const char *begun, size_t length, const char *program)
{
    char *text =
        mmap(NULL, CAL_CONF_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED) {
        cal__file_close(descriptor);
        return -ENOMEM;
    }
    memcpy(text, begun, length);
    long more = cal__file_take(descriptor, text + length, CAL_CONF_MAX - length);
    if (more >= 0)
        use(draft, path, text, length + (size_t)more, program);
    munmap(text, CAL_CONF_MAX);
    return more;
}

/* Every process does this at its start: a short file, as most are, is read into the stack, and nothing is mapped
 * for it. */
enum { SHORT = 2048 };

/* Most systems have no such file, and then nothing else is done. */
void cal__conf_file(struct cal__settings_draft *draft, const char *path, const char *program)
{
    const struct cal__settings_place place = {.file = path, .line = 0};
    int descriptor = cal__file_open(path, true);
    if (descriptor == -ENOENT || descriptor == -ENOTDIR)
        return;
    if (descriptor < 0) {
        warn(&place, what_is_wrong(descriptor), (struct piece){NULL, 0});
        return;
    }
    /* MemorySanitizer does not see that a system call fills it. */
    char text[SHORT] = "";
    long length = cal__file_read(descriptor, text, sizeof text);
    if (length == SHORT) {
        length = use_long(draft, path, descriptor, text, sizeof text, program);
    } else {
        cal__file_close(descriptor);
        if (length >= 0)
            use(draft, path, text, (size_t)length, program);
    }
    if (length < 0)
        warn(&place, what_is_wrong(length), (struct piece){NULL, 0});
}

CAL_COLD void cal__conf_load(struct cal__settings *settings,
                             const struct cal__settings_draft *options)
{
    int saved = errno;
    struct cal__settings_draft draft = {.given = 0};
    cal__conf_file(&draft, CAL_CONF_PATH, NULL);
    cal__settings_merge(&draft, options);
    cal__settings_finish(&draft, settings);
    errno = saved;
}
