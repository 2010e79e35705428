/* Seccomp filters of real programs, rebuilt from what they are known to allow: one table for each, NAME.def,
 * whose lines are
 *
 *   ALLOW("calls")                     REFUSE(error, "calls")
 *   ALLOW_IF("calls", conditions…)     REFUSE_IF(error, "calls", conditions…)
 *
 * The first that fits answers, all else gets the answer that replica_enter() is given. Calls are separated
 * by spaces; one that this architecture or libseccomp does not know is passed over, as these programs do; a
 * word with '@' is a set of systemd-sets.def. At most two conditions, which hold together, on arguments
 * counted from 0 and of 64 bits:
 *
 *   IS(argument, value)              MASKED(argument, mask, value): value in the bits of the mask
 *   WITHIN(argument, bits)           no other bit
 *   OUTSIDE(argument, bits)          some other bit
 *   FUTEX_IS(operation)              in either case private or not, and by either clock */
#ifndef REPLICA_H
#define REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPLICA_CONDITIONS = 2 };

/* How processes of the real program get into its filter. */
enum {
    REPLICA_STARTED = 1, /* by themselves, after their start */
    REPLICA_FORKED = 2,  /* as a child of a process that goes on outside */
    REPLICA_EXECED = 4,  /* before they are started */
};

struct replica_rule {
    const char *calls;
    int error; /* 0: allowed */
    struct {
        unsigned argument;
        enum { REPLICA_NONE, REPLICA_EQUAL, REPLICA_DIFFERENT } test;
        uint64_t mask, value;
    } conditions[REPLICA_CONDITIONS];
};

struct replica {
    const char *name;
    int situations;
    const struct replica_rule *rules;
    size_t rule_count;
};

/* NULL: there is none of that name. */
const struct replica *replica_find(const char *name);
/* The names, then NULL. */
const char *replica_name(size_t index);

/* Whether CALL is allowed with any arguments. */
bool replica_allows(const struct replica *replica, const char *call);

/* From now on, for good. OTHERWISE, a SECCOMP_RET_…, is the answer to what is not in the table. False with
 * errno when the kernel does not want it. Allocates nothing. */
bool replica_enter(const struct replica *replica, uint32_t otherwise);

#endif
