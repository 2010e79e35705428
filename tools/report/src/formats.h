/* The report in the formats of other programs. All are written to `out`; errors of writing are
 * left for ferror(). */
#ifndef CAL_REPORT_FORMATS_H
#define CAL_REPORT_FORMATS_H

#include <stdio.h>

#include "view.h"

/* "outermost;…;innermost value", a line for each stack that has any: for flame graph scripts. */
void cal__collapsed_write(FILE *out, const struct cal__view *view, enum cal__metric metric);

/* For valgrind's ms_print: the time line, with the stacks at the peak and at the end. */
void cal__massif_write(FILE *out, const struct cal__view *view);

/* A profile.proto of pprof, compressed by gzip. False: no compression for want of memory. */
bool cal__pprof_write(FILE *out, const struct cal__view *view);

/* All of it; the page has the same. */
void cal__json_write(FILE *out, const struct cal__view *view);

/* A page that needs nothing else. */
void cal__html_write(FILE *out, const struct cal__view *view);

#endif
