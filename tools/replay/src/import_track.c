/* The events of each thread are in their order, and in all by their ticks: they are sorted once they are there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>
#include <events.h>
#include <profile.h>

#include "import.h"

/* As small as it can be: there are many of them. */
struct gathered {
    uint64_t ticks;
    uint64_t number; /* in the file, for events of the same tick */
    uint64_t address;
    uint64_t size;
    uint32_t thread;
    uint32_t kind;
};

struct gathering {
    struct gathered *all;
    size_t count, capacity;
    uint64_t limit;
    bool full;
    char *wrong; /* with a section of events */
};

static void take_event(void *context, const struct cal__event *event)
{
    struct gathering *gathering = context;
    if (gathering->count >= gathering->limit) {
        gathering->full = true;
        return;
    }
    gathering->all = cal__allocate_grow(gathering->all, gathering->count, &gathering->capacity,
                                        sizeof *gathering->all);
    gathering->all[gathering->count] = (struct gathered){
        event->ticks, gathering->count, event->address, event->size, event->thread, event->kind};
    gathering->count++;
}

static void take_section(void *context, const struct cal__profile *profile,
                         const struct cal__section *section)
{
    struct gathering *gathering = context;
    (void)profile;
    const char *wrong = cal__events_decode(section, take_event, context);
    if (wrong != NULL && gathering->wrong == NULL)
        gathering->wrong = cal__allocate_format(
            "A part of the file (events, at byte %" PRIu64 ") %s.", section->offset, wrong);
}

static int by_ticks(const void *left, const void *right)
{
    const struct gathered *a = left, *b = right;
    if (a->ticks != b->ticks)
        return a->ticks < b->ticks ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static void put(struct cal__building *building, const struct gathered *event)
{
    uint32_t thread = cal__building_thread(building, event->thread);
    switch (event->kind) {
    case CAL_EVENT_ALLOCATE:
        cal__building_allocate(building, thread, event->address, CAL__CALL_MALLOC, 0, event->size);
        break;
    case CAL_EVENT_FREE:
        cal__building_free_block(building, thread, event->address);
        break;
    case CAL_EVENT_RESIZE:
        cal__building_resize(building, thread, event->address, event->address, event->size);
        break;
    case CAL_EVENT_START:
        cal__building_thread_starts(building, thread);
        break;
    default:
        break; /* a thread ends after its last call */
    }
}

bool cal__import_track(struct cal__import *import)
{
    char *why;
    struct gathering gathering = {.limit = import->limit};
    const struct cal__profile_options options = {
        .events = take_section, .context = &gathering, .events_only = true};
    struct cal__profile *profile = cal__profile_read(import->file, &options, &why);
    if (profile == NULL) {
        cal__import_say(import, "%s", why);
        free(why);
        return false;
    }
    bool trace = profile->kind == CAL_FILE_TRACE;
    if (!trace)
        cal__import_say(import,
                        "is a profile and has no calls to replay: calloc record --mode trace "
                        "makes traces");
    for (size_t i = 0; i < profile->warning_count; i++)
        cal__import_say(import, "%s", profile->warnings[i]);
    if (gathering.wrong != NULL)
        cal__import_say(import, "%s", gathering.wrong);
    import->broken = profile->warning_count > 0 || gathering.wrong != NULL;
    import->full = gathering.full;
    if (gathering.count > 0)
        qsort(gathering.all, gathering.count, sizeof *gathering.all, by_ticks);
    for (size_t i = 0; i < gathering.count; i++)
        put(import->building, &gathering.all[i]);
    const char *command = cal__profile_string(profile, profile->process.command_line);
    snprintf(import->source, sizeof import->source, "%.200s, process %" PRIu32,
             *command ? command : "a program", profile->process.pid);
    free(gathering.all);
    free(gathering.wrong);
    cal__profile_free(profile);
    return trace;
}
