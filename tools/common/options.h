/* The options of a process, as the libraries themselves read them: the tables, the parsers and the reader
 * of /etc/calloc/secure.conf are theirs. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdint.h>

#include "text.h"

#define OPTIONS_CONF_PATH "/etc/calloc/secure.conf"

struct option_fact {
    const char *name;  /* as in CALLOC_OPTIONS: "retain", "secure.level" */
    const char *value; /* as a user would write it */
    const char *standard;
    const char *help;
};

typedef void option_visitor(const struct option_fact *fact, void *data);

/* Where the options of a process come from. */
struct option_source {
    const char *options; /* CALLOC_OPTIONS; "" where it is not set or does not count */
    const char *file;    /* the path of its secure.conf */
    const char *program; /* its executable, without symbolic links; "": not known */
};

/* Visits each option with the value that is in force. Lines about what the libraries would complain of are
 * added to COMPLAINTS. */
void options_visit_core(const struct option_source *source, option_visitor *visit, void *data,
                        struct text *complaints);
void options_visit_secure(const struct option_source *source, option_visitor *visit, void *data,
                          struct text *complaints);
void options_visit_track(const struct option_source *source, option_visitor *visit, void *data,
                         struct text *complaints);
/* Those of all that have any. */
void options_visit(const struct option_source *source, option_visitor *visit, void *data,
                   struct text *complaints);

/* What matters most of the settings of libcalloc-secure. */
struct option_secure {
    bool enable;
    const char *level; /* "light", "standard", "paranoid" */
};
struct option_secure options_secure(const struct option_source *source, struct text *complaints);

/* What a secure.conf of this TEXT says for all programs. NAME is for complaints. */
struct option_secure options_secure_text(struct piece text, const char *name,
                                         struct text *complaints);

/* Whether "name=value" can stand in CALLOC_OPTIONS; if not, why is added to COMPLAINTS. What is of an
 * add-on of others is not looked at. */
bool options_check(const char *item, struct text *complaints);

/* Parts of the above for the files that implement it. */
void options_check_core(const char *item, struct text *complaints);
void options_check_secure(const char *item, struct text *complaints);
void options_check_track(const char *item, struct text *complaints);
void options_write_value(uint64_t value, bool bytes, struct text *text);

#endif
