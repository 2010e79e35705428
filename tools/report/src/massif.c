/* The format of valgrind's massif, whose tree begins with the allocating functions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>

#include "describe.h"
#include "formats.h"

enum {
    DEEPEST = 30,  /* as massif */
    PER_MILLE = 10 /* what is less of the whole is summed up, as massif does at 1 % */
};

/* A site, and how far up its stack the tree is. */
struct climb {
    uint32_t node;
    uint64_t value;
};

static const struct cal__view *sorted; /* of qsort(), which hands nothing through */

static int compare(uint32_t left, uint32_t right)
{
    if (left == 0 || right == 0)
        return left == right ? 0 : left == 0 ? -1 : 1;
    const struct cal__position *a = cal__view_position(sorted, left);
    const struct cal__position *b = cal__view_position(sorted, right);
    if (a->function != b->function)
        return a->function < b->function ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->file < b->file ? -1 : a->file > b->file;
}

static int by_position(const void *left, const void *right)
{
    return compare(((const struct climb *)left)->node, ((const struct climb *)right)->node);
}

/* A run of climbs that are at the same function and line. */
struct group {
    size_t first, count;
    uint64_t value;
};

static int by_value(const void *left, const void *right)
{
    const struct group *a = left, *b = right;
    if (a->value != b->value)
        return a->value > b->value ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static struct group *make_groups(struct climb *climbs, size_t count, size_t *groups_count)
{
    struct group *groups = NULL;
    size_t capacity = 0, used = 0;
    qsort(climbs, count, sizeof *climbs, by_position);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare(climbs[i - 1].node, climbs[i].node) != 0) {
            groups = cal__allocate_grow(groups, used, &capacity, sizeof *groups);
            groups[used++] = (struct group){.first = i};
        }
        groups[used - 1].count++;
        groups[used - 1].value += climbs[i].value;
    }
    if (used > 0)
        qsort(groups, used, sizeof *groups, by_value);
    *groups_count = used;
    return groups;
}

static void write_level(FILE *out, struct climb *climbs, size_t count, uint64_t value,
                        const char *what, uint64_t whole, int depth)
{
    size_t groups_count = 0, shown = 0, below = 0;
    uint64_t rest = 0;
    struct group *groups = depth < DEEPEST ? make_groups(climbs, count, &groups_count) : NULL;
    for (size_t i = 0; i < groups_count; i++) {
        if (climbs[groups[i].first].node == 0)
            continue; /* the stack ends here: ms_print shows what the lines below do not add up to */
        if (groups[i].value * 1000 >= whole * PER_MILLE)
            shown++;
        else
            below++, rest += groups[i].value;
    }
    fprintf(out, "%*sn%zu: %" PRIu64 " %s\n", depth, "", shown + (below > 0), value, what);
    for (size_t i = 0; i < groups_count; i++) {
        struct climb *first = &climbs[groups[i].first];
        if (first->node == 0 || groups[i].value * 1000 < whole * PER_MILLE)
            continue;
        /* In the place of the address, of which there may be several, is a number that tells nodes
         * apart. */
        const char *place = cal__view_place(sorted, first->node);
        char *name = cal__allocate_format("0x%" PRIX32 ": %s%s%s%s", first->node,
                                          cal__view_function(sorted, first->node),
                                          *place ? " (" : "", place, *place ? ")" : "");
        for (char *c = name; *c != '\0'; c++)
            if ((unsigned char)*c < ' ')
                *c = ' ';
        for (size_t j = 0; j < groups[i].count; j++)
            first[j].node = sorted->nodes[first[j].node].parent;
        write_level(out, first, groups[i].count, groups[i].value, name, whole, depth + 1);
        free(name);
    }
    if (below > 0)
        fprintf(out, "%*sn0: %" PRIu64 " in %zu place%s, %s below massif's threshold (1.00%%)\n",
                depth + 1, "", rest, below, below == 1 ? "" : "s", below == 1 ? "" : "all");
    free(groups);
}

static void write_tree(FILE *out, const struct cal__view *view, enum cal__metric metric)
{
    size_t count;
    uint32_t *top = cal__view_top(view, metric, &count);
    struct climb *climbs = cal__allocate_array(count, sizeof *climbs);
    for (size_t i = 0; i < count; i++)
        climbs[i] = (struct climb){view->sites[top[i]].node, view->sites[top[i]].values[metric]};
    sorted = view;
    write_level(out, climbs, count, view->totals[metric],
                "(heap allocation functions) malloc/new/new[], --alloc-fns, etc.",
                view->totals[metric], 0);
    free(climbs);
    free(top);
}

static void write_snapshot(FILE *out, unsigned *number, uint64_t time, uint64_t bytes,
                           const char *tree)
{
    fprintf(out,
            "#-----------\nsnapshot=%u\n#-----------\ntime=%" PRIu64 "\nmem_heap_B=%" PRIu64
            "\nmem_heap_extra_B=0\nmem_stacks_B=0\nheap_tree=%s\n",
            (*number)++, time / 1000000, bytes, tree);
}

/* The time line's last moment is when it was written, which is later than the rest of the profile was counted; for
 * ms_print nothing may come behind the last snapshot. */
static uint64_t end_of(const struct cal__profile *profile)
{
    uint64_t end = profile->process.duration;
    for (size_t i = 0; i < profile->moment_count; i++)
        if (profile->timeline[i].time > end)
            end = profile->timeline[i].time;
    return end;
}

void cal__massif_write(FILE *out, const struct cal__view *view)
{
    const struct cal__profile *profile = view->profile;
    const struct cal__file_process *process = &profile->process;
    const char *command = cal__profile_string(profile, process->command_line);
    unsigned number = 0;
    bool peak_written = view->totals[CAL__METRIC_peak_bytes] == 0;
    fprintf(out, "desc: calloc report --massif%s\ncmd: %.*s\ntime_unit: ms\n",
            cal__is_estimate(profile) ? ", estimated from samples" : "",
            (int)strcspn(command, "\n"), command);
    if (profile->moment_count == 0 || profile->timeline[0].time > 0)
        write_snapshot(out, &number, 0, 0, "empty");
    for (size_t i = 0; i <= profile->moment_count; i++) {
        bool end = i == profile->moment_count;
        uint64_t time = end ? process->duration : profile->timeline[i].time;
        if (!peak_written && (end || time >= process->peak_time)) {
            peak_written = true;
            write_snapshot(out, &number, process->peak_time, view->totals[CAL__METRIC_peak_bytes],
                           "peak");
            write_tree(out, view, CAL__METRIC_peak_bytes);
        }
        if (!end)
            write_snapshot(out, &number, time, profile->timeline[i].live_bytes, "empty");
    }
    if (view->totals[CAL__METRIC_live_bytes] > 0) {
        write_snapshot(out, &number, end_of(profile), view->totals[CAL__METRIC_live_bytes],
                       "detailed");
        write_tree(out, view, CAL__METRIC_live_bytes);
    }
}
