/* Zeros that no optimiser takes out. */
#ifndef CAL_WIPE_H
#define CAL_WIPE_H

#include <string.h>

#include "base.h"

/* See cal_secure_wipe(). Inline, for lengths that the compiler knows; the barrier says that somebody may
 * read the memory afterwards, which is all that keeps a dead store alive. */
CAL_INLINE void cal__wipe(void *memory, size_t size)
{
    if (size != 0)
        memset(memory, 0, size);
    __asm__ volatile("" : : "r"(memory) : "memory");
}

#endif
