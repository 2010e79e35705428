#include "link.h"

#include <string.h>

#include "message.h"
#include "os.h"

union cal__sealed_page cal__sealed_page __attribute__((aligned(CAL_SEALED_BYTES)));

/* Newton's iteration: each step doubles the bits that are right, of which three are from the start. */
static uint64_t inverse_of(uint64_t odd)
{
    uint64_t inverse = odd;
    for (int i = 0; i < 5; i++)
        inverse *= 2 - odd * inverse;
    return inverse;
}

void cal__link_start(const struct cal_slots *role, bool early)
{
    struct cal__sealed_values *sealed = &cal__sealed;
    /* What an older add-on does not know is NULL. */
    memcpy(&sealed->slots, role, cal__min(role->size, sizeof sealed->slots));
    uint64_t decode = early && sealed->slots.secret != NULL ? sealed->slots.secret() | 1 : 1;
    /* Others may follow links meanwhile, with the same number: they take 0 for 1. */
    atomic_store_explicit(&sealed->decode, decode, memory_order_relaxed);
    atomic_store_explicit(&sealed->encode, inverse_of(decode), memory_order_relaxed);
    sealed->last = ((uint64_t)1 << CAL_ADDRESS_BITS) - 1;
    atomic_store_explicit(&sealed->playing, true, memory_order_release);
    /* With larger pages other data would be sealed with it. */
    if (cal__os_page_size() == CAL_SEALED_BYTES)
        cal__link_seal(sealed);
}

bool cal__link_guards(void)
{
    return CAL_UNLIKELY(cal__sealed.slots.protect != NULL);
}

void cal__link_guard(void *page)
{
    if (cal__link_guards())
        cal__sealed.slots.protect(page, cal__os_page_size(), false);
}

void cal__link_seal(void *page)
{
    if (cal__link_guards())
        cal__sealed.slots.protect(page, cal__os_page_size(), true);
}

bool cal__link_scatters(void)
{
    return CAL_UNLIKELY(cal__sealed.slots.place != NULL);
}

uint64_t cal__link_place(uint64_t limit)
{
    if (!cal__link_scatters())
        return 0;
    return (uint64_t)((unsigned __int128)cal__sealed.slots.place() * limit >> 64);
}

void *cal__link_follow(uint64_t word, const void *record)
{
    uint64_t address = cal__link_decoded(word);
    if (CAL_UNLIKELY(address >> CAL_ADDRESS_BITS != 0))
        cal__link_broken(record);
    return (void *)address;
}

CAL_COLD void cal__link_broken(const void *record)
{
    cal__fatal("corrupted metadata", record);
}
