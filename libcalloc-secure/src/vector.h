/* The longest vectors that the compiler is told it may use, for what is compiled for any processor and once more for those
 * with AVX2. */
#ifndef CAL_VECTOR_H
#define CAL_VECTOR_H

#include "base.h"

/* Functions that all are inline have vectors as arguments in no register, whatever the processor. */
#pragma GCC diagnostic ignored "-Wpsabi"

#ifdef __AVX2__
typedef uint64_t vector __attribute__((vector_size(32), may_alias, aligned(16)));
#else
typedef uint64_t vector __attribute__((vector_size(16), may_alias));
#endif

CAL_INLINE bool is_zero(vector bits)
{
#ifdef __AVX2__
    typedef long long quad __attribute__((vector_size(32)));
    return __builtin_ia32_ptestz256((quad)bits, (quad)bits);
#else
    return (bits[0] | bits[1]) == 0;
#endif
}

/* The same of 32 bytes for any processor. */
CAL_INLINE bool is_zero_wide(uint64_t bits __attribute__((vector_size(32))))
{
#ifdef __AVX2__
    return is_zero(bits);
#else
    return ((bits[0] | bits[1]) | (bits[2] | bits[3])) == 0;
#endif
}

#endif
