/* The options of CALLOC_OPTIONS=name=value,... Everything about an option is in options.def. */
#ifndef CAL_OPTIONS_H
#define CAL_OPTIONS_H

#include "base.h"

struct cal__options {
#define OPTION(name, type, standard, minimum, maximum, help) uint64_t name;
#include "options.def"
#undef OPTION
};

extern struct cal__options cal__options;

/* Sets the options that TEXT names; one warning line for each it cannot use. */
void cal__options_parse(const char *text);
/* Parses CALLOC_OPTIONS, unless the process runs with more rights than its user. */
void cal__options_initialize(void);

#endif
