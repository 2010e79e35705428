#include "size_class.h"

/* A range of requests in steps of 2^SHIFT. */
#define CLASS(previous, size, shift) \
    [(previous) >> (shift)...((size) >> (shift)) - 1] = CAL_CLASS_##size,
#define NOTHING(previous, size, lender)

const uint8_t cal__classes_to_8_kib[] = {
#define SMALL_SLAB(previous, size, lender) CLASS(previous, size, 4)
#define LARGE_SLAB                         NOTHING
#include "size_class.def"
#undef SMALL_SLAB
#undef LARGE_SLAB
};

const uint8_t cal__classes_above[] = {
#define SMALL_SLAB                         NOTHING
#define LARGE_SLAB(previous, size, lender) CLASS(previous, size, CAL_CLASS_STEP_SHIFT)
#include "size_class.def"
#undef SMALL_SLAB
#undef LARGE_SLAB
};

#define LARGE_SLAB SMALL_SLAB

const uint32_t cal__class_sizes[] = {
#define SMALL_SLAB(previous, size, lender) size,
#include "size_class.def"
#undef SMALL_SLAB
};

static const uint8_t lenders[] = {
#define SMALL_SLAB(previous, size, lender) CAL_CLASS_##lender,
#include "size_class.def"
#undef SMALL_SLAB
};

unsigned cal__class_lender(unsigned size_class)
{
    if (size_class >= CAL_SMALL_CLASSES)
        return lenders[size_class - CAL_SMALL_CLASSES];
    size_t size = cal__class_size(size_class);
    if (size <= 64)
        return size_class;
    unsigned bit = 63 - (unsigned)__builtin_clzll(size - 1);
    size_t middle = (size_t)3 << (bit - 1);
    return cal__size_class(size <= middle ? middle : (size_t)2 << bit);
}
