#include <inttypes.h>
#include <stdlib.h>

#include <event_list.h>

#include "import.h"

static void put(struct cal__building *building, const struct cal__event *event)
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
    struct cal__event_list events = {.limit = import->limit};
    const struct cal__profile_options options = {
        .events = cal__event_list_take, .context = &events, .events_only = true};
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
        cal__import_warn(import, profile->warnings[i]);
    if (events.wrong != NULL)
        cal__import_warn(import, events.wrong);
    import->broken = profile->warning_count > 0 || events.wrong != NULL;
    import->full = events.full;
    cal__event_list_sort(&events);
    for (size_t i = 0; i < events.count; i++)
        put(import->building, &events.all[i]);
    cal__event_list_free(&events);
    const char *command = cal__profile_string(profile, profile->process.command_line);
    if (*command == '\0')
        command = cal__profile_string(profile, profile->process.program);
    snprintf(import->source, sizeof import->source, "%.200s, process %" PRIu32,
             *command ? command : "a program", profile->process.pid);
    cal__profile_free(profile);
    return trace;
}
