#include "trace.h"

#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unwind.h>

#include <calloc/hooks.h>

/* Frames of the library that are left out at most: there are never more than a few. */
enum { STEPS = 64 };

struct object {
    uintptr_t inside; /* an address in it */
    uintptr_t start;
    uintptr_t end; /* 0: not to be left out */
};

static struct object objects[2];

static int look_at(struct dl_phdr_info *information, size_t size, void *argument)
{
    /* What is part of the program cannot be told from it. */
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
    for (size_t i = 0; i < 2; i++) {
        if (objects[i].inside < start || objects[i].inside >= end)
            continue;
        objects[i].start = start;
        objects[i].end = end;
    }
    return 0;
}

void cal__trace_start(void)
{
    objects[0] = (struct object){.inside = (uintptr_t)cal__trace_start};
    objects[1] = (struct object){.inside = (uintptr_t)cal_range_map};
    dl_iterate_phdr(look_at, NULL);
}

struct walk {
    const void **frames;
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
    return walk->count < CAL_REPORT_FRAMES ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

void cal__trace(const void *frames[CAL_REPORT_FRAMES])
{
    struct walk walk = {.frames = frames};
    memset(frames, 0, CAL_REPORT_FRAMES * sizeof *frames);
    _Unwind_Backtrace(step, &walk);
}
