/* calloc-preload enable, refresh. */
#ifndef PRELOAD_ENABLE_H
#define PRELOAD_ENABLE_H

#include "state.h"

/* Names the libraries of SET in the file, after a trial; LEVEL may be NULL. An exit status. */
int enable(const struct place *place, component_set set, const char *level);

/* Brings the names in the file up to the sonames of this version, where it names any of ours. */
int refresh(const struct place *place);

#endif
