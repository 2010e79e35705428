/* The whole profile, resolved. The names here are the interface of --json: calloc-report(1) lists them. */
#include <stdlib.h>

#include <allocate.h>

#include "describe.h"
#include "formats.h"
#include "json_out.h"

enum { VERSION = 1 };

static void write_process(struct cal__json *json, const struct cal__profile *profile)
{
    const struct cal__file_process *process = &profile->process;
    cal__json_open(json, "process", '{');
    cal__json_string(json, "command", cal__profile_string(profile, process->command_line));
    cal__json_string(json, "program", cal__profile_string(profile, process->program));
    cal__json_number(json, "pid", process->pid);
    cal__json_number(json, "parent_pid", process->parent_pid);
    cal__json_number(json, "start_ns", process->start_realtime);
    cal__json_number(json, "duration_ns", process->duration);
    cal__json_string(json, "written", cal__reason_text(process->reason));
    cal__json_number(json, "sample_bytes", process->sample_bytes);
    cal__json_string(json, "version", cal__profile_string(profile, process->version));
    cal__json_string(json, "core_version", cal__profile_string(profile, process->core_version));
    cal__json_shut(json, '}');
}

static void write_totals(struct cal__json *json, const struct cal__view *view)
{
    const struct cal__profile *profile = view->profile;
    const struct cal__file_process *process = &profile->process;
    struct cal__leak_sums leaks;
    struct cal__fragmentation fragmentation;
    cal__leak_sum(profile, &leaks);
    cal__fragmentation(profile, &fragmentation);
    cal__json_open(json, "totals", '{');
    cal__json_number(json, "allocations", process->allocations);
    cal__json_number(json, "allocated_bytes", process->allocated_bytes);
    cal__json_number(json, "frees", process->frees);
    cal__json_number(json, "freed_bytes", process->freed_bytes);
    cal__json_number(json, "temporaries", process->temporaries);
    cal__json_number(json, "live_blocks", cal__live_blocks(process));
    cal__json_number(json, "live_bytes", cal__live_bytes(process));
    cal__json_number(json, "peak_bytes", process->peak_bytes);
    cal__json_number(json, "peak_blocks", view->totals[CAL__METRIC_peak_blocks]);
    cal__json_number(json, "peak_ns", process->peak_time);
    cal__json_number(json, "lost", process->lost);
    cal__json_number(json, "unknown_frees", process->unknown_frees);
    cal__json_number(json, "resident_bytes", process->resident_bytes);
    cal__json_number(json, "peak_resident_bytes", process->peak_resident_bytes);
    cal__json_number(json, "heap_mapped_bytes", process->heap_mapped_bytes);
    cal__json_number(json, "own_bytes", process->own_bytes);
    cal__json_number(json, "class_live_bytes", fragmentation.live_bytes);
    cal__json_number(json, "class_mapped_bytes", fragmentation.mapped);
    cal__json_number(json, "free_dirty_bytes", fragmentation.free_dirty);
    cal__json_number(json, "leaked_direct_blocks", leaks.direct_blocks);
    cal__json_number(json, "leaked_direct_bytes", leaks.direct_bytes);
    cal__json_number(json, "leaked_indirect_blocks", leaks.indirect_blocks);
    cal__json_number(json, "leaked_indirect_bytes", leaks.indirect_bytes);
    cal__json_number(json, "not_freed_blocks", leaks.not_freed_blocks);
    cal__json_number(json, "not_freed_bytes", leaks.not_freed_bytes);
    cal__json_number(json, "suppressed_blocks", leaks.suppressed_blocks);
    cal__json_number(json, "suppressed_bytes", leaks.suppressed_bytes);
    cal__json_shut(json, '}');
}

