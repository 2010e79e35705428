/* The formats of traces that can be replayed. Each reads a file from its start and puts its calls into
 * a script. */
#ifndef CAL_REPLAY_IMPORT_H
#define CAL_REPLAY_IMPORT_H

#include <stdio.h>

#include "building.h"

struct cal__import {
    FILE *file;
    const char *name;     /* of the file, for messages */
    const char *messages; /* what these begin with: "calloc replay" */
    struct cal__building *building;
    uint64_t limit; /* of calls */
    char source[256];
    bool full;   /* there are more calls than the limit */
    bool broken; /* a part could not be read; said on standard error */
};

/* Each: false when there is nothing to replay, after a line on standard error. */

/* What libcalloc-track writes (libcalloc-track/src/format.h). */
bool cal__import_track(struct cal__import *import);
/* Lines of Android's malloc_debug and memory_replay: "TID: malloc POINTER SIZE" … */
bool cal__import_android(struct cal__import *import);
/* Files of CS:APP's malloc lab: four numbers, then "a ID SIZE", "r ID SIZE", "f ID". */
bool cal__import_rep(struct cal__import *import);

/* Whichever of them the first bytes of the file are of. */
bool cal__import(struct cal__import *import);

/* A line on standard error that is a reason: words that continue a sentence on the file. */
void cal__import_say(const struct cal__import *import, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* One that is a sentence of its own. */
void cal__import_warn(const struct cal__import *import, const char *sentence);

#endif
