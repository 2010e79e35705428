#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <allocate.h>
#include <units.h>

#include "describe.h"

void cal__report_stack(FILE *out, const struct cal__view *view, uint32_t node, size_t depth,
                       const char *indent)
{
    size_t left = 0;
    for (; node != 0; node = view->nodes[node].parent) {
        if (depth == 0) {
            left++;
            continue;
        }
        depth--;
        const char *place = cal__view_place(view, node);
        fprintf(out, "%s%s%s%s%s%s\n", indent, cal__view_function(view, node), *place ? " (" : "",
                place, *place ? ")" : "",
                cal__view_position(view, node)->inlined ? " [inlined]" : "");
    }
    if (left > 0)
        fprintf(out, "%s… and %zu caller%s\n", indent, left, left == 1 ? "" : "s");
}

/* --- totals --------------------------------------------------------------------- */

static void write_head(FILE *out, const struct cal__profile *profile)
{
    const struct cal__file_process *process = &profile->process;
    struct cal__number number;
    char date[64] = "";
    time_t seconds = (time_t)(process->start_realtime / 1000000000);
    struct tm local;
    if (localtime_r(&seconds, &local) != NULL)
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
    const char *command = cal__profile_string(profile, process->command_line);
    if (*command == '\0')
        command = cal__profile_string(profile, process->program);
    fprintf(out, "%s\n", *command ? command : "a program without a name");
    fprintf(out, "  process %" PRIu32 ", recorded from %s for %s", process->pid, date,
            cal__duration(&number, process->duration));
    if (*cal__reason_text(process->reason))
        fprintf(out, ", written %s", cal__reason_text(process->reason));
    fputs("\n\n", out);
}

static void total(FILE *out, const char *what, uint64_t blocks, uint64_t bytes, const char *more)
{
    struct cal__number count, size;
    fprintf(out, "  %-22s %14s blocks %12s%s%s\n", what, cal__count(&count, blocks),
            cal__bytes(&size, bytes), *more ? "  " : "", more);
}

static void memory(FILE *out, const char *what, uint64_t bytes, const char *more)
{
    struct cal__number size;
    fprintf(out, "  %-22s %34s%s%s\n", what, cal__bytes(&size, bytes), *more ? "  " : "", more);
}

static void write_totals(FILE *out, const struct cal__view *view)
{
    const struct cal__file_process *process = &view->profile->process;
    struct cal__leak_sums leaks;
    struct cal__fragmentation fragmentation;
    struct cal__number a, b;
    char more[128];
    cal__leak_sum(view->profile, &leaks);
    if (cal__is_estimate(view->profile))
        fprintf(out, "  Estimated from samples, one for about each %s:\n",
                cal__bytes(&a, process->sample_bytes));
    total(out, "allocated", process->allocations, process->allocated_bytes, "");
    total(out, "freed", process->frees, process->freed_bytes, "");
    total(out, "live at the end", cal__live_blocks(process), cal__live_bytes(process), "");
    snprintf(more, sizeof more, "after %s", cal__duration(&a, process->peak_time));
    total(out, "live at the peak", view->totals[CAL__METRIC_peak_blocks], process->peak_bytes,
          more);
    fprintf(out, "  %-22s %14s blocks %12s\n", "temporary", cal__count(&a, process->temporaries),
            cal__percent(&b, process->temporaries, process->allocations));
    if (view->profile->has_leak_facts && view->profile->leak_facts.flags & CAL_LEAKS_UNREACHABLE) {
        total(out, "leaked, directly", leaks.direct_blocks, leaks.direct_bytes, "");
        total(out, "leaked, indirectly", leaks.indirect_blocks, leaks.indirect_bytes, "");
        if (leaks.suppressed_blocks > 0)
            total(out, "leaked, suppressed", leaks.suppressed_blocks, leaks.suppressed_bytes, "");
    }
    snprintf(more, sizeof more, "%s at the most", cal__bytes(&a, process->peak_resident_bytes));
    memory(out, "resident", process->resident_bytes, process->peak_resident_bytes ? more : "");
    memory(out, "heap, from the system", process->heap_mapped_bytes, "");
    cal__fragmentation(view->profile, &fragmentation);
    if (fragmentation.mapped > 0) {
        uint64_t unused = fragmentation.mapped > fragmentation.live_bytes
                              ? fragmentation.mapped - fragmentation.live_bytes
                              : 0;
        snprintf(more, sizeof more, "%s of the %s of slabs and mappings",
                 cal__percent(&a, unused, fragmentation.mapped),
                 cal__bytes(&b, fragmentation.mapped));
        memory(out, "not in live blocks", unused, more);
    }
    if (process->own_bytes > 0)
        memory(out, "used by the recording", process->own_bytes, "");
    fputc('\n', out);
}

