#include "rules.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/random.h>

/* Newer than some C libraries. */
#ifndef MADV_POPULATE_WRITE
#    define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#    define MADV_GUARD_INSTALL 102
#    define MADV_GUARD_REMOVE  103
#endif

/* All 64 bits are compared, also of what is an int to the kernel: a number that differs only above
 * is not the allocator's. */
#define IS(argument, name, value)         \
    {                                     \
        argument, SCMP_CMP_EQ, (value), 0 \
    }
#define WITHIN(argument, name, bits)                           \
    {                                                          \
        argument, SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(bits), 0 \
    }
#define RULE(call, user, why, ...) {SCMP_SYS(call), #call, #user, {__VA_ARGS__}},

const struct cal__rule cal__rules[] = {
#include "rules.def"
};

const size_t cal__rule_count = sizeof cal__rules / sizeof *cal__rules;

int cal__rule_add(scmp_filter_ctx filter, const struct cal__rule *rule)
{
    unsigned count = 0;
    while (count < CAL_CONDITIONS && rule->conditions[count].op != 0)
        count++;
    /* "Exact" refuses a filter of several architectures: on others the arguments may mean something
     * else, and i386 has an mmap whose arguments no filter can see. */
    return seccomp_rule_add_exact_array(filter, SCMP_ACT_ALLOW, rule->call, count,
                                        rule->conditions);
}
