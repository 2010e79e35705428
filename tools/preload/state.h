/* Where the files of a system are, and what its /etc/ld.so.preload says now. */
#ifndef PRELOAD_STATE_H
#define PRELOAD_STATE_H

#include <common/components.h>
#include <common/preload_text.h>

/* Paths of the system below a root folder. */
struct place {
    char *root;    /* "" for / */
    char *preload; /* ROOT/etc/ld.so.preload */
    char *conf;    /* ROOT/etc/calloc/secure.conf */
};

/* False, with a line said, where there is no such folder. NULL is /. */
bool place_open(struct place *place, const char *root);
void place_close(struct place *place);

/* The names in a file's text that are ours, in order; names of others are left out. */
struct preload_names names_of_ours(struct piece text);
struct preload_names names_of_others(struct piece text);

/* The components that a text names, by whatever soname. False where it names none. A name whose component
 * this build does not know is said, and left out. */
bool components_named(struct piece text, component_set *set);

/* What the file is to hold for a set of components: to be freed as names are, and each name too. */
struct preload_names wanted_names(component_set set);
void wanted_names_free(struct preload_names *names);

/* Whether a text names just WANTED of ours, in that order. */
bool names_are(struct piece text, const struct preload_names *wanted);

/* Separated by blanks, as LD_PRELOAD has them. */
void names_join(const struct preload_names *names, struct text *text);

#endif
