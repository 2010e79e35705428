/* Free runs of granules, and the descriptors of pages and runs. All of it under the span lock.
 *
 * A free run is dirty or clean (`zeroed`) and in the set of its kind, by its length; the map has its
 * two ends, by which neighbours of one set are joined at once. Dirty runs are also in a queue, in the
 * order in which they are to be purged. One that the kernel refused to take back (locked memory,
 * seccomp) is in no queue: it is not tried again until memory is short. */
#ifndef CAL_RUNS_H
#define CAL_RUNS_H

#include "page.h"

/* Runs of so many granules and more are in one bin. */
#define CAL_RUNS_LONG 64

struct cal__run_set {
    uint64_t nonempty;                   /* bit i: bin i has runs */
    struct cal__link bin[CAL_RUNS_LONG]; /* bin i: those of i + 1 granules; the last: longer, too */
    size_t granules;
    size_t runs;
};

extern struct cal__run_set cal__runs_dirty;
extern struct cal__run_set cal__runs_clean;

/* A descriptor for nothing yet; NULL when out of memory. */
struct cal__page *cal__page_new(void);
void cal__page_delete(struct cal__page *page);
void cal__page_set_range(struct cal__page *page, uint64_t first, size_t granules);
/* Calls VISIT with each page in use or free run until it returns false. */
bool cal__page_visit(bool (*visit)(struct cal__page *page, void *argument), void *argument);

/* Puts a run, whose map entries are cleared, among the free ones and joins it to its neighbours. If
 * it is not joined its expiry is the latest of all. */
void cal__runs_insert(struct cal__page *run);
void cal__runs_remove(struct cal__page *run);
/* Cuts GRANULES granules out of a free run and removes them; what is left on both sides stays free.
 * NULL and no change when there are no descriptors for the rest. */
struct cal__page *cal__runs_cut(struct cal__page *run, size_t granules, size_t alignment);
/* The same from HEAD granules behind its start on. */
struct cal__page *cal__runs_cut_at(struct cal__page *run, size_t granules, size_t head);

/* The smallest run that fits; of those of one length the one freed last, which is the warmest. */
struct cal__page *cal__runs_find(const struct cal__run_set *set, size_t granules, size_t alignment);
/* One of those of LONGEST granules at the most, by chance, longer ones rather than shorter ones; or NULL. */
struct cal__page *cal__runs_any(const struct cal__run_set *set, size_t granules, size_t longest);
struct cal__page *cal__runs_longest(const struct cal__run_set *set);
/* A longest one, or any of CAL_RUNS_LONG granules and more. Takes no time. */
struct cal__page *cal__runs_long(const struct cal__run_set *set);
/* The first to be purged. */
struct cal__page *cal__runs_oldest(void);
bool cal__runs_queued(const struct cal__page *run);

#endif
