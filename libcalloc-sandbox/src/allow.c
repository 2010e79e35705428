#include <calloc/sandbox.h>

#include <errno.h>
#include <stdint.h>

#include "export.h"
#include "rules.h"

/* Adds all rules, or returns the error of one. *ADDED tells how many are in the filter. */
static int add_all(scmp_filter_ctx filter, size_t *added)
{
    for (*added = 0; *added < cal__rule_count; ++*added) {
        int error = cal__rule_add(filter, &cal__rules[*added]);
        if (error != 0)
            return error;
    }
    return 0;
}

/* On a filter of its own: what fails here fails while the caller's is untouched. And what memory it
 * takes is free for the other rules afterwards, since libseccomp copies the caller's own ones at the
 * first rule that is added, and only then. */
static int rehearse(uint32_t answer)
{
    scmp_filter_ctx filter = seccomp_init(answer);
    if (filter == NULL)
        return -ENOMEM;
    size_t added;
    int error = add_all(filter, &added);
    seccomp_release(filter);
    return error;
}

CAL_EXPORT int cal_sandbox_allow(scmp_filter_ctx filter)
{
    uint32_t answer;
    int error = seccomp_attr_get(filter, SCMP_FLTATR_ACT_DEFAULT, &answer);
    if (error != 0)
        return error;
    if (seccomp_arch_exist(filter, SCMP_ARCH_NATIVE) != 0)
        return -EDOM;
    error = rehearse(answer);
    if (error != 0)
        return error;
    size_t added;
    error = add_all(filter, &added);
    /* A rule cannot be taken out again, but the whole of an architecture can, which needs no memory;
     * and a filter without any cannot be loaded. */
    if (error != 0 && added != 0)
        seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
    return error;
}
