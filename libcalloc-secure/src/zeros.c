#include "zeros.h"

#include "hardened.h"

/* Four vectors at a time, so that their loads overlap; a look at what they come to every 16. */
enum { BATCH = 16 };

typedef uint64_t pair __attribute__((vector_size(16), may_alias));

static bool all_pairs(const void *memory, size_t size)
{
    const pair *vectors = memory;
    size_t left = size;
    for (; left >= BATCH * sizeof(pair); left -= BATCH * sizeof(pair), vectors += BATCH) {
        pair sums[4] = {vectors[0], vectors[1], vectors[2], vectors[3]};
        for (int i = 4; i < BATCH; i += 4) {
            sums[0] |= vectors[i];
            sums[1] |= vectors[i + 1];
            sums[2] |= vectors[i + 2];
            sums[3] |= vectors[i + 3];
        }
        pair sum = (sums[0] | sums[1]) | (sums[2] | sums[3]);
        if ((sum[0] | sum[1]) != 0)
            return false;
    }
    for (; left >= sizeof(pair); left -= sizeof(pair), vectors++)
        if (((*vectors)[0] | (*vectors)[1]) != 0)
            return false;
    return cal__zeros_length(vectors, left) == left;
}

#ifdef __x86_64__

typedef long long quad __attribute__((vector_size(32), may_alias, aligned(16)));

/* The same by vectors of twice the size, of which the last may overlap the one before. */
__attribute__((target("avx2"))) static bool all_quads(const void *memory, size_t size)
{
    const quad *vectors = memory;
    size_t left = size;
    for (; left >= BATCH * sizeof(quad); left -= BATCH * sizeof(quad), vectors += BATCH) {
        quad sums[4] = {vectors[0], vectors[1], vectors[2], vectors[3]};
        for (int i = 4; i < BATCH; i += 4) {
            sums[0] |= vectors[i];
            sums[1] |= vectors[i + 1];
            sums[2] |= vectors[i + 2];
            sums[3] |= vectors[i + 3];
        }
        quad sum = (sums[0] | sums[1]) | (sums[2] | sums[3]);
        if (!__builtin_ia32_ptestz256(sum, sum))
            return false;
    }
    if (size < sizeof(quad) || size % sizeof(pair) != 0)
        return all_pairs(vectors, left);
    quad sum = *(const quad *)(const void *)((const char *)memory + size - sizeof(quad));
    for (; left >= sizeof(quad); left -= sizeof(quad), vectors++)
        sum |= *vectors;
    return __builtin_ia32_ptestz256(sum, sum);
}

#endif

bool cal__zeros_all(const void *memory, size_t size)
{
#ifdef __x86_64__
    if (cal__hardened.wide_vectors)
        return all_quads(memory, size);
#endif
    return all_pairs(memory, size);
}

size_t cal__zeros_length(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    size_t length = 0;
    while (length < size && bytes[length] == 0)
        length++;
    return length;
}
