/* What changed between two profiles. Stacks are the same when their functions are, whatever the lines. */
#ifndef CAL_REPORT_DIFF_H
#define CAL_REPORT_DIFF_H

#include "text.h"

void cal__diff_write(FILE *out, const struct cal__view *before, const struct cal__view *after,
                     enum cal__metric metric, const struct cal__report_options *options);

/* "outermost;…;innermost value-before value-after", a line for each stack: for difffolded.pl. */
void cal__diff_collapsed_write(FILE *out, const struct cal__view *before,
                               const struct cal__view *after, enum cal__metric metric);

#endif
