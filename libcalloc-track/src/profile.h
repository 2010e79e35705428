/* Writes the profile of the process. */
#ifndef CAL_TRACK_PROFILE_H
#define CAL_TRACK_PROFILE_H

#include "base.h"
#include "format.h"
#include "leaks.h"

struct cal__profile_request {
    enum cal__dump_reason reason;
    uint32_t flags;                 /* CAL_PROCESS_… */
    const char *path;               /* to be there completely, or not at all */
    const struct cal__leaks *leaks; /* or NULL */
    bool in_signal;                 /* what takes the core's locks is left out */
};

enum { CAL_PATH_MAX = 4096 };

/* 0, or a negative errno: nothing is at `path` that was not there before. The calling thread is `busy`. One at
 * a time: -EBUSY for the second within a signal handler. */
int cal__profile_write(const struct cal__profile_request *request);

/* PATTERN with %p, %e, %n and %% replaced, into PATH of SIZE bytes. False: it does not fit. */
bool cal__profile_path(const char *pattern, char *path, size_t size);

void cal__profile_fork_prepare(void);
void cal__profile_fork_done(bool in_child);

#endif
