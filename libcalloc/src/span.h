/* Address space: segments from the kernel, cut into runs of granules.
 *
 * Free runs are kept in two sets: dirty ones (still backed by memory, used first, purged when the
 * delay is over) and clean ones (read as zeros, cost nothing). Neighbours in the same set are
 * coalesced at once. Purged runs of segment size are unmapped, so address space is recycled too.
 *
 * Lock order, from the outside in: start, hooks, heap registry, late heap, heap, abandoned pages,
 * huge cache, merged bitmaps, span, placement, metadata. */
#ifndef CAL_SPAN_H
#define CAL_SPAN_H

#include "map.h"

/* A run of GRANULES granules whose first is a multiple of ALIGNMENT granules (a power of two), as
 * a page of KIND (SLAB or RUN) that the map knows; `page->zeroed` says whether it reads as zeros.
 * ZEROED asks for such a run by preference. NULL when out of memory. */
struct cal__page *cal__span_allocate(size_t granules, size_t alignment, enum cal__page_kind kind,
                                     bool zeroed);
/* Takes a run back. Its address may be handed out again at once, its memory is purged later. */
void cal__span_release(struct cal__page *page);
/* Makes a run longer in place; false when what follows is not free. */
bool cal__span_extend(struct cal__page *page, size_t granules);
/* Gives the end of a run back. */
void cal__span_shrink(struct cal__page *page, size_t granules);

/* A page for a mapping of its own; NULL when out of memory. */
struct cal__page *cal__span_register(void *address, size_t size);
/* The page's mapping is at another address now. False, and nothing changed, when out of memory;
 * never when going back to where it was. */
bool cal__span_rebase(struct cal__page *page, void *address);
/* The mapping is about to go: its address is nobody's, the page still is. */
void cal__span_hide(struct cal__page *page);
/* The mapping is gone, and the page with it. */
void cal__span_unregister(struct cal__page *page);

/* A mapping that the kernel refused to unmap becomes a free run. ZEROED: it reads as zeros. */
void cal__span_donate(struct cal__page *page, size_t size, bool zeroed);

/* Purges the runs whose delay is over. Cheap when there are none. */
void cal__span_purge_expired(void);
/* Purges all dirty runs now, and unmaps what is as long as a segment. True when anything went back
 * to the kernel. */
bool cal__span_purge_all(void);
/* Unmaps every free run, for when memory is short. True when anything went back. */
bool cal__span_unmap_all(void);

struct cal__span_statistics {
    size_t segment_bytes; /* mapped for segments */
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
