#include "state.h"

#include <common/options.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "say.h"

static char *below(const char *root, const char *path)
{
    struct text text = {.length = 0};
    text_format(&text, "%s%s", root, path);
    return text.bytes;
}

bool place_open(struct place *place, const char *root)
{
    struct stat status = {.st_mode = 0};
    *place = (struct place){.root = NULL};
    if (root == NULL || strcmp(root, "/") == 0) {
        place->root = duplicate("");
    } else {
        place->root = realpath(root, NULL);
        if (place->root == NULL || stat(place->root, &status) != 0) {
            say("%s: %s", root, strerror(errno));
            return false;
        }
        if (!S_ISDIR(status.st_mode)) {
            say("%s is not a folder", root);
            return false;
        }
    }
    place->preload = below(place->root, "/etc/ld.so.preload");
    place->conf = below(place->root, OPTIONS_CONF_PATH);
    return true;
}

void place_close(struct place *place)
{
    free(place->root);
    free(place->preload);
    free(place->conf);
    *place = (struct place){.root = NULL};
}

static struct preload_names filtered(struct piece text, bool ours)
{
    struct preload_names names = preload_names(text);
    size_t kept = 0;
    for (size_t i = 0; i < names.count; i++)
        if (component_is_ours(names.items[i]) == ours)
            names.items[kept++] = names.items[i];
    names.count = kept;
    return names;
}

struct preload_names names_of_ours(struct piece text)
{
    return filtered(text, true);
}

struct preload_names names_of_others(struct piece text)
{
    return filtered(text, false);
}

/* -1: none that we know. "libcalloc.so.1" is the core's. */
static int component_of(struct piece name)
{
    struct piece base = piece_base(name);
    for (int i = 0; i < COMPONENTS; i++) {
        size_t length = strlen(components[i].name);
        if (piece_begins(base, components[i].name) && length < base.length &&
            base.bytes[length] == '.')
            return i;
    }
    return -1;
}

bool components_named(struct piece text, component_set *set)
{
    struct preload_names names = names_of_ours(text);
    bool any = names.count != 0;
    *set = 1U << COMPONENT_core;
    for (size_t i = 0; i < names.count; i++) {
        int index = component_of(names.items[i]);
        if (index >= 0)
            *set |= 1U << index;
        else
            say("note: %.*s is none of the libraries of this version", (int)names.items[i].length,
                names.items[i].bytes);
    }
    preload_names_free(&names);
    return any;
}

struct preload_names wanted_names(component_set set)
{
    struct preload_names names = {.items = allocate(COMPONENTS * sizeof(struct piece))};
    for (int i = 0; i < COMPONENTS; i++) {
        struct text name = {.length = 0};
        if ((set >> i & 1) == 0)
            continue;
        component_preload_name(&components[i], &name);
        names.items[names.count++] = (struct piece){name.bytes, name.length};
    }
    return names;
}

void wanted_names_free(struct preload_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free((char *)(uintptr_t)names->items[i].bytes);
    preload_names_free(names);
}

bool names_are(struct piece text, const struct preload_names *wanted)
{
    struct preload_names names = names_of_ours(text);
    bool same = names.count == wanted->count;
    for (size_t i = 0; same && i < names.count; i++)
        same = names.items[i].length == wanted->items[i].length &&
               memcmp(names.items[i].bytes, wanted->items[i].bytes, names.items[i].length) == 0;
    preload_names_free(&names);
    return same;
}

void names_join(const struct preload_names *names, struct text *text)
{
    for (size_t i = 0; i < names->count; i++) {
        text_string(text, i == 0 ? "" : " ");
        text_bytes(text, names->items[i].bytes, names->items[i].length);
    }
}
