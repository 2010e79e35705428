#include "disable.h"

#include <common/file.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "replace.h"
#include "say.h"

static bool has_ours(const struct text *text)
{
    struct preload_names names = names_of_ours(text_piece(text));
    bool any = names.count != 0;
    preload_names_free(&names);
    return any;
}

/* Without the lock, and without writing: 1 where there is something to do, 0, or a negative errno. */
static int look(const struct place *place)
{
    struct text text = {.length = 0};
    int result = file_read(place->preload, 1 << 20, &text);
    if (result == 0)
        result = has_ours(&text);
    else if (result == -ENOENT)
        result = 0;
    else
        say("cannot read %s: %s", place->preload, strerror(-result));
    text_free(&text);
    return result;
}

static int change(struct replacement *file)
{
    struct text old = {.length = 0}, changed = {.length = 0};
    int error = replace_read(file, &old);
    if (error == 0 && has_ours(&old)) {
        preload_text_without(text_piece(&old), component_is_ours, &changed);
        error = replace_finish(file, &changed);
    } else {
        replace_abandon(file);
    }
    text_free(&old);
    text_free(&changed);
    return error;
}

int disable(const struct place *place, bool quiet)
{
    struct replacement file;
    int result = look(place);
    if (result < 0)
        return FAILED;
    if (result == 0) {
        if (!quiet)
            printf("%s: names none of the libraries\n", place->preload);
        return DONE;
    }
    if (replace_begin(&file, place->preload) != 0 || change(&file) != 0)
        return FAILED;
    printf("%s: names none of the libraries, for programs that are started from now on\n",
           place->preload);
    return DONE;
}
