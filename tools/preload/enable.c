#include "enable.h"

#include <common/file.h>
#include <common/library.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "level.h"
#include "replace.h"
#include "say.h"
#include "trial.h"

static bool libraries_are_good(const struct place *place, const struct preload_names *wanted)
{
    bool good = true;
    for (size_t i = 0; i < wanted->count; i++) {
        struct text wrong = {.length = 0};
        struct piece name = wanted->items[i];
        if (!library_is_good(place->root, name, &wrong)) {
            say("%s%.*s %s", place->root, (int)name.length, name.bytes, text_get(&wrong));
            good = false;
        }
        text_free(&wrong);
    }
    return good;
}

/* A second malloc in the file would be the one that programs use, or not, by its place; with blocks of one
 * freed by the other. */
static bool is_without_other_malloc(const struct place *place, struct piece text)
{
    struct preload_names others = names_of_others(text);
    bool good = true;
    for (size_t i = 0; i < others.count; i++) {
        struct text why = {.length = 0};
        int result = library_is_malloc(place->root, others.items[i], &why);
        if (result == 1) {
            say("%s names another malloc: %s; take it out first", place->preload, text_get(&why));
            good = false;
        } else if (result < 0) {
            say("note: of %s: %s", place->preload, text_get(&why));
        }
        text_free(&why);
    }
    preload_names_free(&others);
    return good;
}

/* The new contents; false where there can be none. */
static bool compose(const struct place *place, struct piece old, const struct preload_names *wanted,
                    struct text *text)
{
    if (names_are(old, wanted)) {
        text_bytes(text, old.bytes, old.length);
        return true;
    }
    if (preload_text_with(old, wanted->items, wanted->count, component_is_ours, text))
        return true;
    say("the comments in %s are such that ld.so would read other names than now; put it in order "
        "first: it looks for a second comment from the start of the file again",
        place->preload);
    return false;
}

/* Programs of 32 bits use another loader, and find no library of theirs: that is said, once. */
static void warn_of_foreign(const struct place *place)
{
    struct text path = {.length = 0};
    text_format(&path, "%s/lib/ld-linux.so.2", place->root);
    if (access(text_get(&path), F_OK) == 0)
        say("note: 32-bit programs of this system keep their malloc, and ld.so prints a line for "
            "each library at each start of one");
    text_free(&path);
}

static bool try(const struct place *place, const struct preload_names *wanted, component_set set,
                const char *level)
{
    struct text preload = {.length = 0}, options = {.length = 0};
    names_join(wanted, &preload);
    /* An option of an add-on that is not loaded is complained of: so this shows that it is. */
    if ((set >> COMPONENT_secure & 1) != 0)
        text_format(&options, "secure.enable=1%s%s",
                    level == NULL ? "" : ",secure.level=", level == NULL ? "" : level);
    bool good = trial(place->root, text_get(&preload), text_get(&options));
    text_free(&preload);
    text_free(&options);
    return good;
}

static int write_level(const struct place *place, const char *level)
{
    struct replacement file;
    struct text old = {.length = 0}, changed = {.length = 0};
    int error = replace_begin(&file, place->conf);
    if (error == 0) {
        error = replace_read(&file, &old);
        if (error == 0 && !level_set(text_piece(&old), level, &changed))
            error = -1;
        if (error != 0 || strcmp(text_get(&old), text_get(&changed)) == 0)
            replace_abandon(&file);
        else
            error = replace_finish(&file, &changed);
    }
    text_free(&old);
    text_free(&changed);
    return error;
}

static bool is_same(const struct text *a, const struct text *b)
{
    return a->length == b->length && memcmp(text_get(a), text_get(b), a->length) == 0;
}

/* With the lock held; ends it. */
static int change(const struct place *place, struct replacement *file,
                  const struct preload_names *wanted, component_set set, const char *level)
{
    struct text old = {.length = 0}, changed = {.length = 0};
    int status = FAILED;
    if (replace_read(file, &old) == 0 && is_without_other_malloc(place, text_piece(&old)) &&
        compose(place, text_piece(&old), wanted, &changed) && try(place, wanted, set, level) &&
        (level == NULL || write_level(place, level) == 0)) {
        bool same = is_same(&old, &changed);
        if (same)
            replace_abandon(file);
        if (same || replace_finish(file, &changed) == 0) {
            printf("%s: %s, for programs that are started from now on\n", place->preload,
                   same ? "is as it should be" : "names the libraries");
            status = DONE;
        }
    } else {
        replace_abandon(file);
    }
    if (status != DONE)
        say("%s is as it was", place->preload);
    text_free(&old);
    text_free(&changed);
    return status;
}

int enable(const struct place *place, component_set set, const char *level)
{
    struct preload_names wanted = wanted_names(set);
    struct replacement file;
    int status = FAILED;
    if (libraries_are_good(place, &wanted) && replace_begin(&file, place->preload) == 0) {
        warn_of_foreign(place);
        status = change(place, &file, &wanted, set, level);
    }
    wanted_names_free(&wanted);
    return status;
}

int refresh(const struct place *place)
{
    struct text text = {.length = 0};
    component_set set;
    int error = file_read(place->preload, 1 << 20, &text);
    if (error != 0 && error != -ENOENT) {
        say("cannot read %s: %s", place->preload, strerror(-error));
        text_free(&text);
        return FAILED;
    }
    bool any = error == 0 && components_named(text_piece(&text), &set);
    text_free(&text);
    return any ? enable(place, set, NULL) : DONE;
}
