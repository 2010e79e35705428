#include "resolve.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>

#include "progress.h"

struct resolving {
    const struct cal__profile *profile;
    struct cal__resolved *resolved;
    struct cal__progress progress;
    uint64_t done;
    char *without_lines; /* names of modules, in new memory; NULL: none yet */
    /* Of the module at hand: */
    uint32_t module;       /* number in the profile */
    uint32_t path;         /* string */
    const uint32_t *order; /* frames, sorted */
    uint64_t *addresses;   /* as its file has them */
};

const char *cal__base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void note(struct cal__resolved *resolved, char *text)
{
    resolved->notes = cal__allocate_grow(resolved->notes, resolved->note_count,
                                         &resolved->note_capacity, sizeof(char *));
    resolved->notes[resolved->note_count++] = text;
}

static uint32_t add_position(struct cal__resolved *resolved, struct cal__position position)
{
    resolved->positions =
        cal__allocate_grow(resolved->positions, resolved->position_count,
                           &resolved->position_capacity, sizeof *resolved->positions);
    resolved->positions[resolved->position_count] = position;
    return (uint32_t)resolved->position_count++;
}

/* "libfoo.so+0x1234": whoever has the file can find it there. */
static uint32_t name_by_address(struct cal__resolved *resolved, const char *path, uint64_t address)
{
    char *name = *path ? cal__allocate_format("%s+0x%" PRIx64, cal__base_name(path), address)
                       : cal__allocate_format("0x%" PRIx64, address);
    uint32_t number = cal__strings_add(resolved->strings, name);
    free(name);
    return number;
}

static void take(void *context, size_t index, const struct cal__symbol *symbols, unsigned count)
{
    struct resolving *resolving = context;
    struct cal__resolved *resolved = resolving->resolved;
    const char *path = cal__strings_get(resolved->strings, resolving->path);
    struct cal__resolved_frame *frame = &resolved->frames[resolving->order[index]];
    frame->first = (uint32_t)resolved->position_count;
    frame->count = count ? count : 1;
    for (unsigned i = 0; i < frame->count; i++) {
        const struct cal__symbol *symbol = i < count ? &symbols[i] : NULL;
        add_position(
            resolved,
            (struct cal__position){
                .function = symbol != NULL && symbol->function != NULL && *symbol->function
                                ? cal__strings_add(resolved->strings, symbol->function)
                                : name_by_address(resolved, path, resolving->addresses[index]),
                .file =
                    symbol && symbol->file ? cal__strings_add(resolved->strings, symbol->file) : 0,
                .line = symbol ? symbol->line : 0,
                .module = resolving->path,
                .inlined = i + 1 < frame->count,
            });
    }
    cal__progress_at(&resolving->progress, ++resolving->done);
}

/* Frames of no module: what a just-in-time compiler made has no names that would last. */
static void name_lost(struct resolving *resolving, uint32_t number)
{
    struct cal__resolved *resolved = resolving->resolved;
    uint32_t function = cal__strings_add(resolved->strings, "[code made at run time]");
    resolved->frames[number] = (struct cal__resolved_frame){
        add_position(resolved, (struct cal__position){.function = function}), 1};
}

/* What is wrong with the symbols of a module, in one line. */
static void note_module(struct cal__resolved *resolved, const char *path, size_t frames,
                        enum cal__symbols_found found, char *why, char **without_lines)
{
    if (found == CAL__SYMBOLS_NOTHING)
        note(resolved,
             cal__allocate_format("%s: no names for %zu frame%s: %s", cal__base_name(path), frames,
                                  frames == 1 ? "" : "s", why ? why : "its file is not there"));
    free(why);
    if (found != CAL__SYMBOLS_NAMES)
        return;
    /* That is so of most: they share a line. */
    char *before = *without_lines;
    *without_lines = cal__allocate_format("%s%s%s", before ? before : "", before ? ", " : "",
                                          cal__base_name(path));
    free(before);
}

