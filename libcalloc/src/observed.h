/* The short way of allocating and freeing while observers are all that is registered.
 *
 * What it cannot do, because somebody else has a say too or because the page at hand has nothing, is left to
 * hooked.c, which does the same for any block. */
#ifndef CAL_OBSERVED_H
#define CAL_OBSERVED_H

#include "block.h"

/* A block of the thread's slabs, which observers have seen; HOW may have CAL_HOW_ZERO. What there is not comes from
 * SLOW, a tail call. SIZE may be anything. */
void *cal__observed_allocate(size_t size, cal__allocate *slow, unsigned how);
/* BLOCK may be anything; what is none of these goes to cal__hooked_free(). */
void cal__observed_free(void *block, const struct cal_call *call);

#endif
