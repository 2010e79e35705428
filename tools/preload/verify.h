/* calloc-preload verify. */
#ifndef PRELOAD_VERIFY_H
#define PRELOAD_VERIFY_H

#include "state.h"

/* What the file is and names, and whether each library of ours in it is as it must be, a line each on
 * standard output. *SET: the components. DONE, FAILED where it names none, or WRONG. */
int examine(const struct place *place, component_set *set);

/* That, and whether programs that are started now really run on them. An exit status. */
int verify(const struct place *place);

#endif
