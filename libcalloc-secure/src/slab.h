/* The role slots for slabs: what stands behind a block and beside it, and what is looked at when it is freed and
 * used again.
 *
 * The mark of a live slot has the size that was asked for and how. Marks are written by who holds the slot, and
 * read by others too, who look at their neighbour's canary; so a slot that is being changed is KEPT.
 *
 * While a slot is free, or held in quarantine, its bytes are zeros, if zero_on_free is on: those of a slot that
 * was NEVER used are what the slab was made of, which are zeros in memory that is fresh from the kernel, and in
 * all memory where nothing was freed unseen. */
#ifndef CAL_SLAB_H
#define CAL_SLAB_H

#include <calloc/hooks.h>

#include "base.h"
#include "report.h"

/* Complete once cal__slab_start() has seen the settings. */
extern struct cal_slots cal__slab_role;
void cal__slab_start(void);

/* The functions of the role for any settings, and all slots. */
void *cal__slab_allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                          unsigned how);
enum cal_slot_verdict cal__slab_freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                        uint32_t bits, const struct cal_call *call);

/* Bytes that were asked for of the live block that slot SLOT of SLAB has; SIZE_MAX when it has none. */
size_t cal__slab_requested(const struct cal_slab *slab, uint32_t slot);

/* False for a slot that was never handed out, or never will be. */
bool cal__slab_is_used(const struct cal_slab *slab, uint32_t slot);

/* Looks at the canary of a live block and at the zeros of a free one. Other threads may change them
 * meanwhile. False, and what there is to report, when something is wrong. Takes no lock. */
bool cal__slab_check(const struct cal_slab *slab, uint32_t slot, struct cal__report *found);

/* A block of SIZE bytes leaves quarantine: that of SLOT of SLAB, as cal_slot_find() says, which is looked at. */
void cal__slab_leave(struct cal_slab *slab, uint32_t slot, void *block, size_t size);

#endif
