#include "components.h"

#include <string.h>
#include <sys/stat.h>

const struct component components[COMPONENTS] = {
#define COMPONENT(key, name, version, major, everywhere) \
    {#key, name, version, name ".so." #major, everywhere},
#include "components.def"
#undef COMPONENT
};

_Static_assert(COMPONENT_core == 0, "the core comes first");
_Static_assert(COMPONENTS <= 32, "a bit for each");

int component_find(struct piece key)
{
    for (int i = 0; i < COMPONENTS; i++)
        if (piece_is(key, components[i].key))
            return i;
    return -1;
}

void component_list(struct text *text, bool everywhere)
{
    for (int i = 0; i < COMPONENTS; i++)
        if (!everywhere || components[i].everywhere)
            text_format(text, "%s%s", i == 0 ? "" : ", ", components[i].key);
}

bool component_parse(const char *list, component_set *set, struct piece *wrong)
{
    *set |= 1U << COMPONENT_core;
    for (;;) {
        struct piece key = {list, strcspn(list, ",")};
        int index = component_find(key);
        if (index < 0) {
            *wrong = key;
            return false;
        }
        *set |= 1U << index;
        list += key.length;
        if (*list == '\0')
            return true;
        list++;
    }
}

static size_t skip(struct piece piece, size_t from, const char *accepted)
{
    while (from < piece.length && strchr(accepted, piece.bytes[from]) != NULL &&
           piece.bytes[from] != '\0')
        from++;
    return from;
}

/* libcalloc[-add-on].so[.1[.0.0]] */
bool component_is_ours(struct piece name)
{
    struct piece base = piece_base(name);
    size_t at = strlen("libcalloc");
    if (!piece_begins(base, "libcalloc"))
        return false;
    if (at < base.length && base.bytes[at] == '-') {
        size_t end = skip(base, at + 1, "abcdefghijklmnopqrstuvwxyz");
        if (end == at + 1)
            return false;
        at = end;
    }
    struct piece rest = {base.bytes + at, base.length - at};
    return piece_begins(rest, ".so") && (rest.length == 3 || rest.bytes[3] == '.') &&
           skip(rest, 3, ".0123456789") == rest.length;
}

void component_preload_name(const struct component *component, struct text *text)
{
    text_format(text, "%s/%s", TOOLS_PRELOAD_FOLDER, component->soname);
}

/* As ld.so does it: $LIB and ${LIB}. $ORIGIN and $PLATFORM depend on the program and the machine. */
static bool expand(struct piece name, struct text *path)
{
    static const char *const tokens[] = {"$LIB", "${LIB}"};
    for (size_t i = 0; i < name.length;) {
        struct piece rest = {name.bytes + i, name.length - i};
        size_t t = 0;
        while (t < 2 && !piece_begins(rest, tokens[t]))
            t++;
        if (t < 2) {
            text_string(path, TOOLS_LIB_TOKEN);
            i += strlen(tokens[t]);
        } else if (*rest.bytes == '$') {
            return false;
        } else {
            text_bytes(path, rest.bytes, 1);
            i++;
        }
    }
    return true;
}

static bool is_file(const struct text *path)
{
    struct stat status = {.st_mode = 0};
    return stat(text_get(path), &status) == 0 && !S_ISDIR(status.st_mode);
}

bool component_resolve(const char *root, struct piece name, struct text *path)
{
    static const char *const folders[] = {
        "/" TOOLS_LIB_TOKEN,           "/usr/" TOOLS_LIB_TOKEN, "/lib",   "/usr/lib",
        "/usr/local/" TOOLS_LIB_TOKEN, "/usr/local/lib",        "/lib64", "/usr/lib64"};
    text_clear(path);
    if (memchr(name.bytes, '/', name.length) != NULL) {
        text_string(path, *name.bytes == '/' ? root : "");
        return expand(name, path) && is_file(path);
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        text_clear(path);
        text_format(path, "%s%s/%.*s", root, folders[i], (int)name.length, name.bytes);
        if (is_file(path))
            return true;
    }
    return false;
}
