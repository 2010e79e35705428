#include "zeros.h"

/* Four vectors at a time, so that their loads overlap; a look at what they come to every four lines. */
enum { VECTOR = 16, BATCH = 256 };

typedef uint64_t pair __attribute__((vector_size(VECTOR), may_alias));

bool cal__zeros_all(const void *memory, size_t size)
{
    const pair *vectors = memory;
    size_t left = size;
    for (; left >= BATCH; left -= BATCH, vectors += BATCH / VECTOR) {
        pair sums[4] = {vectors[0], vectors[1], vectors[2], vectors[3]};
        for (int i = 4; i < BATCH / VECTOR; i += 4) {
            sums[0] |= vectors[i];
            sums[1] |= vectors[i + 1];
            sums[2] |= vectors[i + 2];
            sums[3] |= vectors[i + 3];
        }
        pair sum = (sums[0] | sums[1]) | (sums[2] | sums[3]);
        if ((sum[0] | sum[1]) != 0)
            return false;
    }
    for (; left >= VECTOR; left -= VECTOR, vectors++)
        if (((*vectors)[0] | (*vectors)[1]) != 0)
            return false;
    return cal__zeros_length(vectors, left) == left;
}

size_t cal__zeros_length(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    size_t length = 0;
    while (length < size && bytes[length] == 0)
        length++;
    return length;
}
