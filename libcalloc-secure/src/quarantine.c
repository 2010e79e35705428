#include "quarantine.h"

_Static_assert(CAL_QUARANTINE_PLACES_MAX <= 65536, "a place is drawn with 16 bits");

bool cal__quarantine_initialize(struct cal__quarantine *quarantine, void *memory, uint32_t random,
                                uint32_t queue, size_t limit)
{
    if (random == 0 || random > CAL_QUARANTINE_PLACES_MAX || queue == 0 ||
        queue > CAL_QUARANTINE_PLACES_MAX || (queue & (queue - 1)) != 0)
        return false;
    size_t largest = limit / 8;
    *quarantine = (struct cal__quarantine){
        .limit = limit,
        .largest = largest < CAL_QUARANTINE_BLOCK_MAX ? largest : CAL_QUARANTINE_BLOCK_MAX,
        .random = random,
        .queue = queue,
        .entries = memory,
    };
    return true;
}

/* The last of those that wait takes the place. */
static bool take_waiting(struct cal__quarantine *quarantine, uint32_t place,
                         struct cal__quarantined *out)
{
    uint64_t *waiting = quarantine->entries;
    uint64_t entry = waiting[place];
    waiting[place] = waiting[--quarantine->waiting];
    return cal__quarantine_leave(quarantine, entry, out);
}

CAL_NOINLINE bool cal__quarantine_pop_waiting(struct cal__quarantine *quarantine,
                                              struct cal__random *random,
                                              struct cal__quarantined *out)
{
    /* Not the last, which may have come just now. */
    uint32_t choices = quarantine->waiting - (quarantine->waiting > 1);
    return take_waiting(quarantine, cal__random_below_small(random, choices), out);
}

bool cal__quarantine_drain(struct cal__quarantine *quarantine, struct cal__quarantined *out)
{
    if (quarantine->queued != 0)
        return cal__quarantine_pop_queue(quarantine, out);
    if (quarantine->waiting != 0)
        return take_waiting(quarantine, quarantine->waiting - 1, out);
    return false;
}