/* --- lists ------------------------------------------------------------------------ */

/* `beside` is another metric of the same sites, which says more. */
static void write_top(FILE *out, const struct cal__view *view, const char *title,
                      enum cal__metric metric, enum cal__metric beside,
                      const struct cal__report_options *options)
{
    size_t count;
    uint32_t *top = cal__view_top(view, metric, &count);
    struct cal__number value, share, other;
    if (count > 0)
        fprintf(out, "%s (%s in %zu call stack%s%s)\n", title,
                cal__metric_text(&value, metric, view->totals[metric]), count,
                count == 1 ? "" : "s",
                cal__is_estimate(view->profile) ? ", estimated from samples" : "");
    for (size_t i = 0; i < count && i < options->top; i++) {
        const struct cal__view_site *site = &view->sites[top[i]];
        fprintf(out, "  %s, %s; %s: %s\n", cal__metric_text(&value, metric, site->values[metric]),
                cal__percent(&share, site->values[metric], view->totals[metric]),
                cal__metrics[beside].label, cal__metric_text(&other, beside, site->values[beside]));
        cal__report_stack(out, view, site->node, options->depth, "      ");
    }
    if (count > options->top)
        fprintf(out, "  … and %zu more\n", count - options->top);
    if (count > 0)
        fputc('\n', out);
    free(top);
}

static const struct cal__profile *sorted; /* of qsort(), which hands nothing through */

