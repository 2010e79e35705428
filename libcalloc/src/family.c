/* The malloc family, as ISO C (C17; free_sized of C23), POSIX.1-2017 and the glibc manual define
 * it. What they leave open is decided as glibc does, because programs rely on it: malloc(0) is a
 * unique pointer, realloc(p, 0) frees and returns NULL. */
#include "family.h"

#include <errno.h>

#include "block.h"

static void *or_enomem(void *block)
{
    if (CAL_UNLIKELY(block == NULL))
        errno = ENOMEM;
    return block;
}

static CAL_NOINLINE void *malloc_slow(size_t size)
{
    return or_enomem(cal__block_allocate(size, CAL_ALIGNMENT, CAL_HOW_MALLOC));
}

CAL_EXPORT CAL_HOT void *malloc(size_t size)
{
    return cal__allocate_or(size, malloc_slow, CAL_HOW_MALLOC);
}

CAL_EXPORT CAL_HOT void free(void *block)
{
    cal__free(block);
}

/* Removed from glibc in 2.26; old binaries still call it. */
CAL_EXPORT void cfree(void *block)
{
    cal__free(block);
}

/* The sizes are promises that the plain library does not need; hardening checks them. */
CAL_EXPORT void free_sized(void *block, size_t size)
{
    cal__free_as(block, CAL_HOW_MALLOC, size, 0);
}

CAL_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    cal__free_as(block, CAL_HOW_MALLOC, size, alignment);
}

static CAL_NOINLINE void *calloc_slow(size_t size)
{
    return or_enomem(cal__block_allocate(size, CAL_ALIGNMENT, CAL_HOW_MALLOC | CAL_HOW_ZERO));
}

CAL_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (CAL_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
        return or_enomem(NULL);
    return cal__zeroed_or(bytes, calloc_slow, CAL_HOW_MALLOC);
}

static CAL_NOINLINE void *realloc_slow(void *block, size_t size)
{
    if (block == NULL)
        return cal__allocate_or(size, malloc_slow, CAL_HOW_MALLOC);
    if (size == 0) {
        cal__free(block);
        return NULL;
    }
    return or_enomem(cal__block_reallocate(block, size, CAL_HOW_MALLOC));
}

CAL_EXPORT void *realloc(void *block, size_t size)
{
    return cal__reallocate_or(block, size, realloc_slow);
}

/* Through the dynamic linker, as in glibc: a program that brings malloc, free and realloc of its own
 * but not this must get a block of its own back. */
CAL_EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (CAL_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
        return or_enomem(NULL);
    return realloc(block, bytes);
}

static CAL_NOINLINE void *aligned_slow(size_t alignment, size_t size)
{
    if (alignment <= CAL_ALIGNMENT)
        return cal__block_allocate_or(size, malloc_slow, CAL_HOW_MALLOC);
    return or_enomem(cal__block_allocate(size, alignment, CAL_HOW_MALLOC));
}

CAL_INLINE void *allocate_aligned(size_t alignment, size_t size)
{
    void *block = cal__at_hand_aligned(size, alignment);
    return CAL_LIKELY(block != NULL) ? block : aligned_slow(alignment, size);
}

static CAL_COLD void *invalid_alignment(void)
{
    errno = EINVAL;
    return NULL;
}

/* C17 allows any size; only the alignment must be supported, and every power of two is. */
CAL_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    if (CAL_UNLIKELY(!cal__is_power_of_two(alignment)))
        return invalid_alignment();
    return allocate_aligned(alignment, size);
}

/* Returns the error, leaves errno and, on error, *result alone. */
CAL_EXPORT int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (CAL_UNLIKELY(!cal__is_power_of_two(alignment) || alignment % sizeof(void *) != 0))
        return EINVAL;
    void *block = cal__at_hand_aligned(size, alignment);
    if (CAL_UNLIKELY(block == NULL))
        block = cal__block_allocate(size, cal__max(alignment, CAL_ALIGNMENT), CAL_HOW_MALLOC);
    if (CAL_UNLIKELY(block == NULL))
        return ENOMEM;
    *result = block;
    return 0;
}

/* glibc rounds an alignment that is no power of two up to one. */
CAL_EXPORT void *memalign(size_t alignment, size_t size)
{
    if (CAL_UNLIKELY(alignment > (SIZE_MAX >> 1) + 1))
        return invalid_alignment();
    size_t power = CAL_ALIGNMENT;
    while (power < alignment)
        power <<= 1;
    return allocate_aligned(power, size);
}

CAL_EXPORT void *valloc(size_t size)
{
    return allocate_aligned(cal__os_page_size(), size);
}

CAL_EXPORT void *pvalloc(size_t size)
{
    size_t page = cal__os_page_size();
    if (CAL_UNLIKELY(size > SIZE_MAX - page))
        return or_enomem(NULL);
    return allocate_aligned(page, cal__round_up(size == 0 ? 1 : size, page));
}

CAL_EXPORT size_t malloc_usable_size(void *block)
{
    return block == NULL ? 0 : cal__block_usable(block, "invalid malloc_usable_size");
}
