/* calloc-preload disable. It starts no program, and needs none of the libraries. */
#ifndef PRELOAD_DISABLE_H
#define PRELOAD_DISABLE_H

#include "state.h"

/* Takes all names of ours out of the file, of whatever soname; what holds nothing then is removed. QUIET
 * says nothing where there is nothing to do. An exit status. */
int disable(const struct place *place, bool quiet);

#endif
