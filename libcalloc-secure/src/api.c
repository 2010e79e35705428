/* The public functions. */
#include <calloc/hooks.h>
#include <calloc/secure.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "guard.h"
#include "hardened.h"
#include "hold.h"
#include "large.h"
#include "random.h"
#include "report.h"
#include "slab.h"
#include "wipe.h"

CAL_EXPORT void cal_secure_wipe(void *memory, size_t size)
{
    cal__wipe(memory, size);
}

CAL_EXPORT enum cal_secure_level cal_secure_level(void)
{
    if (!cal__hardened.active)
        return CAL_SECURE_OFF;
    return (enum cal_secure_level)(cal__hardened.settings.level + CAL_SECURE_LIGHT);
}

CAL_EXPORT size_t cal_secure_object_size(const void *pointer)
{
    uint32_t slot;
    const struct cal_slab *slab = cal_slot_find(pointer, &slot);
    if (slab == NULL)
        return SIZE_MAX;
    size_t requested = cal__slab_requested(slab, slot);
    size_t offset =
        (size_t)((const char *)pointer - (const char *)slab->first) - slot * slab->block_size;
    return requested == SIZE_MAX || offset >= requested ? 0 : requested - offset;
}

/* What is found is said after the walk, which holds locks that a handler of SIGABRT may want. */
enum { FINDINGS = 32 };

struct findings {
    unsigned count;
    struct cal__report first[FINDINGS];
};

static bool validate(struct cal_slab *slab, void *argument)
{
    struct findings *findings = argument;
    for (uint32_t slot = 0; slot < slab->slots; slot++) {
        struct cal__report found;
        if (cal__slab_check(slab, slot, &found) || findings->count == INT_MAX)
            continue;
        if (findings->count < FINDINGS)
            findings->first[findings->count] = found;
        findings->count++;
    }
    return true;
}

CAL_EXPORT int cal_secure_validate(void)
{
    struct findings findings = {.count = 0};
    if (cal__hardened.active)
        cal_walk_slabs(validate, &findings);
    for (unsigned i = 0; i < findings.count && i < FINDINGS; i++)
        cal__report(&findings.first[i],
                    cal__settings_consequence(&cal__hardened.settings, findings.first[i].check));
    return (int)findings.count;
}

CAL_EXPORT int cal_secure_state(struct cal_secure_state *state)
{
    if (state == NULL || state->size < sizeof state->size + sizeof state->level)
        return -EINVAL;
    struct cal__guard_counts guards = cal__guard_counts();
    const struct cal_secure_state now = {
        .size = state->size,
        .level = cal_secure_level(),
        .strong_random = cal__random_is_strong(),
        .own_malloc = cal__hardened.own_malloc,
        .held_bytes = cal__hold_bytes(),
        .waiting_bytes = cal__large_waiting(),
        .guards_marked = guards.marked,
        .guards_protected = guards.protected,
        .guards_budget = guards.budget,
        .guards_refused = guards.refused,
    };
    memcpy(state, &now, state->size < sizeof now ? state->size : sizeof now);
    return 0;
}
