/* libcalloc-track: who allocates what, and what leaks.
 *
 * The library watches the process that it is loaded into, by a preload or linked; nothing here has to be
 * called for that. It records each allocation with its whole stack, and writes a profile when the process exits, which
 * `calloc report` shows. docs/track.md tells how it is used, libcalloc-track(7) its settings.
 *
 * A tracker is something else: a list of blocks of any kind, from a pool of the program's own for example, that the
 * program tells of by hand, and that it then asks for what is left.
 *
 * Unless it says otherwise, functions may be called from any thread at any time, in the child of a fork too, but not
 * from a signal handler nor a hook of the core. */
#ifndef CALLOC_TRACK_H
#define CALLOC_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cal_hooks;

/* Starts recording, or goes on with it. What was allocated before is not known. 0; -ECANCELED: the library is
 * switched off in this process (track.enable=0); or a negative errno of the core's registration. */
int cal_track_start(void);

/* Stops recording: allocations cost from then on what they cost without the library. What was recorded stays. Blocks
 * that are freed meanwhile count as freed once recording goes on, or a profile is written. 0, or as cal_track_start(). */
int cal_track_stop(void);

/* Whether allocations are recorded now. */
bool cal_track_active(void);

/* Writes the profile of all until now to `path`, or if that is NULL to the file of the setting track.path. It is
 * there completely or not at all. With `leaks`, leaks are looked for, too: all other threads are stopped for that time,
 * some milliseconds for each 10 MB of live blocks, and system calls that cannot be restarted return EINTR there. 0, or
 * a negative errno. */
int cal_track_dump(const char *path, bool leaks);

/* What leaked. */
struct cal_track_leaks {
    size_t size;   /* in: sizeof(struct cal_track_leaks) of the caller */
    size_t blocks; /* live blocks that nothing points to */
    size_t bytes;  /* their bytes, as asked for */
    size_t
        direct_blocks; /* of these, the ones that no leaked block points to, and one of each cycle */
    size_t direct_bytes;
    size_t suppressed_blocks; /* of those that leaked, not in `blocks` */
    size_t live_blocks;       /* all live blocks that were recorded */
    size_t live_bytes;
    bool
        incomplete; /* some threads could not be stopped: what only they point to is counted as leaked */
};

/* Looks for leaks now, see cal_track_dump(). 0; -EINVAL: `size` is not one of any version; -ENOMEM; -ECANCELED as
 * cal_track_start(). Fields beyond `size` are not written. */
int cal_track_leaks(struct cal_track_leaks *leaks);

/* Sums of the process. */
struct cal_track_totals {
    size_t size;          /* in: sizeof(struct cal_track_totals) of the caller */
    uint64_t allocations; /* recorded until now */
    uint64_t allocated_bytes;
    uint64_t frees;
    uint64_t freed_bytes;
    uint64_t peak_bytes; /* the most that were live at a time */
    uint64_t stacks;     /* different ones that allocated */
    uint64_t lost;       /* allocations for which the library had no memory */
    uint64_t own_bytes;  /* mapped by the library for its own use */
};

/* Exact when no other thread allocates. 0; -EINVAL as cal_track_leaks(); -ECANCELED as cal_track_start(). */
int cal_track_totals(struct cal_track_totals *totals);

/* By hand. */

struct cal_tracker;

enum { CAL_TRACKER_FRAMES = 16 };

/* A block that was not taken back. `frames` are return addresses, the innermost first, ended by NULL where there are
 * fewer. */
struct cal_tracker_block {
    void *address;
    size_t bytes;
    void *frames[CAL_TRACKER_FRAMES];
    uint64_t time;   /* CLOCK_MONOTONIC in ns, when it was told of */
    uint64_t thread; /* its kernel's number */
};

/* A place that blocks come from: a stack. */
struct cal_tracker_site {
    void *frames[CAL_TRACKER_FRAMES];
    size_t allocations;
    size_t bytes;
    size_t live;
    size_t live_bytes;
};

struct cal_tracker_profile {
    size_t total_allocations;
    size_t total_bytes_allocated;
    size_t live;
    size_t live_bytes;
    uint64_t total_allocation_time; /* ns spent in cal_tracker_allocation() */
    size_t site_count;
    const struct cal_tracker_site *sites; /* the one with the most allocations first */
};

/* A tracker with nothing in it; NULL and ENOMEM. Its memory is not of the heap. */
struct cal_tracker *cal_tracker_create(void);
void cal_tracker_destroy(struct cal_tracker *tracker);

/* Tells of a block, with the stack of the caller. One at the same address that was not taken back is replaced. 0;
 * -EINVAL: `address` is NULL; -ENOMEM, and nothing has changed. */
int cal_tracker_allocation(struct cal_tracker *tracker, const void *address, size_t bytes);

/* Takes a block back. 0; -ENOENT: it is not there. */
int cal_tracker_deallocation(struct cal_tracker *tracker, const void *address);

/* The blocks that are there, in the order of their addresses: as many as `count`, copied to `blocks`, which may be
 * NULL if that is 0. Returns how many there are. */
size_t cal_tracker_leaks(struct cal_tracker *tracker, struct cal_tracker_block *blocks,
                         size_t count);

/* What was told of until now. To be given back with cal_tracker_profile_free(); NULL and ENOMEM. */
struct cal_tracker_profile *cal_tracker_profile(struct cal_tracker *tracker);
void cal_tracker_profile_free(struct cal_tracker_profile *profile);

/* Writes what is there, and where it comes from, as text to a file descriptor: for people, and in no fixed form. Frames
 * are module+offset, as addr2line takes them. 0, or a negative errno of write(). */
int cal_tracker_report(struct cal_tracker *tracker, int descriptor);

/* "1.0.0", of the library that is loaded. Static. */
const char *cal_track_version(void);

/* The hook table, which the core registers by itself. */
extern const struct cal_hooks cal_addon_track;

#ifdef __cplusplus
}
#endif

#endif
