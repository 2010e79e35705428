/* Whether the unwinder is a copy of the library's own, which nobody else can reach: so in the shared library, into which
 * it is linked. That of a program may have tables that were registered with it, by the start of one without a loader or
 * by a compiler at run time; for these it allocates and frees with a lock held that it takes to walk, and before they are
 * there it ends the process. */
#ifndef CAL_OWN_UNWINDER_H
#define CAL_OWN_UNWINDER_H

#include "base.h"

/* Tests that are linked with the archive have one too, and register nothing. */
extern const char cal__own_unwinder __attribute__((weak));

CAL_INLINE bool cal__has_own_unwinder(void)
{
    return &cal__own_unwinder != NULL;
}

#endif
