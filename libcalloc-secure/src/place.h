/* Where an address lies, so that it says something in another process than the one that saw it: the file that is
 * mapped there and the offset in it, which addr2line(1) and debuggers take. */
#ifndef CAL_PLACE_H
#define CAL_PLACE_H

#include "base.h"

/* The only look-up that takes no lock of the loader, which whoever has an error may hold. */
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
#    define CAL_HAS_FIND_OBJECT 1
#else
#    define CAL_HAS_FIND_OBJECT 0
#endif

struct cal__place {
    const char *module; /* the last part of the file's name; valid until that is unloaded */
    uintptr_t offset;   /* in it, as its symbols have it */
};

/* False: it lies in no file that the loader has mapped, or glibc is older than 2.35. Allocates nothing, takes no
 * lock, safe in signal handlers. */
bool cal__place_find(const void *address, struct cal__place *place);

#endif
