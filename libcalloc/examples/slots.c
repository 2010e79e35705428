/* An add-on with the role slots: eight bytes behind each block tell whether the program wrote beyond it. */
#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define CANARY UINT64_C(0x9d3c5a7b00ff10e7)

static atomic_size_t overflows;

/* Blocks by themselves, of more than 128 KiB, have no canary; these end in their slabs. */
static bool has_canary(const struct cal_slab *slab)
{
    return slab->slots > 1;
}

/* The bits of a block's mark are how many bytes were asked for. */
static void *allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how)
{
    const uint64_t canary = CANARY;
    if ((how & (CAL_SLOT_ZERO | CAL_SLOT_ZEROED)) == CAL_SLOT_ZERO)
        memset(block, 0, bytes);
    if (has_canary(slab))
        memcpy((char *)block + bytes, &canary, sizeof canary);
    cal_slot_set_mark(slab, slot, CAL_MARK_LIVE | (has_canary(slab) ? (uint32_t)bytes : 0));
    return block;
}

static enum cal_slot_verdict freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call)
{
    (void)slot;
    (void)call;
    uint64_t found = CANARY;
    if (has_canary(slab))
        memcpy(&found, (char *)block + bits, sizeof found);
    if (found != CANARY)
        atomic_fetch_add(&overflows, 1);
    return CAL_SLOT_RELEASE;
}

static size_t usable(struct cal_slab *slab, uint32_t slot, const void *block)
{
    (void)block;
    return has_canary(slab) ? cal_slot_mark(slab, slot) & CAL_MARK_ROLE : slab->room;
}

static const struct cal_slots slots = {
    .size = sizeof slots,
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
