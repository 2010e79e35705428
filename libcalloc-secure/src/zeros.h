/* Whether memory is zero. */
#ifndef CAL_ZEROS_H
#define CAL_ZEROS_H

#include <string.h>

#include "base.h"

/* As many bytes from the start of MEMORY are zeros; SIZE if all are. */
size_t cal__zeros_length(const void *memory, size_t size);

bool cal__zeros_all_long(const unsigned char *memory, size_t size);

typedef uint64_t cal__pair __attribute__((vector_size(16), may_alias));

/* The same question for what is nearly always so. MEMORY is aligned to 16 bytes, SIZE a multiple of 16 from 16 to
 * 256. By loads that overlap at the end, so that up to 64 bytes their number depends on two branches. */
CAL_INLINE bool cal__zeros_short(const void *memory, size_t size)
{
    const cal__pair *first = memory;
    const cal__pair *end = (const cal__pair *)(const void *)((const char *)memory + size);
    cal__pair sum = first[0] | end[-1];
    if (size > 32) {
        sum |= first[1] | end[-2];
        for (const cal__pair *next = first + 2; CAL_UNLIKELY(next < end - 2); next += 2)
            sum |= next[0] | next[1];
    }
    return (sum[0] | sum[1]) == 0;
}

/* SIZE is any multiple of 16. */
CAL_INLINE bool cal__zeros_all(const void *memory, size_t size)
{
    return size - 1 < 256 ? cal__zeros_short(memory, size)
                          : size == 0 || cal__zeros_all_long(memory, size);
}

#endif
