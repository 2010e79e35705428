#include "slots_addon.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <valgrind/valgrind.h>

#include "support.h"

/* Bound to the tests of everything else, it is to look like a tool that is told of each block: these
 * add as much, and make the usable size what was asked for. */
#ifdef SLOTS_ADDON_BOUND
#    define CANARY 16
#else
#    define CANARY 8
#endif
#define KEPT_MAX   200
#define FILL_MAX   256
#define FILL       0xa5
#define KIND_SHIFT 56
/* Its own bits of a slot's mark. */
#define BITS(slot) ((slot) ^ 0x2a5a5a5a)

struct slots_addon slots_addon = {.keep_max = 4096};
struct cal_call slots_last_allocated, slots_last_freeing;

/* What is kept, a ring. A spin lock, because nothing here may allocate. */
static atomic_flag lock = ATOMIC_FLAG_INIT;
static void *kept[KEPT_MAX];
static size_t next_kept;

static void acquire(void)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        ;
}

static void release(void)
{
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

/* The state of a slab: for each slot what was asked for, below the kind of the call. */
static size_t state_bytes(uint32_t slots)
{
    return slots * sizeof(size_t);
}

static size_t *state_of(struct cal_slab *slab, uint32_t slot)
{
    require(slab->size == sizeof *slab && slot < slab->slots);
    return (size_t *)slab->state + slot;
}

static size_t requested(size_t state)
{
    return state & (((size_t)1 << KIND_SHIFT) - 1);
}

static void guard(const struct cal_call *call, struct cal_guard *space)
{
    require(space->before == 0 && space->after == 0 && !space->at_end);
    space->before = 1;
    space->after = 5000;
    space->at_end = true;
}

static void protect(struct cal_slab *slab, int protection)
{
    if (slab->slots != 1)
        return;
    char *start = slab->address;
    char *end = start + slab->length;
    char *first = (char *)((uintptr_t)slab->first & ~(uintptr_t)4095);
    char *last = (char *)slab->first + slab->block_size;
    require(first - start >= 4096 && end - last >= 8192 && (uintptr_t)last % 4096 == 0);
    /* Programs of tests may have used up what the kernel allows; they then do without. */
    if (mprotect(start, (size_t)(first - start), protection) != 0)
        require(errno == ENOMEM);
    if (mprotect(last, (size_t)(end - last), protection) != 0)
        require(errno == ENOMEM);
}

static bool open_slab(struct cal_slab *slab)
{
    if (slots_addon.refuse_open)
        return false;
    slots_addon.opened++;
    require(is_zero(slab->state, state_bytes(slab->slots)));
    require((char *)slab->first + slab->slots * slab->block_size <=
            (char *)slab->address + slab->length);
    require(slab->room <= slab->block_size);
    for (uint32_t slot = 0; slot < slab->slots; slot++)
        require((slab->free_slots[slot / 64] >> slot % 64) & 1);
    if (slots_addon.withhold && slab->slots > 1)
        slab->free_slots[0] &= ~(uint64_t)1;
    protect(slab, PROT_NONE);
    return true;
}

static void close_slab(struct cal_slab *slab)
{
    require(!slab->faulting);
    /* What the marks say is no longer used. */
    for (uint32_t slot = 0; slot < slab->slots; slot++)
        require(cal_slot_mark(slab, slot) < CAL_MARK_KEPT);
    if (slots_addon.stay_shut) {
        slots_addon.shut++;
        require(mprotect(slab->address, slab->length, PROT_NONE) == 0);
        slab->faulting = true;
        return;
    }
    slots_addon.closed++;
    if (slots_addon.shut != 0)
        require(mprotect(slab->address, slab->length, PROT_READ | PROT_WRITE) == 0);
    protect(slab, PROT_READ | PROT_WRITE);
}

static bool reopen_slab(struct cal_slab *slab)
{
    slots_addon.reopened++;
    if (slots_addon.refuse_open)
        return false;
    require(*state_of(slab, 0) == 0 && cal_slot_mark(slab, 0) == CAL_MARK_NEVER);
    require(mprotect(slab->address, slab->length, PROT_READ | PROT_WRITE) == 0);
    protect(slab, PROT_NONE);
    return true;
}

static uint32_t choose(struct cal_slab *slab)
{
    static __thread struct random random;
    if (random.state == 0)
        random.state = (uintptr_t)&random;
    uint32_t words = (slab->slots + 63) / 64;
    uint32_t word = (uint32_t)random_below(&random, words);
    while (slab->free_slots[word] == 0)
        word = (word + 1) % words;
    uint64_t bits = slab->free_slots[word];
    for (size_t skip = random_below(&random, (size_t)__builtin_popcountll(bits)); skip > 0; skip--)
        bits &= bits - 1;
    uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
    if (slots_addon.hold) {
        slots_addon.hold = false;
        require(cal_slot_hold(slab, slot) == 0);
        require(cal_slot_hold(slab, slot) == -EINVAL);
        slots_addon.held = (char *)slab->first + slot * slab->block_size;
    }
    return slot;
}

static void canary_of(const void *block, unsigned char canary[CANARY])
{
    for (size_t i = 0; i < CANARY; i++)
        canary[i] = (unsigned char)(((uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15)) >> (8 + i));
}

/* Blocks by themselves have none. */
static void set_canary(const struct cal_slab *slab, void *block, size_t bytes)
{
    if (slab->slots == 1)
        return;
    unsigned char canary[CANARY];
    canary_of(block, canary);
    memcpy((char *)block + bytes, canary, CANARY);
}

static void check_canary(const struct cal_slab *slab, const void *block, size_t bytes)
{
    if (slab->slots == 1)
        return;
    unsigned char canary[CANARY];
    canary_of(block, canary);
    require(memcmp((const char *)block + bytes, canary, CANARY) == 0);
}

static void *allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how)
{
    unsigned kind = how >> CAL_SLOT_KIND_SHIFT;
    require(block == (char *)slab->first + slot * slab->block_size);
    require(bytes + (slab->slots == 1 ? 0 : CANARY) <= slab->room);
    require(cal_slot_mark(slab, slot) < CAL_MARK_KEPT &&
            cal_slot_mark(slab, slot) != CAL_MARK_WITHHELD);
    require(*state_of(slab, slot) == 0);
    /* A child that is forked now leaves the slot alone. */
    cal_slot_set_mark(slab, slot, CAL_MARK_KEPT);
    *state_of(slab, slot) = bytes | (size_t)kind << KIND_SHIFT;
    if ((how & (CAL_SLOT_ZERO | CAL_SLOT_ZEROED)) == CAL_SLOT_ZERO)
        memset(block, 0, bytes);
    set_canary(slab, block, bytes);
    slots_addon.allocated++;
    if (slots_addon.ignore)
        slots_last_allocated = (struct cal_call){.size = sizeof slots_last_allocated,
                                                 .kind = (enum cal_call_kind)kind,
                                                 .zero = (how & CAL_SLOT_ZERO) != 0,
                                                 .bytes = bytes};
    cal_slot_set_mark(slab, slot, CAL_MARK_LIVE | BITS(slot));
    return block;
}

