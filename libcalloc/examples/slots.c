/* An add-on with the role slots: eight bytes behind each block tell whether the program wrote beyond it. */
#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define CANARY UINT64_C(0x9d3c5a7b00ff10e7)

static atomic_size_t overflows;

/* A slab's state: how many bytes were asked for, slot by slot. */
static size_t state_bytes(uint32_t slots)
{
    return slots * sizeof(size_t);
}

static size_t *requested(struct cal_slab *slab, uint32_t slot)
{
    return (size_t *)slab->state + slot;
}

static bool allocated(struct cal_slab *slab, uint32_t slot, void *block,
                      const struct cal_call *call)
{
    const uint64_t canary = CANARY;
    *requested(slab, slot) = call->bytes;
    memcpy((char *)block + call->bytes, &canary, sizeof canary);
    return false;
}

static enum cal_slot_verdict freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                     const struct cal_call *call)
{
    (void)call;
    uint64_t found;
    memcpy(&found, (char *)block + *requested(slab, slot), sizeof found);
    if (found != CANARY)
        atomic_fetch_add(&overflows, 1);
    return CAL_SLOT_RELEASE;
}

static size_t usable(struct cal_slab *slab, uint32_t slot, const void *block)
{
    (void)block;
    return *requested(slab, slot);
}

static const struct cal_slots slots = {
    .size = sizeof slots,
    .state_bytes = state_bytes,
    .extra = sizeof(uint64_t),
    .allocated = allocated,
    .freeing = freeing,
    .usable = usable,
};

static const struct cal_hooks hooks = {
    .size = sizeof hooks,
    .version = CAL_HOOKS_VERSION,
    .name = "canary",
    .component_version = "1.0.0",
    .slots = &slots,
};

int main(void)
{
    if (cal_hooks_register(&hooks) != 0)
        return 1;
    char *good = cal_allocate(10);
    char *bad = cal_allocate(10);
    struct cal_slab *slab = cal_slot_find(good, NULL);
    if (slab == NULL)
        return 1;
    printf("blocks of 10 bytes are in slots of %zu\n", slab->block_size);
    char *volatile end = bad + 10;
    *end = 'x';
    cal_deallocate(good);
    cal_deallocate(bad);
    printf("%zu overflows seen\n", atomic_load(&overflows));
    return atomic_load(&overflows) == 1 ? 0 : 1;
}
