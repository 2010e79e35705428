/* The short way for blocks of slabs, where canaries and zeros are on and no more than CAL_QUICK_MAX bytes of a slot
 * are looked at: of up to 64 bytes about 50 instructions for a block that is handed out, and 60 for one that is
 * freed. What is unusual, an error too, goes to the functions of slab.h, which begin anew. */
#ifndef CAL_QUICK_H
#define CAL_QUICK_H

#include <calloc/hooks.h>

#include "base.h"

/* Up to so many bytes are looked at and overwritten without calling anything. */
enum { CAL_QUICK_MAX = 256 };
/* And so much slack, which must be covered as a whole. */
enum { CAL_QUICK_SLACK = 256 };

/* As those of struct cal_slots. The second also wants neighbours on, kinds and quarantine off. */
struct cal__quick {
    void *(*allocated)(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how);
    enum cal_slot_verdict (*freeing)(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call);
};

/* For any processor, and for those with AVX2. */
extern const struct cal__quick cal__quick_any;
extern const struct cal__quick cal__quick_avx2;

/* What is best for this processor. */
const struct cal__quick *cal__quick_best(void);

#endif
