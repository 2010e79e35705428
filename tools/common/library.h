/* Looking at the library files that are to be preloaded, or are. */
#ifndef TOOLS_LIBRARY_H
#define TOOLS_LIBRARY_H

#include "components.h"
#include "text.h"

/* What is wrong with the library NAME of a preload list, in words, added to WRONG; false where something
 * is. ROOT is "" for /. */
bool library_is_good(const char *root, struct piece name, struct text *wrong);

/* Whether a name in the file is a malloc of somebody else's: 1 and why is added to WHY; 0; or -1 where
 * that cannot be told, and why. */
int library_is_malloc(const char *root, struct piece name, struct text *why);

#endif
