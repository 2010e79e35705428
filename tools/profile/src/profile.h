/* A profile, or what a trace has besides its events, in memory: the tables of the file
 * (libcalloc-track/src/format.h), whole and checked, so that no reference in them leads astray. */
#ifndef CAL_PROFILE_PROFILE_H
#define CAL_PROFILE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <libcalloc-track/src/format.h>

#include "sections.h"

struct cal__profile {
    uint32_t kind; /* enum cal__file_kind */
    bool has_process, has_leak_facts;
    struct cal__file_process process;
    struct cal__file_leak_facts leak_facts;

    char *strings; /* one after the other; by cal__profile_string() */
    size_t string_bytes;
    struct cal__file_module *modules;
    size_t module_count;
    struct cal__file_frame *frames;
    size_t frame_count;
    struct cal__file_node *nodes; /* at least the root */
    size_t node_count;
    struct cal__file_site *sites;
    size_t site_count;
    struct cal__file_thread *threads;
    size_t thread_count;
    struct cal__file_moment *timeline;
    size_t moment_count;
    struct cal__file_class *classes;
    size_t class_count;
    struct cal__file_region *regions;
    size_t region_count;
    struct cal__file_leak *leaks;
    size_t leak_count;
    struct cal__file_suppression *suppressions;
    size_t suppression_count;

    uint64_t event_sections; /* that a trace had */
    char **warnings;         /* sentences on what could not be read */
    size_t warning_count, warning_capacity;
};

/* EVENTS come in the order of the file, after all that they refer to; `section` is valid for the call. */
typedef void cal__profile_events(void *context, const struct cal__profile *profile,
                                 const struct cal__section *section);

struct cal__profile_options {
    cal__profile_events *events; /* NULL: they are left out */
    void *context;
    bool events_only; /* of the tables only the strings are read */
    uint64_t limit;   /* bytes of records that are read at the most; 0: the usual limit */
};

/* Reads a file to its end. What is broken is left out, with a warning. NULL, and the reason in new memory
 * as words that continue a sentence on the file, when nothing can be had of it. */
struct cal__profile *cal__profile_read(FILE *file, const struct cal__profile_options *options,
                                       char **why);
void cal__profile_free(struct cal__profile *profile);

/* "" where there is no such string. Valid as long as the profile. */
const char *cal__profile_string(const struct cal__profile *profile, uint32_t offset);

void cal__profile_warn(struct cal__profile *profile, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Blocks, bytes of a site that are live; never negative, as estimates might be. */
uint64_t cal__site_live_blocks(const struct cal__file_site *site);
uint64_t cal__site_live_bytes(const struct cal__file_site *site);

/* And of the process. */
uint64_t cal__live_blocks(const struct cal__file_process *process);
uint64_t cal__live_bytes(const struct cal__file_process *process);

#endif
