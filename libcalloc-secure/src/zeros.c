#include "zeros.h"

#include "hardened.h"
#include "zeros_body.h"

bool cal__zeros_all(const void *memory, size_t size)
{
#ifdef __x86_64__
    if (cal__hardened.wide_vectors)
        return cal__zeros_all_avx2(memory, size);
#endif
    return are_all_zeros(memory, size);
}

size_t cal__zeros_length(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    size_t length = 0;
    while (length < size && bytes[length] == 0)
        length++;
    return length;
}
