/* Address space: segments from the kernel, cut into runs of granules.
 *
 * Free runs are kept in two sets: dirty ones (still backed by memory, used first, purged when the
 * delay is over) and clean ones (read as zeros, cost nothing). Neighbours in the same set are
 * coalesced at once. Purged runs of segment size are unmapped, so address space is recycled too.
 *
 * Memory that was freed is used before memory that was not used yet. Where no dirty run is long
 * enough for a large block, it gets the address of a clean one and the pages of several dirty ones,
 * moved there; so it takes a page fault only where the process grows beyond what it had. What
 * cannot serve in this way is purged when it would come on top of the most that was ever in use.
 * Slabs are in use as far as blocks were cut from them, ranges of add-ons not at all: much of one may
 * never be touched.
 *
 * Lock order, from the outside in: start, hooks, heap registry, late heap, heap, abandoned pages,
 * merged bitmaps and records of slots, span, placement, metadata. */
#ifndef CAL_SPAN_H
#define CAL_SPAN_H

#include "map.h"

/* A run of GRANULES granules whose first is a multiple of ALIGNMENT granules (a power of two), as
 * a page of KIND (all but NONE and FREE) that the map knows; `page->zeroed` says whether it reads as
 * zeros. ZEROED asks for such a run by preference. NULL when out of memory. */
struct cal__page *cal__span_allocate(size_t granules, size_t alignment, enum cal__page_kind kind,
                                     bool zeroed);
/* So many granules of a slab, from its start on, take memory now. */
void cal__span_touch(struct cal__page *page, size_t granules);
/* The map is to know GRANULES granules of a RUN or HUGE page at least, of which it knows the first. */
void cal__span_reach(struct cal__page *page, size_t granules);
/* Takes a run back. Its address may be handed out again at once, its memory is purged later. */
void cal__span_release(struct cal__page *page);
/* Makes a run longer in place; false when what follows is not free. */
bool cal__span_extend(struct cal__page *page, size_t granules);
/* Gives the end of a run back. */
void cal__span_shrink(struct cal__page *page, size_t granules);
/* Makes a run longer at another address, by moving its pages there. False, and nothing changed, when
 * out of memory or when the kernel refuses. */
bool cal__span_move(struct cal__page *page, size_t granules);

/* A RUN has become long: it is a HUGE page from now on. */
void cal__span_set_huge(struct cal__page *page);

/* Purges the runs whose delay is over. Cheap when there are none. */
void cal__span_purge_expired(void);
/* Purges all dirty runs now, and unmaps what is as long as a segment. True when anything went back
 * to the kernel. */
bool cal__span_purge_all(void);
/* Unmaps every free run, for when memory is short. True when anything went back. */
bool cal__span_unmap_all(void);

struct cal__span_statistics {
    size_t segment_bytes; /* mapped for all but HUGE pages */
    size_t dirty_bytes;
    size_t clean_bytes;
    size_t dirty_runs;
    size_t clean_runs;
};
struct cal__span_statistics cal__span_statistics(void);

/* Calls VISIT with each page in use or free run, under the span lock, until it returns false. */
bool cal__span_walk(bool (*visit)(struct cal__page *page, void *argument), void *argument);

/* For fork and for walks. */
void cal__span_lock(void);
void cal__span_unlock(bool in_child);

#endif
