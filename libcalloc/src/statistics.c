/* Statistics, derived from pages and heaps when asked for: nothing is counted on the fast paths.
 *
 * A heap knows how many blocks it ever took from its pages; less those still at hand they are its
 * allocations. What is live follows from the pages; the difference was freed. */
#include <calloc/calloc.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "annotate.h"
#include "hooks.h"
#include "large.h"
#include "message.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "owner.h"
#include "span.h"
#include "statistics.h"
#include "thread.h"
#include "walk.h"

static void count_range(const struct cal_range_counts *counts, struct cal_statistics *sum)
{
    sum->allocations += counts->allocations;
    sum->total_allocated += counts->allocated_bytes;
    sum->active_allocations += counts->live;
    sum->active_bytes += counts->live_bytes;
}

static bool count_page(struct cal__page *page, void *argument)
{
    struct cal_statistics *sum = argument;
    if (page->kind == CAL_PAGE_RANGE) {
        struct cal_range_counts counts = cal__owner_counts(page);
        count_range(&counts, sum);
    }
    if (!cal__page_is_slab(page))
        return true;
    struct cal__walk_count live = cal__walk_live(page);
    sum->active_allocations += live.blocks;
    sum->active_bytes += live.bytes;
    size_t touched = (size_t)cal__page_carved(page) * page->block_size;
    size_t idle = touched - cal__min(touched, live.bytes);
    *(live.blocks != 0 ? &sum->fragmentation_bytes : &sum->retained_bytes) += idle;
    return true;
}

static void count_heap(const struct cal__heap *heap, struct cal_statistics *sum)
{
    sum->threads += heap->in_use && heap->thread != 0;
    sum->total_allocated += heap->grown;
    for (unsigned i = 0; i < CAL_CLASSES; i++) {
        size_t count = heap->taken[i] - cal__walk_at_hand(heap, i);
        sum->allocations += count;
        sum->total_allocated += count * cal__class_size(i);
    }
}

__attribute__((no_sanitize("thread"))) struct cal_statistics cal__statistics(void)
{
    struct cal_statistics sum = {.size = sizeof sum};
    cal__annotate_begin();
    cal__thread_lock();
    cal__span_lock();
    for (struct cal__heap *heap = cal__thread_first_heap(); heap != NULL;
         heap = cal__link_get(&heap->next))
        count_heap(heap, &sum);
    cal__span_unlock(false);
    cal__span_walk(count_page, &sum);
    cal__thread_unlock();
    cal__annotate_end();
    struct cal_range_counts past = cal__owner_past();
    count_range(&past, &sum);
    struct cal__large_statistics run = cal__large_statistics(CAL_PAGE_RUN);
    struct cal__large_statistics huge = cal__large_statistics(CAL_PAGE_HUGE);
    struct cal__span_statistics span = cal__span_statistics();
    sum.allocations += run.allocations + huge.allocations;
    sum.total_allocated += run.allocated_bytes + huge.allocated_bytes;
    sum.active_allocations += run.live + huge.live;
    sum.active_bytes += run.live_bytes + huge.live_bytes;
    sum.retained_bytes += span.dirty_bytes;
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
    struct cal_statistics sum = cal__statistics();
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
    struct cal_statistics sum = cal__statistics();
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

void cal__statistics_print(int descriptor)
{
    struct cal_statistics sum = cal__statistics();
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
    row(&text, "retained", sum.retained_bytes / 1024, " KiB");
    row(&text, "fragmentation", (uint64_t)(fragmentation(&sum) * 100 + 0.5), " %");
    cal__text_write(&text, descriptor);
    cal__hooks_print_statistics(descriptor);
}

/* Where the table goes: standard error as it was at the start, because many programs close theirs
 * before destructors run. -1 when no table is wanted. */
static int table_descriptor = -1;
static struct stat table_file;

static bool table_wanted(void)
{
    uint64_t wanted = cal__options.statistics;
    return wanted == 1 || (wanted > 1 && wanted == (uint64_t)getpid());
}

/* Programs that close all they do not know may have opened something else since. */
static bool is_table(int descriptor)
{
    struct stat file;
    return descriptor >= 0 && fstat(descriptor, &file) == 0 && file.st_dev == table_file.st_dev &&
           file.st_ino == table_file.st_ino;
}

__attribute__((constructor)) static void at_start(void)
{
    /* Most processes have no options, and should pay nothing for the question. */
    if (getenv("CALLOC_OPTIONS") == NULL)
        return;
    /* Options are read with the first allocation, if there was none yet. */
    cal__heap_get();
    if (table_wanted() && fstat(STDERR_FILENO, &table_file) == 0)
        table_descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 64);
}

__attribute__((destructor)) static void at_exit(void)
{
    cal__hooks_exiting();
    struct cal__heap *heap = cal__thread_heap;
    if (heap != &cal__heap_empty && cal__annotating == CAL_ANNOTATE_NONE)
        cal__heap_check(heap);
    /* A forked child has the descriptor, but not always the wish. */
    if (table_descriptor < 0 || !table_wanted())
        return;
    if (is_table(table_descriptor))
        cal__statistics_print(table_descriptor);
    else if (is_table(STDERR_FILENO))
        cal__statistics_print(STDERR_FILENO);
}
