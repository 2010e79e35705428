#include "trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unwind.h>

#include <calloc/hooks.h>

#include "own_unwinder.h"
#include "place.h"

/* Frames of the library that are left out at most: there are never more than a few. */
enum { STEPS = 64 };

struct object {
    uintptr_t inside; /* an address in it */
    uintptr_t start;
    uintptr_t end; /* 0: not to be left out */
};

static struct object objects[2];

/* What is part of the program cannot be told from it. */
static void look_up(struct object *object)
{
    /* For MemorySanitizer, which does not know the function. */
    struct dl_find_object found = {.dlfo_flags = 0}, program = found;
    if (_dl_find_object((void *)object->inside, &found) != 0 ||
        (_dl_find_object((void *)getauxval(AT_PHDR), &program) == 0 &&
         program.dlfo_link_map == found.dlfo_link_map))
        return;
    object->start = (uintptr_t)found.dlfo_map_start;
    object->end = (uintptr_t)found.dlfo_map_end;
}

void cal__trace_start(void)
{
    if (!cal__has_own_unwinder())
        return;
    int saved = errno;
    objects[0] = (struct object){.inside = (uintptr_t)cal__trace_start};
    objects[1] = (struct object){.inside = (uintptr_t)cal_range_map};
    for (size_t i = 0; i < 2; i++)
        look_up(&objects[i]);
    errno = saved;
}

struct walk {
    const void **frames;
    size_t most; /* frames at most */
    size_t count;
    size_t steps;
};

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *argument)
{
    struct walk *walk = argument;
    uintptr_t address = _Unwind_GetIP(context);
    if (address == 0 || ++walk->steps > STEPS)
        return _URC_NORMAL_STOP;
    for (size_t i = 0; i < 2; i++)
        if (address >= objects[i].start && address < objects[i].end)
            return _URC_NO_REASON;
    walk->frames[walk->count++] = (const void *)address;
    return walk->count < walk->most ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

/* Returns how many of at most MOST there are. */
static size_t walk_stack(const void **frames, size_t most)
{
    struct walk walk = {.frames = frames, .most = most};
    if (cal__has_own_unwinder())
        _Unwind_Backtrace(step, &walk);
    return walk.count;
}

void cal__trace(struct cal__frames *frames)
{
    memset(frames, 0, sizeof *frames);
    size_t count = walk_stack(frames->addresses, CAL_REPORT_FRAMES);
    for (size_t i = 0; i < count; i++)
        frames->files[i] = cal__place_remember(frames->addresses[i]);
}

const void *cal__trace_site(void)
{
    const void *site = NULL;
    walk_stack(&site, 1);
    return site;
}

void cal__trace_report(struct cal__report *report, enum cal__consequence consequence)
{
    if (consequence == CAL_IGNORE)
        return;
    int saved = errno;
    report->site = cal__trace_site();
    cal__report(report, consequence);
    errno = saved;
}
