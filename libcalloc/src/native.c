/* The native API of <calloc/calloc.h>. */
#include <calloc/calloc.h>
#include <errno.h>

#include "block.h"
#include "span.h"

static void *allocate(size_t size, size_t alignment, unsigned how)
{
    if (size == 0)
        return NULL;
    void *block = cal__block_allocate(size, alignment, CAL_HOW_NATIVE | how);
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

static CAL_NOINLINE void *allocate_slow(size_t size)
{
    return allocate(size, CAL_ALIGNMENT, 0);
}

CAL_EXPORT void *cal_allocate(size_t size)
{
    return cal__allocate_or(size, allocate_slow, CAL_HOW_NATIVE);
}

static CAL_NOINLINE void *zeroed_slow(size_t size)
{
    return allocate(size, CAL_ALIGNMENT, CAL_HOW_ZERO);
}

CAL_EXPORT void *cal_allocate_zeroed(size_t size)
{
    return cal__zeroed_or(size, zeroed_slow, CAL_HOW_NATIVE);
}

CAL_EXPORT void *cal_allocate_aligned(size_t size, size_t alignment)
{
    if (!cal__is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return allocate(size, cal__max(alignment, CAL_ALIGNMENT), 0);
}

CAL_EXPORT void cal_deallocate(void *block)
{
    cal__free_as(block, CAL_HOW_NATIVE, CAL_CALL_UNKNOWN, 0);
}

static CAL_NOINLINE void *reallocate_slow(void *block, size_t size)
{
    if (block == NULL)
        return cal_allocate(size);
    if (size == 0) {
        cal__free_as(block, CAL_HOW_NATIVE, CAL_CALL_UNKNOWN, 0);
        return NULL;
    }
    void *result = cal__block_reallocate(block, size, CAL_HOW_NATIVE);
    if (result == NULL)
        errno = ENOMEM;
    return result;
}

CAL_EXPORT void *cal_reallocate(void *block, size_t size)
{
    return cal__reallocate_or(block, size, reallocate_slow);
}

CAL_EXPORT void *cal_try_reallocate_in_place(void *block, size_t size)
{
    if (block == NULL || size == 0)
        return NULL;
    return cal__block_resize(block, size, "invalid realloc") ? block : NULL;
}

CAL_EXPORT size_t cal_allocation_size(const void *block)
{
    return block == NULL ? 0 : cal__block_usable(block, "invalid cal_allocation_size");
}

CAL_EXPORT int cal_trim(void)
{
    cal__block_collect();
    return cal__span_purge_all();
}

CAL_EXPORT const char *cal_version(void)
{
    return CAL_VERSION;
}
