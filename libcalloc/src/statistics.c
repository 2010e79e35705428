/* Statistics, derived from pages and heaps when asked for: nothing is counted on the fast paths.
 *
 * A heap knows how many blocks it ever took from its pages; less those still at hand they are its
 * allocations. What is live follows from the pages; the difference was freed. */
#include <calloc/calloc.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "annotate.h"
#include "hooks.h"
#include "huge.h"
#include "message.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "run.h"
#include "span.h"
#include "thread.h"
#include "walk.h"

static bool count_page(struct cal__page *page, void *argument)
{
    struct cal_statistics *sum = argument;
    if (page->kind != CAL_PAGE_SLAB)
        return true;
    struct cal__walk_count live = cal__walk_live(page);
    sum->active_allocations += live.blocks;
    sum->active_bytes += live.bytes;
    size_t touched = (size_t)cal__page_carved(page) * page->block_size;
    sum->fragmentation_bytes += touched - cal__min(touched, live.bytes);
    return true;
}

static void count_heap(const struct cal__heap *heap, struct cal_statistics *sum)
{
    sum->threads += heap->in_use;
    sum->total_allocated += heap->grown;
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        size_t count = heap->taken[i] - cal__walk_at_hand(heap, i);
        sum->allocations += count;
        sum->total_allocated += count * cal__class_size(i);
    }
}

__attribute__((no_sanitize("thread"))) static struct cal_statistics collect(void)
{
    struct cal_statistics sum = {.size = sizeof sum};
    cal__annotate_begin();
    cal__thread_lock();
    cal__span_lock();
    for (struct cal__heap *heap = cal__thread_first_heap(); heap != NULL; heap = heap->next)
        count_heap(heap, &sum);
    cal__span_unlock(false);
    cal__thread_unlock();
    cal__span_walk(count_page, &sum);
    cal__annotate_end();
    struct cal__run_statistics run = cal__run_statistics();
    struct cal__huge_statistics huge = cal__huge_statistics();
    struct cal__span_statistics span = cal__span_statistics();
    sum.allocations += run.allocations + huge.allocations;
    sum.total_allocated += run.allocated_bytes + huge.allocated_bytes;
    sum.active_allocations += run.live + huge.live;
    sum.active_bytes += run.live_bytes + huge.live_bytes;
    sum.fragmentation_bytes += span.dirty_bytes + huge.cached_bytes;
    sum.free_bytes = span.clean_bytes;
    sum.metadata_bytes = cal__metadata_bytes();
    sum.os_memory_mapped = cal__os_mapped();
    sum.os_memory_mapped_peak = cal__os_mapped_peak();
    /* While other threads run, what is counted second may be ahead of what was counted first. */
    sum.deallocations = sum.allocations - cal__min(sum.allocations, sum.active_allocations);
    sum.total_freed = sum.total_allocated - cal__min(sum.total_allocated, sum.active_bytes);
    return sum;
}

CAL_EXPORT int cal_stats(struct cal_statistics *statistics)
{
    if (statistics == NULL || statistics->size < 2 * sizeof(size_t))
        return -EINVAL;
    struct cal_statistics sum = collect();
    sum.size = statistics->size;
    memcpy(statistics, &sum, cal__min(statistics->size, sizeof sum));
    return 0;
}

static double fragmentation(const struct cal_statistics *sum)
{
    size_t whole = sum->active_bytes + sum->fragmentation_bytes;
    return whole == 0 ? 0 : (double)sum->fragmentation_bytes / (double)whole;
}

CAL_EXPORT double cal_fragmentation(void)
{
    struct cal_statistics sum = collect();
    return fragmentation(&sum);
}

/* The table. */

static void row(struct cal__text *text, const char *name, uint64_t value, const char *unit)
{
    cal__text_string(text, "  ");
    cal__text_string(text, name);
    for (size_t i = strlen(name); i < 16; i++)
        cal__text_string(text, " ");
    cal__text_padded(text, value, 14);
    cal__text_string(text, unit);
    cal__text_string(text, "\n");
}

static void print_table(int descriptor)
{
    struct cal_statistics sum = collect();
    struct rusage usage = {.ru_maxrss = 0};
    getrusage(RUSAGE_SELF, &usage);
    struct cal__text text = {.length = 0};
    cal__text_string(&text, "libcalloc statistics of process ");
    cal__text_decimal(&text, (uint64_t)getpid());
    cal__text_string(&text, "\n");
    row(&text, "allocations", sum.allocations, "");
    row(&text, "frees", sum.deallocations, "");
    row(&text, "live blocks", sum.active_allocations, "");
    row(&text, "live", sum.active_bytes / 1024, " KiB");
    row(&text, "mapped", sum.os_memory_mapped / 1024, " KiB");
    row(&text, "peak mapped", sum.os_memory_mapped_peak / 1024, " KiB");
    row(&text, "peak resident", (uint64_t)usage.ru_maxrss, " KiB");
    row(&text, "fragmentation", (uint64_t)(fragmentation(&sum) * 100 + 0.5), " %");
    cal__text_write(&text, descriptor);
    cal__hooks_print_statistics(descriptor);
}

__attribute__((destructor)) static void at_exit(void)
{
    cal__hooks_exiting();
    struct cal__heap *heap = cal__thread_heap;
    if (heap != &cal__heap_empty && cal__annotating == CAL_ANNOTATE_NONE)
        cal__heap_check(heap);
    uint64_t wanted = cal__options.statistics;
    if (wanted == 1 || (wanted > 1 && wanted == (uint64_t)getpid()))
        print_table(STDERR_FILENO);
}

/* glibc's questions. */

#ifdef CAL_FAMILY_PREFIX
#    include "family.h"
struct mallinfo2 mallinfo2(void);
struct mallinfo mallinfo(void);
int mallopt(int parameter, int value);
int malloc_trim(size_t pad);
void malloc_stats(void);
int malloc_info(int options, FILE *stream);
#endif

CAL_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct cal_statistics sum = collect();
    struct cal__huge_statistics huge = cal__huge_statistics();
    struct cal__span_statistics span = cal__span_statistics();
    return (struct mallinfo2){
        .arena = span.segment_bytes,
        .ordblks = span.dirty_runs + span.clean_runs,
        .hblks = huge.live,
        .hblkhd = huge.live_bytes,
        .uordblks = sum.active_bytes - huge.live_bytes,
        .fordblks = sum.fragmentation_bytes + sum.free_bytes,
        .keepcost = span.dirty_bytes + huge.cached_bytes,
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
    print_table(STDERR_FILENO);
}

CAL_EXPORT int malloc_info(int options, FILE *stream)
{
    if (options != 0)
        return EINVAL;
    struct cal_statistics sum = collect();
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
