/* The role slots for blocks by themselves, of more than 128 KiB: between guard pages, at the end of what
 * is between them, so that the first byte too many faults but for the alignment of the block, and when
 * they are freed all of their memory faults for as long as the quarantine of addresses has room. */
#ifndef CAL_SECURE_LARGE_H
#define CAL_SECURE_LARGE_H

#include <calloc/hooks.h>

#include "base.h"
#include "report.h"

/* Requests of more bytes than this have a block by themselves. */
#define CAL_LARGE_MIN ((size_t)128 << 10)

size_t cal__large_state_bytes(void);
void cal__large_guard(const struct cal_call *call, struct cal_guard *guard);
bool cal__large_open(struct cal_slab *slab);
/* Another block of its range. */
bool cal__large_reopen(struct cal_slab *slab);
void cal__large_close(struct cal_slab *slab);
void *cal__large_allocated(struct cal_slab *slab, void *block, size_t size, unsigned how);
enum cal_slot_verdict cal__large_freeing(struct cal_slab *slab, void *block,
                                         const struct cal_call *call);
bool cal__large_fit(struct cal_slab *slab, void *block, const struct cal_call *call);

/* As those of slab.h. */
size_t cal__large_requested(const struct cal_slab *slab);
bool cal__large_check(const struct cal_slab *slab, struct cal__report *found);

/* Bytes of address space that wait. */
size_t cal__large_waiting(void);

/* All that waits leaves. Without locks held. True: there was something. */
bool cal__large_drain(void);

/* Around a fork. */
void cal__large_lock(void);
void cal__large_unlock(bool in_child);

#endif
