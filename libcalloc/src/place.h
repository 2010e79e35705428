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

/* Maps GRANULES granules of zeroed memory, the first a multiple of ALIGNMENT; NULL when refused. */
void *cal__place_map(size_t granules, size_t alignment);
/* Back to the kernel; false when it refuses, and then it is still mapped. */
bool cal__place_unmap(void *address, size_t granules);
/* The range is no longer mapped, by other means than the above. */
void cal__place_unmapped(const void *address, size_t granules);

/* For fork. */
void cal__place_lock(void);
void cal__place_unlock(bool in_child);

#endif
