/* The executable and the libraries that addresses of code lie in, those that were unloaded included. */
#ifndef CAL_TRACK_MODULES_H
#define CAL_TRACK_MODULES_H

#include <stdatomic.h>

#include "base.h"

enum { CAL_MODULES_MAX = 4096, CAL_BUILD_ID_MAX = 32 };
#define CAL_MODULE_NONE UINT32_MAX

struct cal__module {
    uintptr_t start;
    uintptr_t end;
    uintptr_t bias;
    const void *unwind; /* PT_GNU_EH_FRAME, or NULL */
    const void *link_map;
    uint64_t seen;         /* ns since the start of the recording */
    _Atomic uint64_t gone; /* 0: it is there */
    const char *path;
    uint8_t build_id[CAL_BUILD_ID_MAX];
    uint32_t build_id_length;
    bool hidden; /* the allocator: its frames are left out of stacks */
};

/* WATCH is told of the address of a block that the loader frees when it unloads a module. */
void cal__modules_start(void (*watch)(const void *block));

/* Nanoseconds since the start. */
uint64_t cal__modules_time(void);

/* The number of the module that ADDRESS lies in now, which becomes known by that, or CAL_MODULE_NONE. Takes a
 * lock of its own, none of the loader's. */
uint32_t cal__modules_find(uintptr_t address);

/* Of a module that is known already; takes no lock. */
uint32_t cal__modules_known(uintptr_t start);

uint32_t cal__modules_count(void);
struct cal__module *cal__module(uint32_t number);

/* Looks which known modules are gone. True: there are some that were not gone before. */
bool cal__modules_check(void);

void cal__modules_fork_prepare(void);
void cal__modules_fork_done(bool in_child);

#endif
