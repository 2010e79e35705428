/* A profile as a reader sees it: a tree of functions, with inlined ones as nodes of their own, and for each
 * site its node and its values. */
#ifndef CAL_REPORT_VIEW_H
#define CAL_REPORT_VIEW_H

#include <stdint.h>

#include <units.h>

#include "resolve.h"

enum cal__metric {
#define METRIC(name, unit, label, help) CAL__METRIC_##name,
#include "view.def"
#undef METRIC
    CAL__METRICS
};

struct cal__metric_facts {
    const char *name, *unit, *label, *help;
};

extern const struct cal__metric_facts cal__metrics[CAL__METRICS];

/* The metric of this name, or -1. */
int cal__metric_find(const char *name);

/* A value as people read it: "1.5 KiB", "1,234". Returns the text in `number`. */
const char *cal__metric_text(struct cal__number *number, enum cal__metric metric, uint64_t value);

struct cal__view_node {
    uint32_t parent;   /* smaller than its own number */
    uint32_t position; /* of the resolved profile */
};

struct cal__view_site {
    uint32_t node;
    uint64_t values[CAL__METRICS];
};

struct cal__view {
    const struct cal__profile *profile;
    struct cal__resolved *resolved;
    struct cal__view_node *nodes; /* number 0 is the root, above all */
    size_t node_count, node_capacity;
    struct cal__view_site *sites; /* as those of the profile */
    uint64_t totals[CAL__METRICS];
};

/* `paths` as of cal__resolve(). The profile must stay as long as the view. */
struct cal__view *cal__view_new(const struct cal__profile *profile,
                                const struct cal__symbols_paths *paths);
void cal__view_free(struct cal__view *view);

/* The position, function of a node that is not the root. */
const struct cal__position *cal__view_position(const struct cal__view *view, uint32_t node);
const char *cal__view_function(const struct cal__view *view, uint32_t node);

/* "malloc.c:12", with the folder left out, or the module's name, or "". Valid until the next call. */
const char *cal__view_place(const struct cal__view *view, uint32_t node);

/* Numbers of the sites that have any of a metric, the largest first, in new memory. */
uint32_t *cal__view_top(const struct cal__view *view, enum cal__metric metric, size_t *count);

#endif
