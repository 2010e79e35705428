#include "verify.h"

#include <common/file.h>
#include <common/library.h>
#include <common/options.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "say.h"
#include "trial.h"

/* ld.so reads it in every program: it must be root's, and for all to read. */
static bool examine_file(const struct place *place)
{
    struct stat status = {.st_mode = 0};
    if (stat(place->preload, &status) != 0)
        return true;
    bool safe = status.st_uid == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
    bool readable = (status.st_mode & S_IROTH) != 0;
    if (!safe)
        printf("  WRONG: the file does not belong to root alone: others may write it\n");
    if (!readable)
        printf("  WRONG: others may not read the file, so their programs go without\n");
    return safe && readable;
}

static bool examine_names(const struct place *place, const struct preload_names *names)
{
    bool good = true;
    for (size_t i = 0; i < names->count; i++) {
        struct text wrong = {.length = 0};
        struct piece name = names->items[i];
        bool right = library_is_good(place->root, name, &wrong);
        printf("  %.*s: %s%s\n", (int)name.length, name.bytes,
               right ? "good" : "WRONG: ", text_get(&wrong));
        good = good && right;
        text_free(&wrong);
    }
    return good;
}

static bool examine_others(const struct place *place, struct piece text)
{
    struct preload_names others = names_of_others(text);
    bool good = true;
    for (size_t i = 0; i < others.count; i++) {
        struct text why = {.length = 0};
        int result = library_is_malloc(place->root, others.items[i], &why);
        printf("  %.*s: not ours%s%s\n", (int)others.items[i].length, others.items[i].bytes,
               result == 0 ? "" : (result == 1 ? "; WRONG: " : "; "), text_get(&why));
        good = good && result != 1;
        text_free(&why);
    }
    preload_names_free(&others);
    return good;
}

static bool examine_order(struct piece text, component_set set)
{
    struct preload_names wanted = wanted_names(set);
    bool good = names_are(text, &wanted);
    if (!good) {
        struct text names = {.length = 0};
        names_join(&wanted, &names);
        printf("  WRONG: this version has %s; calloc-preload refresh writes that\n",
               text_get(&names));
        text_free(&names);
    }
    wanted_names_free(&wanted);
    return good;
}

static bool examine_settings(const struct place *place)
{
    struct option_source source = {"", place->conf, ""};
    struct text complaints = {.length = 0};
    struct option_secure settings = options_secure(&source, &complaints);
    printf("  level of all programs that have no other in %s: %s%s\n", place->conf, settings.level,
           settings.enable ? "" : ", and off");
    for (const char *line = text_get(&complaints); *line != '\0';) {
        int length = (int)strcspn(line, "\n");
        printf("  WRONG: %.*s\n", length, line);
        line += length + (line[length] == '\n');
    }
    bool good = complaints.length == 0;
    text_free(&complaints);
    return good;
}

int examine(const struct place *place, component_set *set)
{
    struct text text = {.length = 0};
    int error = file_read(place->preload, 1 << 20, &text);
    if (error != 0 && error != -ENOENT) {
        say("cannot read %s: %s", place->preload, strerror(-error));
        text_free(&text);
        return WRONG;
    }
    bool any = components_named(text_piece(&text), set);
    printf("%s: %s\n", place->preload, any ? "enabled" : "not enabled");
    struct preload_names names = names_of_ours(text_piece(&text));
    bool good = examine_file(place);
    good = examine_names(place, &names) && good;
    good = (!any || examine_order(text_piece(&text), *set)) && good;
    good = examine_others(place, text_piece(&text)) && good;
    if (any && (*set >> COMPONENT_secure & 1) != 0)
        good = examine_settings(place) && good;
    preload_names_free(&names);
    text_free(&text);
    return !any ? FAILED : (good ? DONE : WRONG);
}

int verify(const struct place *place)
{
    component_set set;
    int status = examine(place, &set);
    if (status == FAILED)
        return FAILED;
    bool secure = (set >> COMPONENT_secure & 1) != 0;
    bool good = trial(place->root, NULL, secure ? "secure.enable=1" : "");
    printf("  programs that are started now %s\n", good ? "run on them" : "DO NOT run on them");
    return good ? status : WRONG;
}
