/* Compiled with -mavx2 on x86-64, where that exists; nothing else may be in this file. */
#include "zeros_body.h"

bool cal__zeros_all_avx2(const void *memory, size_t size)
{
    return are_all_zeros(memory, size);
}
