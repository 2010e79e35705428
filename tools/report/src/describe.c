#include "describe.h"

#include <inttypes.h>
#include <string.h>

#include <allocate.h>
#include <units.h>

const char *cal__reason_text(uint32_t reason)
{
    static const char *const texts[] = {"", "at exit", "by a call of the program", "by a signal"};
    return reason < sizeof texts / sizeof *texts ? texts[reason] : "";
}

const char *cal__region_text(uint32_t kind)
{
    static const char *const texts[] = {"other",   "slab", "large block",
                                        "mapping", "free", "range of an add-on"};
    return texts[kind < sizeof texts / sizeof *texts ? kind : 0];
}

const char *cal__leak_text(uint32_t kind)
{
    static const char *const texts[] = {"other", "direct", "indirect", "not freed"};
    return texts[kind < sizeof texts / sizeof *texts ? kind : 0];
}

bool cal__is_estimate(const struct cal__profile *profile)
{
    return (profile->process.flags & CAL_PROCESS_SAMPLED) != 0;
}

char *cal__caveat(const struct cal__profile *profile, unsigned which)
{
    const struct cal__file_process *process = &profile->process;
    const struct cal__file_leak_facts *leaks = &profile->leak_facts;
    struct cal__number number;
    unsigned at = 0;
    if (profile->kind == CAL_FILE_TRACE && at++ == which)
        return cal__allocate_format(
            "This is counted from a trace, which knows nothing of leaks, slack and the heap.");
    if (cal__is_estimate(profile) && at++ == which)
        return cal__allocate_format(
            "Samples were taken, one for about each %s: all numbers are estimates.",
            cal__bytes(&number, process->sample_bytes));
    if (process->flags & CAL_PROCESS_LATE && at++ == which)
        return cal__allocate_format(
            "Recording began while the process ran: what it had allocated before is not in it.");
    if (process->flags & CAL_PROCESS_FORKED && at++ == which)
        return cal__allocate_format(
            "The process was forked: what its parent had allocated until then is in it.");
    if (process->flags & CAL_PROCESS_PAUSED && at++ == which)
        return cal__allocate_format("Recording was off for a while.");
    if (process->lost > 0 && at++ == which)
        return cal__allocate_format("%s allocations could not be recorded for want of memory.",
                                    cal__count(&number, process->lost));
    if (profile->has_leak_facts && leaks->flags & CAL_LEAKS_INCOMPLETE && at++ == which)
        return cal__allocate_format("%" PRIu32
                                    " threads could not be looked into: what only they point to "
                                    "may be among the leaks.",
                                    leaks->threads_missed);
    return NULL;
}

void cal__leak_sum(const struct cal__profile *profile, struct cal__leak_sums *sums)
{
    memset(sums, 0, sizeof *sums);
    for (size_t i = 0; i < profile->leak_count; i++) {
        const struct cal__file_leak *leak = &profile->leaks[i];
        uint64_t *blocks = &sums->direct_blocks, *bytes = &sums->direct_bytes;
        if (leak->kind == CAL_LEAK_NOT_FREED)
            blocks = &sums->not_freed_blocks, bytes = &sums->not_freed_bytes;
        else if (leak->suppression != CAL_FILE_NONE)
            blocks = &sums->suppressed_blocks, bytes = &sums->suppressed_bytes;
        else if (leak->kind == CAL_LEAK_INDIRECT)
            blocks = &sums->indirect_blocks, bytes = &sums->indirect_bytes;
        *blocks += leak->blocks;
        *bytes += leak->bytes;
    }
}

char *cal__no_leaks_text(const struct cal__profile *profile)
{
    struct cal__leak_sums sums;
    struct cal__number bytes, blocks;
    cal__leak_sum(profile, &sums);
    if (!profile->has_leak_facts || !(profile->leak_facts.flags & CAL_LEAKS_UNREACHABLE) ||
        sums.direct_blocks + sums.indirect_blocks > 0)
        return NULL;
    const char *where = cal__is_estimate(profile) ? " among the samples" : "";
    if (sums.suppressed_blocks == 0)
        return cal__allocate_format("No leaks%s", where);
    return cal__allocate_format("No leaks%s but suppressed ones: %s in %s block%s", where,
                                cal__bytes(&bytes, sums.suppressed_bytes),
                                cal__count(&blocks, sums.suppressed_blocks),
                                sums.suppressed_blocks == 1 ? "" : "s");
}

void cal__fragmentation(const struct cal__profile *profile, struct cal__fragmentation *sums)
{
    memset(sums, 0, sizeof *sums);
    for (size_t i = 0; i < profile->class_count; i++) {
        sums->live_bytes += profile->classes[i].live * profile->classes[i].block_size;
        sums->mapped += profile->classes[i].mapped;
    }
    for (size_t i = 0; i < profile->region_count; i++)
        if (profile->regions[i].flags & CAL_REGION_DIRTY)
            sums->free_dirty += profile->regions[i].length;
}
