/* The lines that the libraries' own readers of options and settings write about mistakes: the tools link
 * these readers, so that there is one of each, and show the lines in their own places. The linker hands
 * their calls to us (--wrap, see tools/meson.build). */
#ifndef TOOLS_CAPTURE_H
#define TOOLS_CAPTURE_H

#include "text.h"

/* From now on such lines are added to LINES, each with its end and without "libcalloc: "; with NULL they go
 * to standard error, as in the libraries. */
void capture_lines(struct text *lines);

/* For the readers of options, whose library has a function of its own for lines: takes LINE, without its end. False: lines
 * go to standard error. */
bool capture_line(struct piece line);

#endif
