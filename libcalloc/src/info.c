/* What glibc's malloc can be asked, answered in its terms. */
#include <calloc/calloc.h>
#include <errno.h>
#include <unistd.h>

#include "base.h"
#include "family.h"
#include "large.h"
#include "span.h"
#include "statistics.h"

CAL_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct cal_statistics sum = cal__statistics();
    struct cal__large_statistics huge = cal__large_statistics(CAL_PAGE_HUGE);
    struct cal__span_statistics span = cal__span_statistics();
    return (struct mallinfo2){
        .arena = span.segment_bytes,
        .ordblks = span.dirty_runs + span.clean_runs,
        .hblks = huge.live,
        .hblkhd = huge.live_bytes,
        .uordblks = sum.active_bytes - cal__min(sum.active_bytes, huge.live_bytes),
        .fordblks = sum.fragmentation_bytes + sum.retained_bytes + sum.free_bytes,
        .keepcost = span.dirty_bytes,
    };
}

/* The old form, whose fields wrap as glibc's do. */
CAL_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 info = mallinfo2();
    return (struct mallinfo){
        .arena = (int)info.arena,
        .ordblks = (int)info.ordblks,
        .hblks = (int)info.hblks,
        .hblkhd = (int)info.hblkhd,
        .uordblks = (int)info.uordblks,
        .fordblks = (int)info.fordblks,
        .keepcost = (int)info.keepcost,
    };
}

/* 1 for the parameters that glibc knows: they tune what this allocator does otherwise, so there is
 * nothing to do and nothing went wrong. */
CAL_EXPORT int mallopt(int parameter, int value)
{
    (void)value;
    switch (parameter) {
    case M_MXFAST:
    case M_TRIM_THRESHOLD:
    case M_TOP_PAD:
    case M_MMAP_THRESHOLD:
    case M_MMAP_MAX:
    case M_CHECK_ACTION:
    case M_PERTURB:
    case M_ARENA_TEST:
    case M_ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}

CAL_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    return cal_trim();
}

CAL_EXPORT void malloc_stats(void)
{
    cal__statistics_print(STDERR_FILENO);
}

CAL_EXPORT int malloc_info(int options, FILE *stream)
{
    if (options != 0)
        return EINVAL;
    struct cal_statistics sum = cal__statistics();
    fprintf(stream,
            "<malloc version=\"libcalloc %s\">\n"
            "<total type=\"allocated\" count=\"%zu\" size=\"%zu\"/>\n"
            "<total type=\"live\" count=\"%zu\" size=\"%zu\"/>\n"
            "<system type=\"current\" size=\"%zu\"/>\n"
            "<system type=\"max\" size=\"%zu\"/>\n"
            "</malloc>\n",
            cal_version(), sum.allocations, sum.total_allocated, sum.active_allocations,
            sum.active_bytes, sum.os_memory_mapped, sum.os_memory_mapped_peak);
    return 0;
}
