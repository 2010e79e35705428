/* From an address to its page descriptor, without ever reading memory that is not ours.
 *
 * The map has one entry per granule of a 4 GiB window and is indexed by the low bits of the
 * granule's number; the descriptor says which granules it is for, so any address may be asked about.
 * An entry holds the distance of the descriptor from `none`: zero, as .bss starts, is `none` itself,
 * a descriptor that no pointer matches. So "nothing there", "not ours" and "another page's granule"
 * are one comparison.
 *
 * Granules whose entry is taken (heaps over 4 GiB) live in overflow leaves, found through
 * a root table and asked only when the first answer did not match.
 *
 * Entries are written under the span lock and read without one. A stale entry is harmless: page
 * descriptors are never unmapped, and what one says about its own range is checked. */
#ifndef CAL_MAP_H
#define CAL_MAP_H

#include "page.h"

#define CAL_MAP_BITS    (32 - CAL_GRANULE_SHIFT)
#define CAL_MAP_ENTRIES ((size_t)1 << CAL_MAP_BITS)

/* A page behind the window that nobody writes, once an add-on has protected it. It stays readable, as leak checkers
 * and garbage collectors read all data of libraries. What lies before is the library's, down to its text, which is not
 * written to either. */
#define CAL_MAP_GUARD ((size_t)4096)

struct cal__map_window {
    _Atomic intptr_t entry[CAL_MAP_ENTRIES];
    struct cal__page none;
};

/* By itself, as descriptors are reached through pointers to a map that are not aligned to more than these. */
extern struct cal__map_guarded {
    struct cal__map_window map;
    char behind[CAL_MAP_GUARD] __attribute__((aligned(CAL_MAP_GUARD)));
} cal__map_guarded;

#define cal__map (cal__map_guarded.map)

CAL_INLINE uint64_t cal__granule_of(const void *address)
{
    return (uintptr_t)address >> CAL_GRANULE_SHIFT;
}

/* The entry in the window for the granule of ADDRESS; it may be another granule's. The window is what
 * the lower half of an address tells apart, so no mask is needed. */
CAL_INLINE intptr_t cal__map_distance(const void *address)
{
    uint32_t index = (uint32_t)(uintptr_t)address >> CAL_GRANULE_SHIFT;
    return atomic_load_explicit(&cal__map.entry[index], memory_order_relaxed);
}

/* The descriptor that an entry is about. */
CAL_INLINE struct cal__page *cal__map_page(intptr_t distance)
{
    return &((struct cal__map_window *)((intptr_t)&cal__map + distance))->none;
}

/* The same for one access, which adds map and distance in its address. The compiler would keep their
 * sum in a register for all accesses: an instruction more, and a longer way to the first. */
CAL_INLINE struct cal__page *cal__map_page_once(intptr_t *distance)
{
    __asm__("" : "+r"(*distance));
    return cal__map_page(*distance);
}

CAL_INLINE struct cal__page *cal__map_candidate(const void *address)
{
    return cal__map_page(cal__map_distance(address));
}

/* The page that contains the granule, or NULL. Free runs are found at their ends only. */
struct cal__page *cal__map_find(uint64_t granule);

/* Has the page behind the window protected, where an add-on does that. */
void cal__map_guard(void);

/* Makes sure that the entries of this range can be set. Before its memory is used; false when out
 * of memory. Under the span lock, like all that follows. */
bool cal__map_reserve(uint64_t first, size_t granules);

/* Makes GRANULES granules from FIRST on, reserved before, point to PAGE. */
void cal__map_set(struct cal__page *page, uint64_t first, size_t granules);

/* Takes the entries back that cal__map_set() made for PAGE. */
void cal__map_clear(struct cal__page *page, uint64_t first, size_t granules);

#endif
