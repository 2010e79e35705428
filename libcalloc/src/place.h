/* Where to ask the kernel for address space.
 *
 * Left alone, the kernel fills holes between libraries whose ends are not aligned, and each mapping
 * would need cutting. So the next one is asked for below the last, and holes that unmapping left
 * are remembered, coalesced and asked for first: address space is recycled, the heap stays in one
 * piece, and neighbouring mappings are one to the kernel. A hint is only a hint: what was asked for
 * may be somebody else's by now, and then the kernel chooses. */
#ifndef CAL_PLACE_H
#define CAL_PLACE_H

#include "base.h"

/* An address for GRANULES granules, a multiple of ALIGNMENT granules; NULL for no opinion. */
void *cal__place_hint(size_t granules, size_t alignment);
/* The kernel answered HINT with ADDRESS. */
void cal__place_mapped(const void *hint, const void *address, size_t granules);
void cal__place_unmapped(const void *address, size_t granules);

/* For fork. */
void cal__place_lock(void);
void cal__place_unlock(bool in_child);

#endif
