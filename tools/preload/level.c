#include "level.h"

#include <common/options.h>
#include <string.h>

#include "say.h"

static const char header[] =
    "# Settings of libcalloc-secure for all programs: see secure.conf(5).\n";

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static struct piece trim(struct piece piece)
{
    while (piece.length > 0 && is_blank(*piece.bytes))
        piece.bytes++, piece.length--;
    while (piece.length > 0 && is_blank(piece.bytes[piece.length - 1]))
        piece.length--;
    return piece;
}

/* Whether a line sets the level. */
static bool sets_level(struct piece line)
{
    const char *equals = memchr(line.bytes, '=', line.length);
    if (equals == NULL)
        return false;
    struct piece name = trim((struct piece){line.bytes, (size_t)(equals - line.bytes)});
    return piece_is(name, "level") || piece_is(name, "secure.level");
}

/* The last line before the first section that sets the level, without its end; all zeros: none. */
static struct piece find_line(struct piece text)
{
    struct piece found = {NULL, 0};
    for (size_t from = 0; from < text.length;) {
        const char *end = memchr(text.bytes + from, '\n', text.length - from);
        size_t to = end == NULL ? text.length : (size_t)(end - text.bytes);
        struct piece line = {text.bytes + from, to - from};
        if (piece_begins(trim(line), "["))
            break;
        if (sets_level(line))
            found = line;
        from = to + 1;
    }
    return found;
}

static void write_text(struct piece text, const char *level, struct text *result)
{
    struct piece line = find_line(text);
    if (line.bytes == NULL) {
        if (text.length == 0)
            text_string(result, header);
        text_format(result, "level = %s\n", level);
        text_bytes(result, text.bytes, text.length);
        return;
    }
    size_t from = (size_t)(line.bytes - text.bytes);
    text_bytes(result, text.bytes, from);
    text_format(result, "level = %s", level);
    text_bytes(result, line.bytes + line.length, text.length - from - line.length);
}

bool level_set(struct piece text, const char *level, struct text *result)
{
    text_clear(result);
    write_text(text, level, result);
    struct text complaints = {.length = 0};
    struct option_secure settings = options_secure_text(
        (struct piece){text_get(result), result->length}, OPTIONS_CONF_PATH, &complaints);
    bool good = strcmp(settings.level, level) == 0;
    if (!good)
        say("%s would not set the level %s for all programs: a section [**] says %s",
            OPTIONS_CONF_PATH, level, settings.level);
    if (complaints.length != 0)
        say("note: %.*s", (int)strcspn(complaints.bytes, "\n"), complaints.bytes);
    text_free(&complaints);
    return good;
}

bool level_is_known(const char *level)
{
    struct text item = {.length = 0}, complaints = {.length = 0};
    text_format(&item, "secure.level=%s", level);
    bool good = options_check(text_get(&item), &complaints);
    if (!good)
        say("there is no level '%s': it is light, standard or paranoid", level);
    text_free(&item);
    text_free(&complaints);
    return good;
}