static void write_texts(struct cal__json *json, const struct cal__view *view)
{
    const struct cal__profile *profile = view->profile;
    char *caveat;
    cal__json_open(json, "warnings", '[');
    for (size_t i = 0; i < profile->warning_count; i++)
        cal__json_string(json, NULL, profile->warnings[i]);
    cal__json_shut(json, ']');
    cal__json_open(json, "caveats", '[');
    for (unsigned i = 0; (caveat = cal__caveat(profile, i)) != NULL; i++) {
        cal__json_string(json, NULL, caveat);
        free(caveat);
    }
    cal__json_shut(json, ']');
    cal__json_open(json, "symbols", '[');
    for (size_t i = 0; i < view->resolved->note_count; i++)
        cal__json_string(json, NULL, view->resolved->notes[i]);
    cal__json_shut(json, ']');
    cal__json_open(json, "metrics", '[');
    for (int m = 0; m < CAL__METRICS; m++) {
        cal__json_open(json, NULL, '{');
        cal__json_string(json, "name", cal__metrics[m].name);
        cal__json_string(json, "unit", cal__metrics[m].unit);
        cal__json_string(json, "label", cal__metrics[m].label);
        cal__json_string(json, "help", cal__metrics[m].help);
        cal__json_shut(json, '}');
    }
    cal__json_shut(json, ']');
}

/* "strings", "positions" [function, file, line, module, inlined] and "nodes" [parent, position, …], whose
 * number 0 is the root. Only positions that a node has are written, and get numbers of their own. */
static void write_tree(struct cal__json *json, const struct cal__view *view)
{
    const struct cal__resolved *resolved = view->resolved;
    uint32_t *numbers = cal__allocate_array(resolved->position_count, sizeof *numbers), count = 0;
    cal__json_open(json, "strings", '[');
    for (uint32_t i = 0; i < cal__strings_count(resolved->strings); i++)
        cal__json_string(json, NULL, cal__strings_get(resolved->strings, i));
    cal__json_shut(json, ']');
    cal__json_open(json, "positions", '[');
    for (size_t i = 0; i < view->node_count; i++) {
        uint32_t number = view->nodes[i].position;
        const struct cal__position *position = &resolved->positions[number];
        if (numbers[number] != 0)
            continue;
        numbers[number] = ++count;
        cal__json_open(json, NULL, '[');
        cal__json_number(json, NULL, position->function);
        cal__json_number(json, NULL, position->file);
        cal__json_number(json, NULL, position->line);
        cal__json_number(json, NULL, position->module);
        cal__json_number(json, NULL, position->inlined);
        cal__json_shut(json, ']');
    }
    cal__json_shut(json, ']');
    cal__json_open(json, "nodes", '[');
    for (size_t i = 0; i < view->node_count; i++) {
        cal__json_number(json, NULL, view->nodes[i].parent);
        cal__json_number(json, NULL, numbers[view->nodes[i].position] - 1);
    }
    cal__json_shut(json, ']');
    free(numbers);
}

static void write_sites(struct cal__json *json, const struct cal__view *view)
{
    cal__json_open(json, "sites", '[');
    for (size_t i = 0; i < view->profile->site_count; i++) {
        const struct cal__file_site *site = &view->profile->sites[i];
        cal__json_open(json, NULL, '{');
        cal__json_number(json, "node", view->sites[i].node);
        if (site->thread != CAL_FILE_NONE)
            cal__json_number(json, "thread", site->thread);
        if (site->numa_node != CAL_FILE_NONE)
            cal__json_number(json, "numa_node", site->numa_node);
        cal__json_open(json, "values", '[');
        for (int m = 0; m < CAL__METRICS; m++)
            cal__json_number(json, NULL, view->sites[i].values[m]);
        cal__json_shut(json, ']');
        cal__json_open(json, "lifetimes", '[');
        for (int bucket = 0; bucket < CAL_LIFETIMES; bucket++)
            cal__json_number(json, NULL, site->lifetimes[bucket]);
        cal__json_shut(json, ']');
        cal__json_shut(json, '}');
    }
    cal__json_shut(json, ']');
}

