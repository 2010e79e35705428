/* calloc run. */
#ifndef CALLOC_RUN_H
#define CALLOC_RUN_H

#include <common/components.h>

extern const char run_help[];

int run(int count, char **words);

/* Parts of it, for its tests. */

struct run_request {
    component_set set;
    struct text options;   /* items for CALLOC_OPTIONS, separated by commas */
    const char *libraries; /* the folder of the libraries; NULL: where they are installed */
    int used;              /* words; the next one is the program */
};

/* DONE, or MISUSED and it has said why. To be freed in either case. */
int run_parse(int count, char **words, struct run_request *request);
void run_free(struct run_request *request);

/* "A B C": OURS, then what PRELOAD names (NULL: nothing) but for libraries of the same soname as one of
 * SET. */
void run_join_preload(const char *ours, component_set set, const char *preload,
                      struct text *result);

#endif
