/* Counting what is live, without the help of the threads that use it. */
#ifndef CAL_WALK_H
#define CAL_WALK_H

#include "heap.h"

/* Blocks in the list at hand of HEAP's class. Bounded and checked, so that it is safe, if not
 * exact, while the heap's thread runs. Under the span lock, which keeps all memory mapped. */
size_t cal__walk_at_hand(const struct cal__heap *heap, unsigned size_class);

struct cal__walk_count {
    size_t blocks; /* live */
    size_t bytes;
};
/* Live blocks of a slab. Under the span lock. */
struct cal__walk_count cal__walk_live(const struct cal__page *page);

#endif
