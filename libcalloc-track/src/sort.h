/* Sorting in place, without recursion and without memory, which qsort() may allocate: a heap sort (Williams, 1964). */
#ifndef CAL_TRACK_SORT_H
#define CAL_TRACK_SORT_H

#include "base.h"

#include <string.h>

/* Whether A comes before B, which are elements. */
typedef bool cal__precedes(const void *a, const void *b);

/* Inlined, these know how much they move and what they ask. */
CAL_INLINE void cal__sort_swap(char *a, char *b, size_t size)
{
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t kept;
        memcpy(&kept, a + i, sizeof kept);
        memcpy(a + i, b + i, sizeof kept);
        memcpy(b + i, &kept, sizeof kept);
    }
}

CAL_INLINE void cal__sort_sift(char *values, size_t size, size_t at, size_t count,
                               cal__precedes *before)
{
    for (size_t child; (child = at * 2 + 1) < count; at = child) {
        if (child + 1 < count && before(values + child * size, values + (child + 1) * size))
            child++;
        if (!before(values + at * size, values + child * size))
            return;
        cal__sort_swap(values + at * size, values + child * size, size);
    }
}

/* COUNT elements of SIZE bytes each, a multiple of 8. */
CAL_INLINE void cal__sort(void *array, size_t size, size_t count, cal__precedes *before)
{
    char *values = array;
    for (size_t i = count / 2; i-- > 0;)
        cal__sort_sift(values, size, i, count, before);
    for (size_t i = count; i-- > 1;) {
        cal__sort_swap(values, values + i * size, size);
        cal__sort_sift(values, size, 0, i, before);
    }
}

#endif
