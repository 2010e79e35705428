/* What the kernel can do of what the libraries use, found by trying it: versions say little, as kernels
 * have things ported back and sandboxes refuse them. */
#ifndef CALLOC_PROBE_H
#define CALLOC_PROBE_H

#include "output.h"

/* A fact for each. */
void probe_kernel(struct output *output);

#endif
