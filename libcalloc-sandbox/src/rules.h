/* The table of rules.def as data. */
#ifndef CAL_RULES_H
#define CAL_RULES_H

#include <seccomp.h>
#include <stddef.h>

enum { CAL_CONDITIONS = 2 };

struct cal__rule {
    int call; /* SCMP_SYS(name) */
    const char *name;
    const char *user;
    struct scmp_arg_cmp conditions[CAL_CONDITIONS]; /* those with an `op` of 0 are not there */
};

extern const struct cal__rule cal__rules[];
extern const size_t cal__rule_count;

/* Allows what the rule says: 0, or a negative errno, and then FILTER has not changed. */
int cal__rule_add(scmp_filter_ctx filter, const struct cal__rule *rule);

#endif
