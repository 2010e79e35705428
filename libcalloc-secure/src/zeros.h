/* Whether memory is zero. */
#ifndef CAL_ZEROS_H
#define CAL_ZEROS_H

#include <string.h>

#include "base.h"

/* As many bytes from the start of MEMORY are zeros; SIZE if all are. */
size_t cal__zeros_length(const void *memory, size_t size);

/* The same question for what is nearly always so. MEMORY is aligned to 16 bytes. */
bool cal__zeros_all(const void *memory, size_t size);

/* The same, which it calls on processors with AVX2. */
bool cal__zeros_all_avx2(const void *memory, size_t size);

#endif