static void resolve_module(struct resolving *resolving, const uint32_t *order, size_t count,
                           const struct cal__symbols_paths *paths)
{
    const struct cal__profile *profile = resolving->profile;
    const struct cal__file_module *module = &profile->modules[profile->frames[order[0]].module];
    const char *path = cal__profile_string(profile, module->path);
    uint64_t *addresses = cal__allocate_array(count, sizeof *addresses);
    for (size_t i = 0; i < count; i++) {
        const struct cal__file_frame *frame = &profile->frames[order[i]];
        /* The call is before the address that it returns to. */
        addresses[i] = frame->address - module->bias - !(frame->flags & CAL_FRAME_EXACT);
    }
    resolving->order = order;
    resolving->addresses = addresses;
    resolving->path = cal__strings_add(resolving->resolved->strings, *path ? path : "[vdso]");
    if (paths != NULL) {
        char *why;
        const struct cal__symbols_module what = {path, module->build_id, module->build_id_length};
        enum cal__symbols_found found =
            cal__symbols_look_up(paths, &what, addresses, count, take, resolving, &why);
        if (*path == '/')
            note_module(resolving->resolved, path, count, found, why, &resolving->without_lines);
        else
            free(why);
    } else {
        for (size_t i = 0; i < count; i++)
            take(resolving, i, NULL, 0);
    }
    free(addresses);
}

static const struct cal__profile *sorted; /* of qsort(), which hands nothing through */

static int by_module_and_address(const void *left, const void *right)
{
    const struct cal__file_frame *a = &sorted->frames[*(const uint32_t *)left];
    const struct cal__file_frame *b = &sorted->frames[*(const uint32_t *)right];
    if (a->module != b->module)
        return a->module < b->module ? -1 : 1;
    return a->address < b->address ? -1 : a->address > b->address;
}

struct cal__resolved *cal__resolve(const struct cal__profile *profile,
                                   const struct cal__symbols_paths *paths)
{
    struct cal__resolved *resolved = cal__allocate_array(1, sizeof *resolved);
    struct resolving resolving = {.profile = profile, .resolved = resolved};
    resolved->strings = cal__strings_new();
    resolved->unknown = add_position(
        resolved, (struct cal__position){.function = cal__strings_add(
                                             resolved->strings, "[frames that were not found]")});
    resolved->frames = cal__allocate_array(profile->frame_count, sizeof *resolved->frames);
    uint32_t *order = cal__allocate_array(profile->frame_count, sizeof *order);
    for (size_t i = 0; i < profile->frame_count; i++)
        order[i] = (uint32_t)i;
    sorted = profile;
    qsort(order, profile->frame_count, sizeof *order, by_module_and_address);
    cal__progress_begin(&resolving.progress, "symbols", profile->frame_count);
    for (size_t from = 0, to; from < profile->frame_count; from = to) {
        uint32_t module = profile->frames[order[from]].module;
        for (to = from; to < profile->frame_count && profile->frames[order[to]].module == module;)
            to++;
        if (module != CAL_FILE_NONE) {
            resolve_module(&resolving, order + from, to - from, paths);
        } else {
            for (size_t i = from; i < to; i++)
                name_lost(&resolving, order[i]);
        }
    }
    cal__progress_end(&resolving.progress);
    if (resolving.without_lines != NULL)
        note(resolved, cal__allocate_format(
                           "no debugging information, so neither lines nor inlined functions: %s",
                           resolving.without_lines));
    free(resolving.without_lines);
    free(order);
    return resolved;
}

void cal__resolved_free(struct cal__resolved *resolved)
{
    if (resolved == NULL)
        return;
    cal__strings_free(resolved->strings);
    free(resolved->positions);
    free(resolved->frames);
    for (size_t i = 0; i < resolved->note_count; i++)
        free(resolved->notes[i]);
    free(resolved->notes);
    free(resolved);
}
