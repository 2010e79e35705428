/* The report as text. */
#ifndef CAL_REPORT_TEXT_H
#define CAL_REPORT_TEXT_H

#include <stdio.h>

#include "view.h"

struct cal__report_options {
    size_t top;   /* sites of each list */
    size_t depth; /* frames of each stack */
};

void cal__report_write(FILE *out, const struct cal__view *view,
                       const struct cal__report_options *options);

/* The stack of a node, innermost frame first, a line each after `indent`. */
void cal__report_stack(FILE *out, const struct cal__view *view, uint32_t node, size_t depth,
                       const char *indent);

#endif
