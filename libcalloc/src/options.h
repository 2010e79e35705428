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

/* Sets the options that TEXT names, those of add-ons apart; one warning line for each it cannot use. */
void cal__options_parse(const char *text);
/* Parses CALLOC_OPTIONS, unless the process runs with more rights than its user. */
void cal__options_initialize(void);

/* Hands each item "NAME.option=value" to OPTION, from after the dot, not ended by '\0'. */
void cal__options_hand_out(const char *name, void (*option)(const char *item, size_t length));
/* A line for each item of an add-on that TAKES does not know by its name. */
void cal__options_warn_of_unknown(bool (*takes)(const char *name, size_t length));

#endif
