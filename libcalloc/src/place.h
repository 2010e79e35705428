/* Where to ask the kernel for address space.
 *
 * Left alone, the kernel fills holes between libraries whose ends are not aligned, and each mapping
 * would need cutting. So the next one is asked for below the last, and holes that unmapping left
 * are remembered, coalesced and asked for first: address space is recycled, the heap stays in one
 * piece, and neighbouring mappings are one to the kernel. A hint is only a hint: what was asked for
 * may be somebody else's by now, and then the kernel chooses.
 *
 * Pages can also be moved. The kernel then keeps what moved as a mapping of its own for ever, and
 * moves only one mapping at a time, so the borders that moves made, the seams, are remembered. */
#ifndef CAL_PLACE_H
#define CAL_PLACE_H

#include "base.h"

/* What the option huge_pages aligns to: 2 MiB. */
#define CAL_HUGE_GRANULES ((size_t)32)

/* Maps GRANULES granules of zeroed memory, the first a multiple of ALIGNMENT; NULL when refused. */
void *cal__place_map(size_t granules, size_t alignment);
/* Back to the kernel; false when it refuses, and then it is still mapped. */
bool cal__place_unmap(void *address, size_t granules);
/* The same for a range that leaves a small hole, which splits a mapping; they are counted. */
bool cal__place_unmap_hole(void *address, size_t granules);
/* Moves pages to DESTINATION, GRANULES mapped granules that nobody has written to: it is their
 * addresses that change, nothing is copied. Returns how many granules moved, from the start; the others
 * are as they were on both sides. At the old address the first *MAPPED of those that moved are mapped
 * anew and read as zeros, so that moving leaves no holes that nothing fits; the kernel may have refused
 * that for others. */
size_t cal__place_move(void *address, size_t granules, void *destination, size_t *mapped);
/* How many mappings of the kernel's the range is, as far as moves made them: so many calls it takes to
 * move it, and so many mappings it is afterwards. */
size_t cal__place_pieces(const void *address, size_t granules);
/* Gives the physical memory of a range back; what was moved there becomes one mapping again. False when
 * refused: then it is unchanged. */
bool cal__place_purge(void *address, size_t granules);
/* False when there are so many mappings that no more should be made but where there is no other way,
 * because the kernel limits their number; or when the kernel refused to move lately. */
bool cal__place_may_scatter(void);

/* For fork. */
void cal__place_lock(void);
void cal__place_unlock(bool in_child);

#endif
