/* What the system lets processes have. */
#ifndef CALLOC_SYSTEM_H
#define CALLOC_SYSTEM_H

#include <sys/types.h>

#include "output.h"

/* Huge pages, overcommit, NUMA nodes. */
void system_memory(struct output *output);

/* The limits of a process (0: of this one) that hurt. */
void system_limits(struct output *output, pid_t process);

#endif
