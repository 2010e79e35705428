#include "preload_text.h"

#include <stdlib.h>
#include <string.h>

static bool is_separator(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == ':';
}

/* Blanks comments out as ld.so does: `left` bytes are left to look at, and it looks at that many from the
 * start, not from behind the last comment. */
static void blank_comments(char *bytes, size_t length)
{
    size_t left = length;
    while (left > 0) {
        char *mark = memchr(bytes, '#', left);
        if (mark == NULL)
            return;
        left -= (size_t)(mark - bytes);
        for (;;) {
            *mark = ' ';
            if (--left == 0 || *++mark == '\n')
                break;
        }
    }
}

static void add_name(struct preload_names *names, struct piece name)
{
    if ((names->count & (names->count - 1)) == 0)
        names->items =
            reallocate(names->items, (names->count == 0 ? 1 : names->count * 2) * sizeof name);
    names->items[names->count++] = name;
}

/* Names in BLANKED from FROM to TO, up to a NUL byte. The items are of TEXT, which has the same bytes. */
static void collect(struct preload_names *names, const char *text, const char *blanked, size_t from,
                    size_t to)
{
    for (size_t i = from; i < to && blanked[i] != '\0';) {
        size_t start = i;
        while (i < to && blanked[i] != '\0' && !is_separator(blanked[i]))
            i++;
        if (i > start)
            add_name(names, (struct piece){text + start, i - start});
        if (i < to && blanked[i] != '\0')
            i++;
    }
}

struct preload_names preload_names(struct piece text)
{
    struct preload_names names = {.items = NULL};
    if (text.length == 0)
        return names;
    char *blanked = memcpy(allocate(text.length), text.bytes, text.length);
    blank_comments(blanked, text.length);
    /* A name that ends with the file is read apart, also behind a NUL byte. */
    size_t last = text.length;
    while (last > 0 && !is_separator(blanked[last - 1]))
        last--;
    collect(&names, text.bytes, blanked, 0, last);
    collect(&names, text.bytes, blanked, last, text.length);
    free(blanked);
    return names;
}

void preload_names_free(struct preload_names *names)
{
    free(names->items);
    *names = (struct preload_names){.items = NULL};
}

/* --- removing ------------------------------------------------------------------- */

/* The names of a line before its comment. */
static struct preload_names names_of_line(struct piece line)
{
    struct preload_names names = {.items = NULL};
    const char *mark = memchr(line.bytes, '#', line.length);
    size_t end = mark == NULL ? line.length : (size_t)(mark - line.bytes);
    for (size_t i = 0; i < end;) {
        size_t start = i;
        while (i < end && !is_separator(line.bytes[i]) && line.bytes[i] != '\0')
            i++;
        if (i > start)
            add_name(&names, (struct piece){line.bytes + start, i - start});
        else
            i++;
    }
    return names;
}

static bool has_comment(struct piece line)
{
    return memchr(line.bytes, '#', line.length) != NULL;
}

/* LINE with its end. */
static void line_without(struct piece line, bool (*removes)(struct piece name), struct text *result)
{
    struct preload_names names = names_of_line(line);
    size_t removed = 0;
    for (size_t i = 0; i < names.count; i++)
        removed += removes(names.items[i]);
    if (removed == 0 || removed < names.count || has_comment(line)) {
        const char *from = line.bytes, *end = line.bytes + line.length;
        for (size_t i = 0; i < names.count; i++) {
            struct piece name = names.items[i];
            if (!removes(name))
                continue;
            const char *to = name.bytes + name.length;
            const char *before = name.bytes;
            /* The separator before it goes too; at the start of the line the one behind it. */
            if (before > from && is_separator(before[-1]))
                before--;
            else if (to < end && is_separator(*to) && *to != '\n')
                to++;
            text_bytes(result, from, (size_t)(before - from));
            from = to;
        }
        text_bytes(result, from, (size_t)(end - from));
    }
    preload_names_free(&names);
}

/* What still is read, as ld.so does not take the comment that it is in for one, is overwritten with
 * blanks: all else stays where it is, and is read as before. */
static void blank_names(struct text *text, size_t from, bool (*removes)(struct piece name))
{
    for (bool again = true; again;) {
        struct piece rest = {text->bytes + from, text->length - from};
        struct preload_names names = preload_names(rest);
        again = false;
        for (size_t i = 0; i < names.count; i++) {
            struct piece name = names.items[i];
            if (!removes(name))
                continue;
            memset(text->bytes + (name.bytes - text->bytes), ' ', name.length);
            again = true;
        }
        preload_names_free(&names);
    }
}

void preload_text_without(struct piece text, bool (*removes)(struct piece name),
                          struct text *result)
{
    size_t before = result->length;
    for (size_t from = 0; from < text.length;) {
        const char *end = memchr(text.bytes + from, '\n', text.length - from);
        size_t to = end == NULL ? text.length : (size_t)(end - text.bytes) + 1;
        line_without((struct piece){text.bytes + from, to - from}, removes, result);
        from = to;
    }
    if (result->length > before)
        blank_names(result, before, removes);
}

/* --- adding --------------------------------------------------------------------- */

static bool same(struct piece a, struct piece b)
{
    return a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

/* Whether ld.so sees NAMES and those of OTHERS in RESULT, one group behind the other. */
static bool reads_as(const struct text *result, const struct piece *names, size_t count,
                     const struct preload_names *others, bool first)
{
    struct preload_names seen = preload_names(text_piece(result));
    bool good = seen.count == count + others->count;
    for (size_t i = 0; good && i < count; i++)
        good = same(seen.items[(first ? 0 : others->count) + i], names[i]);
    for (size_t i = 0; good && i < others->count; i++)
        good = same(seen.items[(first ? count : 0) + i], others->items[i]);
    preload_names_free(&seen);
    return good;
}

static void add_lines(struct text *result, const struct piece *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        text_bytes(result, names[i].bytes, names[i].length);
        text_bytes(result, "\n", 1);
    }
}

/* What ld.so sees of others now, in the file as it stands: taking lines away from it moves its comments
 * too. */
static struct preload_names names_of_others(struct piece text, bool (*removes)(struct piece name))
{
    struct preload_names names = preload_names(text);
    size_t kept = 0;
    for (size_t i = 0; i < names.count; i++)
        if (!removes(names.items[i]))
            names.items[kept++] = names.items[i];
    names.count = kept;
    return names;
}

bool preload_text_with(struct piece text, const struct piece *names, size_t count,
                       bool (*removes)(struct piece name), struct text *result)
{
    struct text others = {.length = 0};
    preload_text_without(text, removes, &others);
    struct preload_names kept = names_of_others(text, removes);
    text_clear(result);
    add_lines(result, names, count);
    text_bytes(result, text_get(&others), others.length);
    bool good = reads_as(result, names, count, &kept, true);
    if (!good) {
        text_clear(result);
        text_bytes(result, text_get(&others), others.length);
        if (others.length != 0 && others.bytes[others.length - 1] != '\n')
            text_bytes(result, "\n", 1);
        add_lines(result, names, count);
        good = reads_as(result, names, count, &kept, false);
    }
    preload_names_free(&kept);
    text_free(&others);
    return good;
}
