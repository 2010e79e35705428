/* The public functions. */
#include <calloc/hooks.h>
#include <calloc/secure.h>
#include <errno.h>
#include <string.h>

#include "guard.h"
#include "hardened.h"
#include "hold.h"
#include "large.h"
#include "pages.h"
#include "random.h"
#include "slab.h"
#include "validate.h"
#include "wipe.h"

CAL_EXPORT void cal_secure_wipe(void *memory, size_t size)
{
    cal__wipe(memory, size);
}

CAL_EXPORT enum cal_secure_level cal_secure_level(void)
{
    if (!cal__hardened.active || cal__hardened.shadowed)
        return CAL_SECURE_OFF;
    return (enum cal_secure_level)(cal__hardened.settings.level + CAL_SECURE_LIGHT);
}

static size_t size_from(const struct cal_slab *slab, uint32_t slot, const char *pointer)
{
    size_t requested = cal__slab_requested(slab, slot);
    size_t offset = (size_t)(pointer - (const char *)slab->first) - slot * slab->block_size;
    return requested == SIZE_MAX || offset >= requested ? 0 : requested - offset;
}

CAL_EXPORT size_t cal_secure_object_size(const void *pointer)
{
    struct cal__pages_block own;
    enum cal__pages_place place = cal__pages_find(pointer, &own);
    if (place != CAL_PAGES_FOREIGN)
        return place == CAL_PAGES_NO_BLOCK
                   ? 0
                   : own.requested - (size_t)((const char *)pointer - (const char *)own.block);
    uint32_t slot;
    const struct cal_slab *slab = cal_slot_find(pointer, &slot);
    return slab == NULL ? SIZE_MAX : size_from(slab, slot, pointer);
}

CAL_EXPORT int cal_secure_validate(void)
{
    return cal__hardened.active ? cal__validate(SIZE_MAX) : 0;
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
