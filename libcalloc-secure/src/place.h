/* Where an address lies, so that it says something in another process than the one that saw it: the file that is
 * mapped there and the offset in it, which addr2line(1) and debuggers take.
 *
 * By _dl_find_object(), the only look-up that takes no lock of the loader, which whoever has an error may hold. */
#ifndef CAL_PLACE_H
#define CAL_PLACE_H

#include "base.h"

enum { CAL_PLACE_NAME = 64 };

struct cal__place {
    char file[CAL_PLACE_NAME]; /* the last part of its name, cut to what there is room for */
    uintptr_t offset;          /* in it, as its symbols have it */
};

/* Has the program itself named by /proc/self/exe, not by what it was started as, which may be a script. Once,
 * before there are threads. Preserves errno. */
void cal__place_start(void);

/* False: no file is mapped there by the loader. The file must not be unloaded meanwhile, which is so while a call
 * returns to ADDRESS. Allocates nothing, takes no lock, safe in signal handlers. */
bool cal__place_find(const void *address, struct cal__place *place);

/* A number for the file that ADDRESS lies in, by which that is known when it was unloaded long ago; 0: none, or
 * there were too many. As cal__place_find(). */
uint8_t cal__place_remember(const void *address);

/* What cal__place_find() would have found then; false: FILE is 0. */
bool cal__place_recall(uint8_t file, const void *address, struct cal__place *place);

#endif