static void check_fill(void *block, size_t length)
{
    for (size_t i = 0; i < length && i < FILL_MAX; i++)
        require(((unsigned char *)block)[i] == FILL);
}

static void let_go(void *block)
{
    uint32_t slot;
    struct cal_slab *slab = cal_slot_find(block, &slot);
    require(slab != NULL && (char *)slab->first + slot * slab->block_size == block);
    require(cal_slot_mark(slab, slot) == (CAL_MARK_KEPT | BITS(slot)));
    check_fill(block, *state_of(slab, slot));
    *state_of(slab, slot) = 0;
    slots_addon.released++;
    require(cal_slot_release(block) == 0);
}

static enum cal_slot_verdict freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call)
{
    require(bits == BITS(slot) && cal_slot_mark(slab, slot) == CAL_MARK_KEPT);
    size_t *state = state_of(slab, slot);
    size_t bytes = requested(*state);
    check_canary(slab, block, bytes);
    require(call->kind >= CAL_CALL_MALLOC && call->kind <= CAL_CALL_NATIVE);
    slots_addon.freed++;
    if (slots_addon.ignore)
        slots_last_freeing = *call;
    if (bytes > slots_addon.keep_max) {
        *state = 0;
        return CAL_SLOT_RELEASE;
    }
    memset(block, FILL, bytes < FILL_MAX ? bytes : FILL_MAX);
    *state = bytes;
    cal_slot_set_mark(slab, slot, CAL_MARK_KEPT | BITS(slot));
    slots_addon.kept++;
    acquire();
    void *oldest = kept[next_kept];
    kept[next_kept] = block;
    next_kept = (next_kept + 1) % KEPT_MAX;
    release();
    if (oldest != NULL)
        let_go(oldest);
    return CAL_SLOT_KEEP;
}

