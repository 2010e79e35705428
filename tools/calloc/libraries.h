/* Where the libraries are that the commands use. */
#ifndef CALLOC_LIBRARIES_H
#define CALLOC_LIBRARIES_H

#include <common/components.h>

/* A folder of libraries, or a build tree, in place of where they are installed. */
#define LIBRARIES_VARIABLE "CALLOC_LIBRARIES"

/* How ld.so is told of a library: from FOLDER; NULL: from that of the variable; without one: where it is
 * installed. It need not be there. */
void libraries_name(const char *folder, const struct component *component, struct text *name);

#endif
