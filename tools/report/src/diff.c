#include "diff.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>
#include <units.h>

#include "bytes.h"
#include "describe.h"

enum { BEFORE, AFTER, SIDES };

struct change {
    uint64_t values[SIDES][CAL__METRICS];
    const struct cal__view *view; /* one that has such a stack, and where it is in it */
    uint32_t node;
};

struct changes {
    struct cal__strings *keys; /* collapsed stacks, whose numbers are those of `all` */
    struct change *all;
    size_t count, capacity;
};

/* "outermost;…;innermost" of a node. */
static void make_key(struct cal__bytes_buffer *key, const struct cal__view *view, uint32_t node)
{
    uint32_t *stack = NULL;
    size_t depth = 0, capacity = 0;
    for (; node != 0; node = view->nodes[node].parent) {
        stack = cal__allocate_grow(stack, depth, &capacity, sizeof *stack);
        stack[depth++] = node;
    }
    key->length = 0;
    if (depth == 0)
        cal__bytes_add(key, "[no stack]", 10);
    while (depth > 0) {
        const char *name = cal__view_function(view, stack[--depth]);
        for (; *name != '\0'; name++) {
            char c = *name == ';' ? ':' : (unsigned char)*name < ' ' ? ' ' : *name;
            cal__bytes_add(key, &c, 1);
        }
        if (depth > 0)
            cal__bytes_add(key, ";", 1);
    }
    free(stack);
}

static void gather(struct changes *changes, const struct cal__view *view, int side)
{
    struct cal__bytes_buffer key = {0};
    for (size_t i = 0; i < view->profile->site_count; i++) {
        make_key(&key, view, view->sites[i].node);
        uint32_t number = cal__strings_add_bytes(changes->keys, (const char *)key.data, key.length);
        while (changes->count <= number) {
            changes->all = cal__allocate_grow(changes->all, changes->count, &changes->capacity,
                                              sizeof *changes->all);
            changes->all[changes->count++] = (struct change){.node = 0};
        }
        struct change *change = &changes->all[number];
        for (int m = 0; m < CAL__METRICS; m++)
            change->values[side][m] += view->sites[i].values[m];
        change->view = view;
        change->node = view->sites[i].node;
    }
    cal__bytes_free(&key);
}

static void gather_both(struct changes *changes, const struct cal__view *before,
                        const struct cal__view *after)
{
    *changes = (struct changes){.keys = cal__strings_new()};
    gather(changes, before, BEFORE);
    gather(changes, after, AFTER);
}

static void release(struct changes *changes)
{
    cal__strings_free(changes->keys);
    free(changes->all);
}

static int64_t difference(const struct change *change, enum cal__metric metric)
{
    return (int64_t)(change->values[AFTER][metric] - change->values[BEFORE][metric]);
}

static const struct changes *sorted; /* of qsort(), which hands nothing through */
static enum cal__metric sorted_by;

static int by_difference(const void *left, const void *right)
{
    uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
    int64_t a = difference(&sorted->all[l], sorted_by), b = difference(&sorted->all[r], sorted_by);
    return a != b ? (a > b ? -1 : 1) : l < r ? -1 : l > r;
}

static const char *signed_text(struct cal__number *number, enum cal__metric metric, int64_t value)
{
    struct cal__number plain;
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    snprintf(number->text, sizeof number->text, "%s%.30s",
             value < 0   ? "-"
             : value > 0 ? "+"
                         : "",
             cal__metric_text(&plain, metric, size));
    return number->text;
}

static void write_change(FILE *out, const struct change *change, enum cal__metric metric,
                         const struct cal__report_options *options)
{
    struct cal__number text = {""}, before, after;
    fprintf(out, "  %s, from %s to %s\n", signed_text(&text, metric, difference(change, metric)),
            cal__metric_text(&before, metric, change->values[BEFORE][metric]),
            cal__metric_text(&after, metric, change->values[AFTER][metric]));
    cal__report_stack(out, change->view, change->node, options->depth, "      ");
}

void cal__diff_write(FILE *out, const struct cal__view *before, const struct cal__view *after,
                     enum cal__metric metric, const struct cal__report_options *options)
{
    struct changes changes;
    gather_both(&changes, before, after);
    fprintf(out, "before: %s\nafter:  %s\n\n%-26s %14s %14s %14s\n",
            cal__profile_string(before->profile, before->profile->process.command_line),
            cal__profile_string(after->profile, after->profile->process.command_line), "", "before",
            "after", "difference");
    for (int m = 0; m < CAL__METRICS; m++) {
        struct cal__number old, new, change = {""};
        fprintf(out, "%-26s %14s %14s %14s\n", cal__metrics[m].label,
                cal__metric_text(&old, (enum cal__metric)m, before->totals[m]),
                cal__metric_text(&new, (enum cal__metric)m, after->totals[m]),
                signed_text(&change, (enum cal__metric)m,
                            (int64_t)(after->totals[m] - before->totals[m])));
    }
    fputc('\n', out);
    bool was = cal__is_estimate(before->profile), is = cal__is_estimate(after->profile);
    if (was || is)
        fprintf(out, "%s from samples: differences may be of chance.\n\n",
                was && is ? "Both are estimates"
                : was     ? "What was before is an estimate"
                          : "What is after is an estimate");

    uint32_t *order = cal__allocate_array(changes.count, sizeof *order);
    size_t count = 0, grown = 0;
    for (size_t i = 0; i < changes.count; i++)
        if (changes.all[i].view != NULL && difference(&changes.all[i], metric) != 0)
            order[count++] = (uint32_t)i;
    sorted = &changes;
    sorted_by = metric;
    qsort(order, count, sizeof *order, by_difference);
    while (grown < count && difference(&changes.all[order[grown]], metric) > 0)
        grown++;
    if (count == 0)
        fprintf(out, "No call stack differs in what is %s.\n", cal__metrics[metric].label);
    if (grown > 0)
        fprintf(out, "More %s (%zu call stack%s)\n", cal__metrics[metric].label, grown,
                grown == 1 ? "" : "s");
    for (size_t i = 0; i < grown && i < options->top; i++)
        write_change(out, &changes.all[order[i]], metric, options);
    if (count > grown)
        fprintf(out, "%sLess %s (%zu call stack%s)\n", grown ? "\n" : "",
                cal__metrics[metric].label, count - grown, count - grown == 1 ? "" : "s");
    for (size_t i = 0; i < count - grown && i < options->top; i++)
        write_change(out, &changes.all[order[count - 1 - i]], metric, options);
    free(order);
    release(&changes);
}

void cal__diff_collapsed_write(FILE *out, const struct cal__view *before,
                               const struct cal__view *after, enum cal__metric metric)
{
    struct changes changes;
    gather_both(&changes, before, after);
    for (size_t i = 0; i < changes.count; i++) {
        const uint64_t old = changes.all[i].values[BEFORE][metric];
        const uint64_t new = changes.all[i].values[AFTER][metric];
        if (old != 0 || new != 0)
            fprintf(out, "%s %" PRIu64 " %" PRIu64 "\n",
                    cal__strings_get(changes.keys, (uint32_t)i), old, new);
    }
    release(&changes);
}
