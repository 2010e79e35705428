/* The short way for blocks of slabs, where canaries and zeros are on: for blocks of up to 128 bytes about 80
 * instructions for one that is handed out, 100 for one that is freed. What is unusual, an error too, goes to the
 * functions of slab.h, which begin anew. */
#ifndef CAL_QUICK_H
#define CAL_QUICK_H

#include <calloc/hooks.h>

#include "base.h"

enum {
    CAL_QUICK_LOOK = 1024, /* up to so many bytes are looked at without calling anything, */
    CAL_QUICK_ZERO = 1024, /* and overwritten */
    CAL_QUICK_BOUND = 32,  /* of longer slack so many bytes are written and compared at both ends */
};

/* As those of struct cal_slots. The other two want neighbours on as well; the last is for where kinds are looked at
 * or there is a quarantine. */
struct cal__quick {
    void *(*allocated)(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how);
    enum cal_slot_verdict (*freeing)(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call);
    enum cal_slot_verdict (*holding)(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call);
};

/* For any processor, and for those with AVX2. */
extern const struct cal__quick cal__quick_any;
extern const struct cal__quick cal__quick_avx2;

/* What is best for this processor. */
const struct cal__quick *cal__quick_best(void);

#endif
