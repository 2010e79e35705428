/* Size classes: one per 16 bytes up to 1 KiB, and those of size_class.def up to 128 KiB.
 *
 * Index i < 64 holds blocks of (i + 1) * 16 bytes, so a small request needs one subtraction and one
 * shift and no table. Powers of two are classes everywhere, so they have no internal fragmentation.
 * docs/decisions/size-classes.md has the figures. */
#ifndef CAL_SIZE_CLASS_H
#define CAL_SIZE_CLASS_H

#include "base.h"

#define CAL_SMALL_CLASSES 64

/* The classes above, by their size. */
enum {
    CAL_CLASS_BEFORE = CAL_SMALL_CLASSES - 1,
#define SMALL_SLAB(previous, size, lender, coarse) CAL_CLASS_##size,
#define LARGE_SLAB                                 SMALL_SLAB
#include "size_class.def"
#undef SMALL_SLAB
#undef LARGE_SLAB
    CAL_CLASSES,
};

_Static_assert(CAL_SMALL_CLASSES *CAL_ALIGNMENT == CAL_SMALL_MAX, "one class per 16 bytes");
_Static_assert(CAL_CLASSES <= UINT8_MAX, "classes are numbered in bytes");

/* Blocks of up to CAL_SLAB_SMALL_MAX bytes have classes in steps of 16 bytes, larger ones of 1 KiB. */
#define CAL_CLASS_STEP_SHIFT 10

/* size_class.c; the first two are indexed by (request - 1) in steps, and start with what is below their
 * range, which is not used. */
extern const uint8_t cal__classes_to_8_kib[CAL_SLAB_SMALL_MAX / CAL_ALIGNMENT]
    __attribute__((visibility("hidden")));
extern const uint8_t cal__classes_above[CAL_SLAB_MAX >> CAL_CLASS_STEP_SHIFT]
    __attribute__((visibility("hidden")));
extern const uint32_t cal__class_sizes[CAL_CLASSES - CAL_SMALL_CLASSES]
    __attribute__((visibility("hidden")));
extern const uint8_t cal__class_lenders[CAL_CLASSES] __attribute__((visibility("hidden")));
extern const uint8_t cal__class_coarse[CAL_CLASSES] __attribute__((visibility("hidden")));

/* The class of a request of 1 to CAL_SLAB_MAX bytes. */
CAL_INLINE unsigned cal__size_class(size_t size)
{
    size_t last = size - 1;
    if (last < CAL_SMALL_MAX)
        return (unsigned)(last >> 4);
    if (last < CAL_SLAB_SMALL_MAX)
        return cal__classes_to_8_kib[last >> 4];
    return cal__classes_above[last >> CAL_CLASS_STEP_SHIFT];
}

/* Bytes of a block of this class. */
CAL_INLINE size_t cal__class_size(unsigned size_class)
{
    if (size_class < CAL_SMALL_CLASSES)
        return ((size_t)size_class + 1) * 16;
    return cal__class_sizes[size_class - CAL_SMALL_CLASSES];
}

/* The class that lends its blocks to one that is hardly used: few of them serve all sizes, with a
 * quarter of a block unused on average. Sizes 16, 32, 48, 64, 96 and 128 bytes, then two per doubling.
 * A class that lends is its own. */
CAL_INLINE unsigned cal__class_lender(unsigned size_class)
{
    return cal__class_lenders[size_class];
}

/* The class that has the blocks of this one in slabs of CAL_PAGE_SLOTS. Each class has a slab of a thread's own, and
 * a choice of slots at hand in it: fewer classes take less memory, and stay in the cache. */
CAL_INLINE unsigned cal__class_with_slots(unsigned size_class)
{
    return cal__class_coarse[size_class];
}

/* The same for a request of SIZE bytes, which most likely are few. */
CAL_INLINE unsigned cal__size_class_with_slots(size_t size)
{
    size_t last = size - 1;
    unsigned size_class =
        CAL_LIKELY(last < CAL_SMALL_MAX) ? (unsigned)(last >> 4) : cal__size_class(size);
    return cal__class_with_slots(size_class);
}

CAL_INLINE size_t cal__class_granules(unsigned size_class)
{
    return cal__class_size(size_class) <= CAL_SLAB_SMALL_MAX ? 1 : CAL_SLAB_LARGE_GRANULES;
}

/* Is NUMBER the offset of one of the blocks cut so far? One multiplication, after Lemire, Kaser and
 * Kurz, "Faster Remainder by Direct Computation" (2019), extended by the upper bound:
 *
 *     M = floor(2^64 / size) + 1;  e = M * size - 2^64, from 1 to size
 *     number = q * size + r   gives   number * M = q * e + r * M  (mod 2^64)
 *     so number is the offset of block q < blocks   if and only if   number * M < blocks * e
 *
 * For r > 0 the product is at least M and wraps at no number below 2^47; for r = 0 it grows with q,
 * and below zero wraps to more than 2^64 - 2^48. So the answer is right for the difference of any two
 * addresses, and the question "another page?" needs no comparison of its own. CAL_ORIGIN_NOBODY is
 * further away: against it the answer is right for NULL and all multiples of 16, and a dozen numbers one
 * or two above a multiple of 64 KiB pass in the classes of 64 and 128 KiB. */
CAL_INLINE uint64_t cal__start_factor(size_t size)
{
    return (0 - (uint64_t)size) / size + 2;
}

CAL_INLINE uint64_t cal__start_limit(size_t size, uint64_t factor, uint32_t blocks)
{
    return factor * size * blocks;
}

CAL_INLINE bool cal__is_start(uint64_t number, uint64_t factor, uint64_t limit)
{
    return number * factor < limit;
}

#endif
