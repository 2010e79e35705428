/* Whether memory is zero. */
#ifndef CAL_ZEROS_H
#define CAL_ZEROS_H

#include <string.h>

#include "base.h"

/* As many bytes from the start of MEMORY are zeros; SIZE if all are. */
size_t cal__zeros_length(const void *memory, size_t size);

bool cal__zeros_all_long(const unsigned char *memory, size_t size);

/* The same question for what is nearly always so. MEMORY is aligned to 16 bytes, SIZE a multiple of 16. Two
 * words at a time up to four cache lines, which compilers make vector instructions of. */
CAL_INLINE bool cal__zeros_all(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    if (CAL_UNLIKELY(size > 256))
        return cal__zeros_all_long(bytes, size);
    typedef uint64_t pair __attribute__((vector_size(16), may_alias));
    pair sum = {0, 0};
    for (size_t i = 0; i < size; i += sizeof sum)
        sum |= *(const pair *)(const void *)(bytes + i);
    return (sum[0] | sum[1]) == 0;
}

#endif
