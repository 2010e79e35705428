#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>

const struct cal__metric_facts cal__metrics[CAL__METRICS] = {
#define METRIC(name, unit, label, help) {#name, #unit, label, help},
#include "view.def"
#undef METRIC
};

int cal__metric_find(const char *name)
{
    for (int i = 0; i < CAL__METRICS; i++)
        if (strcmp(cal__metrics[i].name, name) == 0)
            return i;
    return -1;
}

const char *cal__metric_text(struct cal__number *number, enum cal__metric metric, uint64_t value)
{
    return strcmp(cal__metrics[metric].unit, "bytes") == 0 ? cal__bytes(number, value)
                                                           : cal__count(number, value);
}

/* --- the tree --------------------------------------------------------------------- */

/* Frames of different addresses are often the same function at the same line: they are one node. */
struct index {
    uint32_t *slots; /* number of a node, or 0 */
    size_t mask;
};

static bool same_position(const struct cal__position *a, const struct cal__position *b)
{
    return a->function == b->function && a->file == b->file && a->line == b->line &&
           a->module == b->module && a->inlined == b->inlined;
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 32) * 0xd6e8feb86659fd93;
    return value ^ value >> 32;
}

static size_t hash(const struct cal__view *view, uint32_t parent, uint32_t number)
{
    const struct cal__position *position = &view->resolved->positions[number];
    return (size_t)mix(mix(mix((uint64_t)parent << 32 | position->function) ^ position->line) ^
                       ((uint64_t)position->file << 32 | position->module));
}

static uint32_t *find(const struct cal__view *view, const struct index *index, uint32_t parent,
                      uint32_t position)
{
    const struct cal__position *positions = view->resolved->positions;
    size_t slot = hash(view, parent, position) & index->mask;
    for (; index->slots[slot] != 0; slot = (slot + 1) & index->mask) {
        const struct cal__view_node *node = &view->nodes[index->slots[slot]];
        if (node->parent == parent &&
            same_position(&positions[node->position], &positions[position]))
            break;
    }
    return &index->slots[slot];
}

static void rehash(const struct cal__view *view, struct index *index, size_t slots)
{
    free(index->slots);
    index->slots = cal__allocate_array(slots, sizeof *index->slots);
    index->mask = slots - 1;
    for (uint32_t i = 1; i < view->node_count; i++)
        *find(view, index, view->nodes[i].parent, view->nodes[i].position) = i;
}

static uint32_t child(struct cal__view *view, struct index *index, uint32_t parent,
                      uint32_t position)
{
    uint32_t *slot = find(view, index, parent, position);
    if (*slot != 0)
        return *slot;
    view->nodes = cal__allocate_grow(view->nodes, view->node_count, &view->node_capacity,
                                     sizeof *view->nodes);
    view->nodes[view->node_count] = (struct cal__view_node){parent, position};
    uint32_t number = *slot = (uint32_t)view->node_count++;
    if (view->node_count * 2 > index->mask)
        rehash(view, index, (index->mask + 1) * 2);
    return number;
}

/* A parent comes before its children, in the file as here. */
static void build_tree(struct cal__view *view)
{
    const struct cal__profile *profile = view->profile;
    const struct cal__resolved *resolved = view->resolved;
    struct index index = {0};
    uint32_t *mapped = cal__allocate_array(profile->node_count, sizeof *mapped);
    view->nodes = cal__allocate_grow(view->nodes, 0, &view->node_capacity, sizeof *view->nodes);
    view->nodes[0] = (struct cal__view_node){0, resolved->unknown};
    view->node_count = 1;
    rehash(view, &index, 1024);
    for (size_t i = 1; i < profile->node_count; i++) {
        const struct cal__file_node *node = &profile->nodes[i];
        uint32_t at = mapped[node->parent];
        if (node->frame == CAL_FILE_NONE) {
            at = child(view, &index, at, resolved->unknown);
        } else {
            const struct cal__resolved_frame *frame = &resolved->frames[node->frame];
            for (uint32_t p = frame->count; p > 0; p--)
                at = child(view, &index, at, frame->first + p - 1);
        }
        mapped[i] = at;
    }
    for (size_t i = 0; i < profile->site_count; i++)
        view->sites[i].node = mapped[profile->sites[i].node];
    free(mapped);
    free(index.slots);
}

