#include "size_class.h"

/* A range of requests in steps of 2^SHIFT. */
#define CLASS(previous, size, shift) \
    [(previous) >> (shift)...((size) >> (shift)) - 1] = CAL_CLASS_##size,
#define NOTHING(previous, size, lender, coarse)

const uint8_t cal__classes_to_8_kib[] = {
#define SMALL_SLAB(previous, size, lender, coarse) CLASS(previous, size, 4)
#define LARGE_SLAB                                 NOTHING
#include "size_class.def"
#undef SMALL_SLAB
#undef LARGE_SLAB
};

const uint8_t cal__classes_above[] = {
#define SMALL_SLAB                                 NOTHING
#define LARGE_SLAB(previous, size, lender, coarse) CLASS(previous, size, CAL_CLASS_STEP_SHIFT)
#include "size_class.def"
#undef SMALL_SLAB
#undef LARGE_SLAB
};

#define LARGE_SLAB SMALL_SLAB

const uint32_t cal__class_sizes[] = {
#define SMALL_SLAB(previous, size, lender, coarse) size,
#include "size_class.def"
#undef SMALL_SLAB
};

/* The class of SIZE lends to those above PREVIOUS. */
#define LENDS(previous, size) [(previous) / 16 ...(size) / 16 - 1] = (size) / 16 - 1

const uint8_t cal__class_lenders[] = {
    LENDS(0, 16),    LENDS(16, 32),   LENDS(32, 48),   LENDS(48, 64),
    LENDS(64, 96),   LENDS(96, 128),  LENDS(128, 192), LENDS(192, 256),
    LENDS(256, 384), LENDS(384, 512), LENDS(512, 768), LENDS(768, 1024),
#define SMALL_SLAB(previous, size, lender, coarse) CAL_CLASS_##lender,
#include "size_class.def"
#undef SMALL_SLAB
};

/* The class of SIZE has the blocks of those above PREVIOUS. */
#define COARSE(previous, size) LENDS(previous, size)

const uint8_t cal__class_coarse[] = {
    COARSE(0, 16),    COARSE(16, 32),   COARSE(32, 48),   COARSE(48, 64),   COARSE(64, 80),
    COARSE(80, 96),   COARSE(96, 112),  COARSE(112, 128), COARSE(128, 160), COARSE(160, 192),
    COARSE(192, 224), COARSE(224, 256), COARSE(256, 320), COARSE(320, 384), COARSE(384, 448),
    COARSE(448, 512), COARSE(512, 640), COARSE(640, 768), COARSE(768, 896), COARSE(896, 1024),
#define SMALL_SLAB(previous, size, lender, coarse) CAL_CLASS_##coarse,
#include "size_class.def"
#undef SMALL_SLAB
};
