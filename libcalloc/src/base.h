/* The sizes that everything else is built from, and the few attributes used throughout. */
#ifndef CAL_BASE_H
#define CAL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAL_LIKELY(x)   __builtin_expect(!!(x), 1)
#define CAL_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define CAL_COLD        __attribute__((cold, noinline))
#define CAL_NOINLINE    __attribute__((noinline))
#define CAL_INLINE      static inline __attribute__((always_inline))
#define CAL_EXPORT      __attribute__((visibility("default")))

/* Address space is handled in granules. 64 KiB is the smallest piece whose descriptor (128 bytes)
 * costs 0.2 % and whose address still fits the divisibility test of a block in 32 bits. */
#define CAL_GRANULE_SHIFT 16
#define CAL_GRANULE       ((size_t)1 << CAL_GRANULE_SHIFT)

/* Every block is aligned to this at least (SSE, max_align_t). */
#define CAL_ALIGNMENT ((size_t)16)

/* Kernel pages are a multiple of this on every Linux; used only to decide what is worth touching. */
#define CAL_OS_PAGE ((size_t)4096)

/* Requests up to here index the free lists directly, one class per 16 bytes. */
#define CAL_SMALL_MAX ((size_t)1024)
/* Blocks up to here share a one-granule slab ... */
#define CAL_SLAB_SMALL_MAX ((size_t)8192)
/* ... and up to here a slab of CAL_SLAB_LARGE_GRANULES. */
#define CAL_SLAB_MAX            ((size_t)131072)
#define CAL_SLAB_LARGE_GRANULES 8
/* Blocks above are given pages that are retained wherever there are any, others only at the limit. */
#define CAL_RUN_MAX ((size_t)4 << 20)

/* PTRDIFF_MAX is the largest object C can speak of; glibc refuses the same. */
#define CAL_REQUEST_MAX ((size_t)PTRDIFF_MAX - CAL_GRANULE)

/* User space ends below this unless a program asks for more (five-level paging, 52-bit arm64). */
#if defined(__aarch64__)
#    define CAL_ADDRESS_BITS 48
#else
#    define CAL_ADDRESS_BITS 47
#endif

_Static_assert(sizeof(void *) == 8, "libcalloc supports 64-bit systems only");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "and little-endian ones");
_Static_assert(CAL_SLAB_MAX * 4 <= CAL_SLAB_LARGE_GRANULES * CAL_GRANULE,
               "the largest slab holds at least four blocks");
_Static_assert(CAL_SLAB_SMALL_MAX * 8 <= CAL_GRANULE, "a small slab holds at least eight blocks");
_Static_assert(CAL_SLAB_MAX < CAL_RUN_MAX, "runs start where slabs end");

CAL_INLINE size_t cal__round_up(size_t value, size_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

CAL_INLINE size_t cal__granules(size_t size)
{
    return (size + CAL_GRANULE - 1) >> CAL_GRANULE_SHIFT;
}

CAL_INLINE bool cal__is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

CAL_INLINE size_t cal__min(size_t a, size_t b)
{
    return a < b ? a : b;
}

CAL_INLINE size_t cal__max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