void slots_release_kept(void)
{
    /* A tool is right that these blocks are not to be read; the core says so for the functions of the role. */
    VALGRIND_DISABLE_ERROR_REPORTING;
    for (size_t i = 0; i < KEPT_MAX; i++) {
        acquire();
        void *block = kept[i];
        kept[i] = NULL;
        release();
        if (block != NULL)
            let_go(block);
    }
    VALGRIND_ENABLE_ERROR_REPORTING;
}

static size_t usable(struct cal_slab *slab, uint32_t slot, const void *block)
{
    return requested(*state_of(slab, slot));
}

static bool resize(struct cal_slab *slab, uint32_t slot, void *block, const struct cal_call *call)
{
    if (!slots_addon.in_place)
        return false;
    size_t *state = state_of(slab, slot);
    check_canary(slab, block, requested(*state));
    *state = call->bytes | (*state >> KIND_SHIFT) << KIND_SHIFT;
    set_canary(slab, block, call->bytes);
    slots_addon.resized++;
    return true;
}

static bool error(enum cal_error error, const void *address)
{
    slots_addon.errors[error]++;
    slots_addon.error_address = address;
    return slots_addon.ignore || slots_addon.tolerate;
}

/* Links are encoded in all tests that it is bound to. */
static uint64_t secret(void)
{
    return UINT64_C(0x6a09e667f3bcc908);
}

static bool protect_records(void *address, size_t length, bool readable)
{
    return mprotect(address, length, readable ? PROT_READ : PROT_NONE) == 0;
}

static struct cal_slots slots = {
    .size = sizeof slots,
    .state_bytes = state_bytes,
    .extra = CANARY,
    .guard = guard,
    .open = open_slab,
    .close = close_slab,
    .choose = choose,
    .allocated = allocated,
    .freeing = freeing,
    .usable = usable,
    .resize = resize,
    .error = error,
    .secret = secret,
    .protect = protect_records,
};

void slots_let_rest(void)
{
    slots.reopen = reopen_slab;
}

/* The ring is whole in the child. */
static const struct cal_lifecycle lifecycle = {.size = sizeof lifecycle,
                                               .fork_prepare = acquire,
                                               .fork_parent = release,
                                               .fork_child = release};

const struct cal_hooks slots_hooks = {.size = sizeof slots_hooks,
                                      .version = CAL_HOOKS_VERSION,
                                      .name = "slots",
                                      .component_version = "1",
                                      .slots = &slots,
                                      .lifecycle = &lifecycle};

#ifdef SLOTS_ADDON_BOUND
extern const struct cal_hooks cal_addon_secure;
const struct cal_hooks cal_addon_secure = {.size = sizeof slots_hooks,
                                           .version = CAL_HOOKS_VERSION,
                                           .name = "slots",
                                           .component_version = "1",
                                           .slots = &slots,
                                           .lifecycle = &lifecycle};
#endif
