#include "validate.h"

#include <calloc/hooks.h>
#include <limits.h>

#include "hardened.h"
#include "pages.h"
#include "report.h"
#include "slab.h"

/* What is found is said after the walk, which holds locks that a handler of SIGABRT may want. */
enum { FINDINGS = 32 };

struct findings {
    size_t budget; /* bytes that are still to be looked at */
    unsigned count;
    struct cal__report first[FINDINGS];
};

static bool validate(struct cal_slab *slab, void *argument)
{
    struct findings *findings = argument;
    for (uint32_t slot = 0; slot < slab->slots; slot++) {
        struct cal__report found;
        if (!cal__slab_is_used(slab, slot))
            continue;
        /* Of a block by itself the slack is looked at, and no more. */
        size_t cost = slab->slots == 1 ? CAL_BLOCK_ALIGNMENT : slab->room;
        if (findings->budget < cost)
            return false;
        findings->budget -= cost;
        if (cal__slab_check(slab, slot, &found) || findings->count == INT_MAX)
            continue;
        if (findings->count < FINDINGS)
            findings->first[findings->count] = found;
        findings->count++;
    }
    return true;
}

int cal__validate(size_t budget)
{
    struct findings findings = {.budget = budget};
    cal_walk_slabs(validate, &findings);
    for (unsigned i = 0; i < findings.count && i < FINDINGS; i++)
        cal__report(&findings.first[i],
                    cal__settings_consequence(&cal__hardened.settings, findings.first[i].check));
    size_t all = findings.count + cal__pages_validate();
    return all > INT_MAX ? INT_MAX : (int)all;
}
