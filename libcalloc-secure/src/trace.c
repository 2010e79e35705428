#include "trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unwind.h>

#include <calloc/hooks.h>

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

#if CAL_HAS_FIND_OBJECT
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
#else
static int look_at(struct dl_phdr_info *information, size_t size, void *argument)
{
    struct object *object = argument;
    if ((uintptr_t)information->dlpi_phdr == getauxval(AT_PHDR))
        return 0;
    uintptr_t start = UINTPTR_MAX, end = 0;
    for (size_t i = 0; i < information->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &information->dlpi_phdr[i];
        if (header->p_type != PT_LOAD)
            continue;
        uintptr_t address = information->dlpi_addr + header->p_vaddr;
        start = address < start ? address : start;
        end = address + header->p_memsz > end ? address + header->p_memsz : end;
    }
    if (object->inside < start || object->inside >= end)
        return 0;
    object->start = start;
    object->end = end;
    return 1;
}

static void look_up(struct object *object)
{
    dl_iterate_phdr(look_at, object);
}
#endif

void cal__trace_start(void)
{
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

void cal__trace(const void *frames[CAL_REPORT_FRAMES])
{
    struct walk walk = {.frames = frames, .most = CAL_REPORT_FRAMES};
    memset(frames, 0, CAL_REPORT_FRAMES * sizeof *frames);
    _Unwind_Backtrace(step, &walk);
}

const void *cal__trace_site(void)
{
    const void *site = NULL;
    struct walk walk = {.frames = &site, .most = 1};
    _Unwind_Backtrace(step, &walk);
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
