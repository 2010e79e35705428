/* calloc-preload status. */
#ifndef PRELOAD_STATUS_H
#define PRELOAD_STATUS_H

#include "state.h"

/* What the file says, and which of the running processes have the libraries, which do not, and why. An exit
 * status. BRIEF leaves the processes out but for their numbers. */
int status(const struct place *place, bool brief);

#endif