/* --- values -------------------------------------------------------------------- */

static void fill_values(struct cal__view *view)
{
    const struct cal__profile *profile = view->profile;
    for (size_t i = 0; i < profile->site_count; i++) {
        const struct cal__file_site *site = &profile->sites[i];
        uint64_t *values = view->sites[i].values;
        values[CAL__METRIC_live_bytes] = cal__site_live_bytes(site);
        values[CAL__METRIC_live_blocks] = cal__site_live_blocks(site);
        values[CAL__METRIC_peak_bytes] = site->peak_bytes;
        values[CAL__METRIC_peak_blocks] = site->peak_blocks;
        values[CAL__METRIC_allocated_bytes] = site->allocated_bytes;
        values[CAL__METRIC_allocations] = site->allocations;
        values[CAL__METRIC_temporaries] = site->temporaries;
        values[CAL__METRIC_slack_bytes] = site->slack;
    }
    for (size_t i = 0; i < profile->leak_count; i++) {
        const struct cal__file_leak *leak = &profile->leaks[i];
        if (leak->kind == CAL_LEAK_NOT_FREED || leak->suppression != CAL_FILE_NONE)
            continue;
        view->sites[leak->site].values[CAL__METRIC_leaked_bytes] += leak->bytes;
        view->sites[leak->site].values[CAL__METRIC_leaked_blocks] += leak->blocks;
    }
    for (size_t i = 0; i < profile->site_count; i++)
        for (int m = 0; m < CAL__METRICS; m++)
            view->totals[m] += view->sites[i].values[m];
}

struct cal__view *cal__view_new(const struct cal__profile *profile,
                                const struct cal__symbols_paths *paths)
{
    struct cal__view *view = cal__allocate_array(1, sizeof *view);
    view->profile = profile;
    view->resolved = cal__resolve(profile, paths);
    view->sites = cal__allocate_array(profile->site_count, sizeof *view->sites);
    build_tree(view);
    fill_values(view);
    return view;
}

void cal__view_free(struct cal__view *view)
{
    if (view == NULL)
        return;
    cal__resolved_free(view->resolved);
    free(view->nodes);
    free(view->sites);
    free(view);
}

const struct cal__position *cal__view_position(const struct cal__view *view, uint32_t node)
{
    return &view->resolved->positions[view->nodes[node].position];
}

const char *cal__view_function(const struct cal__view *view, uint32_t node)
{
    return cal__strings_get(view->resolved->strings, cal__view_position(view, node)->function);
}

const char *cal__view_place(const struct cal__view *view, uint32_t node)
{
    static char place[512];
    const struct cal__position *position = cal__view_position(view, node);
    const struct cal__strings *strings = view->resolved->strings;
    const char *file = cal__base_name(cal__strings_get(strings, position->file));
    if (position->file != 0 && position->line != 0)
        snprintf(place, sizeof place, "%s:%u", file, position->line);
    else
        snprintf(place, sizeof place, "%s",
                 position->file ? file
                                : cal__base_name(cal__strings_get(strings, position->module)));
    return place;
}

static const struct cal__view *sorted; /* of qsort(), which hands nothing through */
static enum cal__metric sorted_by;

static int by_value(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    uint64_t value_a = sorted->sites[a].values[sorted_by];
    uint64_t value_b = sorted->sites[b].values[sorted_by];
    if (value_a != value_b)
        return value_a > value_b ? -1 : 1;
    return a < b ? -1 : a > b;
}

uint32_t *cal__view_top(const struct cal__view *view, enum cal__metric metric, size_t *count)
{
    size_t sites = view->profile->site_count;
    uint32_t *top = cal__allocate_array(sites, sizeof *top);
    *count = 0;
    for (size_t i = 0; i < sites; i++)
        if (view->sites[i].values[metric] > 0)
            top[(*count)++] = (uint32_t)i;
    sorted = view;
    sorted_by = metric;
    qsort(top, *count, sizeof *top, by_value);
    return top;
}