static int by_leaked_bytes(const void *left, const void *right)
{
    const struct cal__file_leak *a = &sorted->leaks[*(const size_t *)left];
    const struct cal__file_leak *b = &sorted->leaks[*(const size_t *)right];
    if ((a->kind == CAL_LEAK_INDIRECT) != (b->kind == CAL_LEAK_INDIRECT))
        return a->kind == CAL_LEAK_INDIRECT ? 1 : -1;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* More than of other lists: each is to be mended. */
enum { LEAKS = 10 };

static void write_leaks(FILE *out, const struct cal__view *view,
                        const struct cal__report_options *options)
{
    const struct cal__profile *profile = view->profile;
    if (!profile->has_leak_facts)
        return;
    if (!(profile->leak_facts.flags & CAL_LEAKS_UNREACHABLE)) {
        fputs("Leaks were not told from what is merely not freed.\n\n", out);
        return;
    }
    size_t *order = cal__allocate_array(profile->leak_count, sizeof *order), count = 0;
    for (size_t i = 0; i < profile->leak_count; i++)
        if (profile->leaks[i].kind != CAL_LEAK_NOT_FREED &&
            profile->leaks[i].suppression == CAL_FILE_NONE)
            order[count++] = i;
    sorted = profile;
    qsort(order, count, sizeof *order, by_leaked_bytes);
    char *none = cal__no_leaks_text(profile);
    fprintf(out, "%s%s\n", none ? none : "Leaks",
            none == NULL && cal__is_estimate(profile) ? " (estimated from samples)" : "");
    free(none);
    for (size_t i = 0; i < count && i < LEAKS * options->top; i++) {
        const struct cal__file_leak *leak = &profile->leaks[order[i]];
        struct cal__number bytes, blocks, size;
        fprintf(out, "  %s leak: %s in %s block%s of %s, for example at 0x%" PRIx64 "\n",
                cal__leak_text(leak->kind), cal__bytes(&bytes, leak->bytes),
                cal__count(&blocks, leak->blocks), leak->blocks == 1 ? "" : "s",
                cal__bytes(&size, leak->size), leak->example);
        cal__report_stack(out, view, view->sites[leak->site].node, options->depth, "      ");
    }
    if (count > LEAKS * options->top)
        fprintf(out, "  … and %zu more: --top shows more\n", count - LEAKS * options->top);
    for (size_t i = 0; i < profile->suppression_count; i++)
        if (profile->suppressions[i].blocks > 0) {
            struct cal__number bytes, blocks;
            fprintf(out, "  suppressed by \"%s\": %s in %s block%s\n",
                    cal__profile_string(profile, profile->suppressions[i].text),
                    cal__bytes(&bytes, profile->suppressions[i].bytes),
                    cal__count(&blocks, profile->suppressions[i].blocks),
                    profile->suppressions[i].blocks == 1 ? "" : "s");
        }
    fputc('\n', out);
    free(order);
}

/* Sizes without a live block share a line. */
static void write_classes(FILE *out, const struct cal__profile *profile)
{
    size_t shown = 0, empty = 0;
    uint64_t empty_mapped = 0;
    for (size_t i = 0; i < profile->class_count; i++) {
        const struct cal__file_class *class = &profile->classes[i];
        shown += class->live > 0;
        empty += class->live == 0 && class->mapped > 0;
        empty_mapped += class->live == 0 ? class->mapped : 0;
    }
    if (shown + empty == 0)
        return;
    fputs("Size classes\n       block size          live         slots      regions"
          "        mapped    unused\n",
          out);
    for (size_t i = 0; i < profile->class_count; i++) {
        const struct cal__file_class *class = &profile->classes[i];
        struct cal__number size, live, slots, regions, mapped, unused;
        uint64_t used = class->live * class->block_size;
        if (class->live == 0)
            continue;
        fprintf(
            out, "  %15s %13s %13s %12s %13s %9s\n", cal__bytes(&size, class->block_size),
            cal__count(&live, class->live), cal__count(&slots, class->slots),
            cal__count(&regions, class->regions), cal__bytes(&mapped, class->mapped),
            cal__percent(&unused, class->mapped > used ? class->mapped - used : 0, class->mapped));
    }
    if (empty > 0) {
        struct cal__number mapped;
        fprintf(out, "  %zu size%s without live blocks: %s mapped\n", empty, empty == 1 ? "" : "s",
                cal__bytes(&mapped, empty_mapped));
    }
    fputc('\n', out);
}

static void write_lifetimes(FILE *out, const struct cal__profile *profile)
{
    uint64_t sums[CAL_LIFETIMES] = {0}, all = 0;
    for (size_t i = 0; i < profile->site_count; i++)
        for (int bucket = 0; bucket < CAL_LIFETIMES; bucket++)
            sums[bucket] += profile->sites[i].lifetimes[bucket];
    for (int bucket = 0; bucket < CAL_LIFETIMES; bucket++)
        all += sums[bucket];
    if (all == 0)
        return;
    fputs("Lifetimes of freed blocks\n", out);
    uint64_t limit = 4000; /* ns */
    for (int bucket = 0; bucket < CAL_LIFETIMES; bucket++, limit *= 4) {
        struct cal__number count, share, end;
        if (sums[bucket] == 0)
            continue;
        bool last = bucket == CAL_LIFETIMES - 1;
        fprintf(out, "  %s %-12s %14s blocks %8s\n", last ? "over " : "under",
                cal__duration(&end, last ? limit / 4 : limit), cal__count(&count, sums[bucket]),
                cal__percent(&share, sums[bucket], all));
    }
    fputc('\n', out);
}

static void write_threads(FILE *out, const struct cal__profile *profile, size_t top)
{
    if (profile->thread_count < 2)
        return;
    fputs("Threads\n", out);
    for (size_t i = 0; i < profile->thread_count && i < top; i++) {
        const struct cal__file_thread *thread = &profile->threads[i];
        struct cal__number blocks, bytes, frees;
        fprintf(out, "  %-16s %8" PRIu64 " %14s allocations %12s %14s frees\n",
                cal__profile_string(profile, thread->name), thread->tid,
                cal__count(&blocks, thread->allocations),
                cal__bytes(&bytes, thread->allocated_bytes), cal__count(&frees, thread->frees));
    }
    if (profile->thread_count > top)
        fprintf(out, "  … and %zu more\n", profile->thread_count - top);
    fputc('\n', out);
}

void cal__report_write(FILE *out, const struct cal__view *view,
                       const struct cal__report_options *options)
{
    const struct cal__profile *profile = view->profile;
    char *caveat;
    write_head(out, profile);
    write_totals(out, view);
    unsigned caveats = 0;
    for (; (caveat = cal__caveat(profile, caveats)) != NULL; caveats++) {
        fprintf(out, "%s\n", caveat);
        free(caveat);
    }
    if (caveats > 0)
        fputc('\n', out);
    write_leaks(out, view, options);
    write_top(out, view, "Most live at the end", CAL__METRIC_live_bytes, CAL__METRIC_live_blocks,
              options);
    write_top(out, view, "Most live at the peak", CAL__METRIC_peak_bytes, CAL__METRIC_peak_blocks,
              options);
    write_top(out, view, "Most allocations", CAL__METRIC_allocations, CAL__METRIC_allocated_bytes,
              options);
    write_top(out, view, "Most temporary allocations", CAL__METRIC_temporaries,
              CAL__METRIC_allocations, options);
    write_lifetimes(out, profile);
    write_threads(out, profile, 3 * options->top);
    write_classes(out, profile);
    if (view->resolved->note_count > 0)
        fputs("Symbols\n", out);
    for (size_t i = 0; i < view->resolved->note_count; i++)
        fprintf(out, "  %s\n", view->resolved->notes[i]);
}
