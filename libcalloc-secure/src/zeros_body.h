/* cal__zeros_all(), for the vectors that the compiler is told it may use: in zeros.c for any processor, in zeros_avx2.c for
 * some. */
#ifndef CAL_ZEROS_BODY_H
#define CAL_ZEROS_BODY_H

#include "vector.h"
#include "zeros.h"

/* Four vectors at a time, so that their loads overlap; a look at what they come to every 16. */
enum { BATCH = 16 };

CAL_INLINE bool are_all_zeros(const void *memory, size_t size)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias));
    const vector *vectors = memory;
    size_t left = size;
    for (; left >= BATCH * sizeof(vector); left -= BATCH * sizeof(vector), vectors += BATCH) {
        vector sums[4] = {vectors[0], vectors[1], vectors[2], vectors[3]};
        for (int i = 4; i < BATCH; i += 4) {
            sums[0] |= vectors[i];
            sums[1] |= vectors[i + 1];
            sums[2] |= vectors[i + 2];
            sums[3] |= vectors[i + 3];
        }
        if (!is_zero((sums[0] | sums[1]) | (sums[2] | sums[3])))
            return false;
    }
    vector sum = {0};
    for (; left >= sizeof(vector); left -= sizeof(vector), vectors++)
        sum |= *vectors;
    const pair *last = (const pair *)vectors;
    if (left >= sizeof(pair)) {
        sum[0] |= (*last)[0] | (*last)[1];
        left -= sizeof(pair);
        last++;
    }
    return is_zero(sum) && cal__zeros_length(last, left) == left;
}

#endif