static void write_leaks(struct cal__json *json, const struct cal__profile *profile)
{
    cal__json_boolean(json, "leaks_looked_for", profile->has_leak_facts);
    cal__json_boolean(json, "leaks_by_reachability",
                      profile->has_leak_facts && profile->leak_facts.flags & CAL_LEAKS_UNREACHABLE);
    cal__json_open(json, "leaks", '[');
    for (size_t i = 0; i < profile->leak_count; i++) {
        const struct cal__file_leak *leak = &profile->leaks[i];
        cal__json_open(json, NULL, '{');
        cal__json_string(json, "kind", cal__leak_text(leak->kind));
        cal__json_number(json, "site", leak->site);
        cal__json_number(json, "size", leak->size);
        cal__json_number(json, "blocks", leak->blocks);
        cal__json_number(json, "bytes", leak->bytes);
        cal__json_address(json, "example", leak->example);
        if (leak->suppression != CAL_FILE_NONE)
            cal__json_string(
                json, "suppressed_by",
                cal__profile_string(profile, profile->suppressions[leak->suppression].text));
        cal__json_shut(json, '}');
    }
    cal__json_shut(json, ']');
}

static void write_process_tables(struct cal__json *json, const struct cal__profile *profile)
{
    cal__json_open(json, "threads", '[');
    for (size_t i = 0; i < profile->thread_count; i++) {
        const struct cal__file_thread *thread = &profile->threads[i];
        cal__json_open(json, NULL, '{');
        cal__json_number(json, "tid", thread->tid);
        cal__json_string(json, "name", cal__profile_string(profile, thread->name));
        cal__json_number(json, "start_ns", thread->start);
        cal__json_number(json, "end_ns", thread->end);
        cal__json_number(json, "allocations", thread->allocations);
        cal__json_number(json, "allocated_bytes", thread->allocated_bytes);
        cal__json_number(json, "frees", thread->frees);
        cal__json_number(json, "freed_bytes", thread->freed_bytes);
        cal__json_shut(json, '}');
    }
    cal__json_shut(json, ']');
    cal__json_open(json, "timeline", '[');
    for (size_t i = 0; i < profile->moment_count; i++) {
        const struct cal__file_moment *moment = &profile->timeline[i];
        cal__json_open(json, NULL, '{');
        cal__json_number(json, "ns", moment->time);
        cal__json_number(json, "live_blocks", moment->live_blocks);
        cal__json_number(json, "live_bytes", moment->live_bytes);
        cal__json_number(json, "allocations", moment->allocations);
        cal__json_number(json, "resident_bytes", moment->resident_bytes);
        cal__json_shut(json, '}');
    }
    cal__json_shut(json, ']');
}

static void write_heap(struct cal__json *json, const struct cal__profile *profile)
{
    cal__json_open(json, "classes", '[');
    for (size_t i = 0; i < profile->class_count; i++) {
        const struct cal__file_class *class = &profile->classes[i];
        cal__json_open(json, NULL, '{');
        cal__json_number(json, "block_size", class->block_size);
        cal__json_number(json, "regions", class->regions);
        cal__json_number(json, "slots", class->slots);
        cal__json_number(json, "live", class->live);
        cal__json_number(json, "mapped", class->mapped);
        cal__json_shut(json, '}');
    }
    cal__json_shut(json, ']');
    cal__json_open(json, "regions", '[');
    for (size_t i = 0; i < profile->region_count; i++) {
        const struct cal__file_region *region = &profile->regions[i];
        cal__json_open(json, NULL, '{');
        cal__json_address(json, "address", region->address);
        cal__json_number(json, "length", region->length);
        cal__json_string(json, "kind", cal__region_text(region->kind));
        cal__json_number(json, "block_size", region->block_size);
        cal__json_number(json, "blocks", region->blocks);
        cal__json_number(json, "live", region->live);
        cal__json_boolean(json, "dirty", region->flags & CAL_REGION_DIRTY);
        cal__json_shut(json, '}');
    }
    cal__json_shut(json, ']');
}

void cal__json_write(FILE *out, const struct cal__view *view)
{
    struct cal__json json = {.out = out};
    cal__json_open(&json, NULL, '{');
    cal__json_string(&json, "format", "calloc-report");
    cal__json_number(&json, "version", VERSION);
    write_process(&json, view->profile);
    write_totals(&json, view);
    write_texts(&json, view);
    write_tree(&json, view);
    write_sites(&json, view);
    write_leaks(&json, view->profile);
    write_process_tables(&json, view->profile);
    write_heap(&json, view->profile);
    cal__json_shut(&json, '}');
}
