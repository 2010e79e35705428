#include <calloc/track.h>
#include <errno.h>
#include <string.h>

#include "base.h"
#include "memory.h"
#include "nodes.h"
#include "record.h"
#include "session.h"
#include "thread.h"

CAL_EXPORT const char *cal_track_version(void)
{
    return CAL_TRACK_VERSION;
}

CAL_EXPORT int cal_track_start(void)
{
    return cal__session_switch(true);
}

CAL_EXPORT int cal_track_stop(void)
{
    return cal__session_switch(false);
}

CAL_EXPORT bool cal_track_active(void)
{
    return cal__session_active();
}

CAL_EXPORT int cal_track_dump(const char *path, bool leaks)
{
    return cal__session_dump(CAL_DUMP_CALL, path, leaks);
}

/* Copies FROM, of which the first field is the size, as far as the caller knows it. */
static int hand_out(void *to, const void *from, size_t known)
{
    size_t size;
    memcpy(&size, to, sizeof size);
    if (size <= sizeof size || size > 1 << 16)
        return -EINVAL;
    size_t bytes = size < known ? size : known;
    memcpy((char *)to + sizeof size, (const char *)from + sizeof size, bytes - sizeof size);
    return 0;
}

CAL_EXPORT int cal_track_leaks(struct cal_track_leaks *leaks)
{
    struct cal__leaks found;
    struct cal_track_leaks result = {.size = sizeof result};
    if (leaks->size <= sizeof leaks->size)
        return -EINVAL;
    int error = cal__session_leaks(&found);
    if (error != 0)
        return error;
    result.blocks = found.leaked_blocks;
    result.bytes = found.leaked_bytes;
    result.suppressed_blocks = found.suppressed_blocks;
    result.live_blocks = found.live_blocks;
    result.live_bytes = found.live_bytes;
    result.incomplete = (found.facts.flags & CAL_LEAKS_INCOMPLETE) != 0;
    for (size_t i = 0; i < found.count; i++) {
        const struct cal__file_leak *leak = &found.leaks[i];
        if (leak->kind != CAL_LEAK_DIRECT || leak->suppression != CAL_FILE_NONE)
            continue;
        result.direct_blocks += leak->blocks;
        result.direct_bytes += leak->bytes;
    }
    cal__leaks_free(&found);
    return hand_out(leaks, &result, sizeof result);
}

CAL_EXPORT int cal_track_totals(struct cal_track_totals *totals)
{
    struct cal_track_totals result = {.size = sizeof result};
    if (totals->size <= sizeof totals->size)
        return -EINVAL;
    if (!cal__session_begun())
        return -ECANCELED;
    struct cal__totals sums = cal__thread_totals();
    result.allocations = sums.allocations;
    result.allocated_bytes = sums.allocated_bytes;
    result.frees = sums.frees;
    result.freed_bytes = sums.freed_bytes;
    for (const struct cal__thread *thread = cal__thread_first(); thread != NULL;
         thread = thread->next)
        result.lost += cal__count_get(&thread->lost) + cal__count_get(&thread->missed);
    result.peak_bytes =
        (uint64_t)atomic_load_explicit(&cal__record_peak.bytes, memory_order_relaxed);
    result.stacks = cal__sites_count() - 1;
    result.own_bytes = cal__memory_mapped();
    return hand_out(totals, &result, sizeof result);
}
