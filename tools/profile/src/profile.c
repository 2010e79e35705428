#include "profile.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "allocate.h"

/* As much as 8 million stacks with 100 million frames between them. */
static const uint64_t usual_limit = UINT64_C(3) << 30;

struct table {
    uint32_t type;
    const char *name;
    size_t size;         /* of a record */
    size_t array, count; /* offsets in struct cal__profile */
    const void *missing; /* a record that was lost; NULL: zeros */
};

static const struct cal__file_frame missing_frame = {.module = CAL_FILE_NONE};
static const struct cal__file_node missing_node = {.frame = CAL_FILE_NONE};
static const struct cal__file_site missing_site = {.thread = CAL_FILE_NONE,
                                                   .numa_node = CAL_FILE_NONE};

#define TABLE(type, name, field, counter, missing)                                                \
    {                                                                                             \
        type, name, sizeof *((struct cal__profile *)0)->field,                                    \
            offsetof(struct cal__profile, field), offsetof(struct cal__profile, counter), missing \
    }

static const struct table tables[] = {
    TABLE(CAL_SECTION_STRINGS, "strings", strings, string_bytes, NULL),
    TABLE(CAL_SECTION_MODULES, "modules", modules, module_count, NULL),
    TABLE(CAL_SECTION_FRAMES, "frames", frames, frame_count, &missing_frame),
    TABLE(CAL_SECTION_NODES, "call tree", nodes, node_count, &missing_node),
    TABLE(CAL_SECTION_SITES, "sites", sites, site_count, &missing_site),
    TABLE(CAL_SECTION_THREADS, "threads", threads, thread_count, NULL),
    TABLE(CAL_SECTION_TIMELINE, "time line", timeline, moment_count, NULL),
    TABLE(CAL_SECTION_CLASSES, "size classes", classes, class_count, NULL),
    TABLE(CAL_SECTION_REGIONS, "heap map", regions, region_count, NULL),
    TABLE(CAL_SECTION_LEAKS, "leaks", leaks, leak_count, NULL),
    TABLE(CAL_SECTION_SUPPRESSIONS, "suppressions", suppressions, suppression_count, NULL),
};

enum { TABLES = sizeof tables / sizeof *tables };

struct reading {
    struct cal__profile *profile;
    size_t capacity[TABLES];
    uint64_t left; /* bytes until the limit */
};

void cal__profile_warn(struct cal__profile *profile, const char *format, ...)
{
    enum { MOST = 50 };
    char text[512];
    if (profile->warning_count >= MOST)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    profile->warnings = cal__allocate_grow(profile->warnings, profile->warning_count,
                                           &profile->warning_capacity, sizeof(char *));
    bool last = profile->warning_count + 1 == MOST;
    profile->warnings[profile->warning_count++] =
        cal__allocate_format("%s", last ? "… and more of the like" : text);
}

/* --- tables --------------------------------------------------------------------- */

static const struct table *table_of(uint32_t type)
{
    if (type == CAL_SECTION_SITE_NODES)
        type = CAL_SECTION_SITES;
    for (size_t i = 0; i < TABLES; i++)
        if (tables[i].type == type)
            return &tables[i];
    return NULL;
}

static void **array_of(struct cal__profile *profile, const struct table *table)
{
    return (void **)(void *)((char *)profile + table->array);
}

static size_t *count_of(struct cal__profile *profile, const struct table *table)
{
    return (size_t *)(void *)((char *)profile + table->count);
}

/* Room for `count` records in all; those that are new are missing ones. */
static bool extend(struct reading *reading, const struct table *table, uint64_t count)
{
    void **array = array_of(reading->profile, table);
    size_t *have = count_of(reading->profile, table);
    size_t *capacity = &reading->capacity[table - tables];
    if (count <= *have)
        return true;
    if (count - *have > reading->left / table->size || count >= CAL_FILE_NONE)
        return false;
    reading->left -= (count - *have) * table->size;
    if (*capacity < count) {
        *capacity = count > 2 * *capacity ? (size_t)count : 2 * *capacity;
        *array = cal__allocate_resize(*array, *capacity * table->size);
    }
    char *record = (char *)*array + *have * table->size;
    memset(record, 0, ((size_t)count - *have) * table->size);
    for (; table->missing != NULL && *have < count; (*have)++, record += table->size)
        memcpy(record, table->missing, table->size);
    *have = (size_t)count;
    return true;
}

/* One of SITE_NODES may be shorter than a site; what the rest means is set. */
static void store(const struct table *table, const struct cal__section *section, uint64_t index,
                  char *record)
{
    cal__section_record(section, index, record, table->size);
    if (section->type == CAL_SECTION_SITE_NODES && section->record_size < 12) {
        struct cal__file_site *site = (struct cal__file_site *)(void *)record;
        site->thread = site->numa_node = CAL_FILE_NONE;
    }
}

static void read_table(struct reading *reading, const struct table *table,
                       const struct cal__section *section)
{
    struct cal__profile *profile = reading->profile;
    const size_t have = *count_of(profile, table);
    const bool bytes = table->type == CAL_SECTION_STRINGS;
    /* No record is shorter, and none that is would be worth the memory of a whole one. */
    enum { SHORTEST = 4, MOST_PER_BYTE = 32 /* by compression */ };
    if (section->why == NULL &&
        (bytes ? section->length != section->count : section->record_size < SHORTEST)) {
        cal__profile_warn(profile, "A part of the %s is broken: it has no size.", table->name);
        return;
    }
    /* What a broken payload held is missing from the table, and keeps its place. So does what an earlier
     * section held whose header was lost; but then the file ended there. */
    if (section->first > have || section->first + section->count < section->first ||
        (section->why != NULL && section->count / MOST_PER_BYTE > section->length)) {
        cal__profile_warn(profile, "A part of the %s is out of place and was left out.",
                          table->name);
        return;
    }
    if (!extend(reading, table, section->first + section->count)) {
        cal__profile_warn(profile, "There are more %s than can be read; the rest was left out.",
                          table->name);
        return;
    }
    if (section->why != NULL)
        return;
    char *array = *array_of(profile, table);
    if (bytes) {
        memcpy(array + section->first, section->payload, section->length);
        return;
    }
    for (uint64_t i = 0; i < section->count; i++)
        store(table, section, i, array + (section->first + i) * table->size);
}

/* --- sections -------------------------------------------------------------------- */

static void read_section(struct reading *reading, const struct cal__section *section,
                         const struct cal__profile_options *options)
{
    struct cal__profile *profile = reading->profile;
    const struct table *table = table_of(section->type);
    if (options->events_only && table != NULL && table->type != CAL_SECTION_STRINGS)
        return;
    if (section->why != NULL)
        cal__profile_warn(profile, "A part of the file (%s, at byte %" PRIu64 ") is broken: %s.",
                          table                                  ? table->name
                          : section->type == CAL_SECTION_PROCESS ? "the process"
                          : section->type == CAL_SECTION_EVENTS  ? "events"
                                                                 : "of a kind not known here",
                          section->offset, section->why);
    if (table != NULL) {
        read_table(reading, table, section);
        return;
    }
    if (section->why != NULL)
        return;
    switch (section->type) {
    case CAL_SECTION_PROCESS:
        if (section->count > 0 && section->record_size > 0) {
            cal__section_record(section, section->count - 1, &profile->process,
                                sizeof profile->process);
            profile->has_process = true;
        }
        break;
    case CAL_SECTION_LEAK_FACTS:
        if (section->count > 0 && section->record_size > 0) {
            cal__section_record(section, section->count - 1, &profile->leak_facts,
                                sizeof profile->leak_facts);
            profile->has_leak_facts = true;
        }
        break;
    case CAL_SECTION_EVENTS:
        profile->event_sections++;
        if (options->events != NULL)
            options->events(options->context, profile, section);
        break;
    default:
        break; /* of a newer library */
    }
}

/* --- references ------------------------------------------------------------------ */

/* Makes `*index` one that is there, or `instead`. */
static void check_index(uint32_t *index, size_t count, uint32_t instead, size_t *wrong)
{
    if (*index < count || *index == instead)
        return;
    *index = instead;
    (*wrong)++;
}

static void check_references(struct cal__profile *profile)
{
    size_t wrong = 0;
    for (size_t i = 0; i < profile->frame_count; i++)
        check_index(&profile->frames[i].module, profile->module_count, CAL_FILE_NONE, &wrong);
    for (size_t i = 0; i < profile->node_count; i++) {
        struct cal__file_node *node = &profile->nodes[i];
        if (i == 0)
            *node = (struct cal__file_node){0, CAL_FILE_NONE};
        else
            check_index(&node->parent, i, 0, &wrong);
        check_index(&node->frame, profile->frame_count, CAL_FILE_NONE, &wrong);
    }
    for (size_t i = 0; i < profile->site_count; i++) {
        check_index(&profile->sites[i].node, profile->node_count, 0, &wrong);
        check_index(&profile->sites[i].thread, profile->thread_count, CAL_FILE_NONE, &wrong);
    }
    for (size_t i = 0; i < profile->module_count; i++) {
        struct cal__file_module *module = &profile->modules[i];
        if (module->build_id_length > sizeof module->build_id) {
            module->build_id_length = 0;
            wrong++;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < profile->leak_count; i++) {
        struct cal__file_leak *leak = &profile->leaks[i];
        check_index(&leak->suppression, profile->suppression_count, CAL_FILE_NONE, &wrong);
        if (leak->site < profile->site_count && leak->kind >= CAL_LEAK_DIRECT &&
            leak->kind <= CAL_LEAK_NOT_FREED)
            profile->leaks[kept++] = *leak;
        else
            wrong++;
    }
    profile->leak_count = kept;
    if (wrong > 0)
        cal__profile_warn(profile, "%zu references in the file lead to nothing.", wrong);
}

/* Records that were in a broken part of the file, and that nothing refers to by their number. */
static void drop_missing(struct cal__profile *profile)
{
    size_t kept = 0;
    for (size_t i = 0; i < profile->class_count; i++)
        if (profile->classes[i].block_size != 0)
            profile->classes[kept++] = profile->classes[i];
    profile->class_count = kept;
    kept = 0;
    for (size_t i = 0; i < profile->region_count; i++)
        if (profile->regions[i].length != 0)
            profile->regions[kept++] = profile->regions[i];
    profile->region_count = kept;
    kept = 0;
    for (size_t i = 0; i < profile->moment_count; i++)
        if (i == 0 || profile->timeline[i].time != 0)
            profile->timeline[kept++] = profile->timeline[i];
    profile->moment_count = kept;
}

static int by_block_size(const void *left, const void *right)
{
    const struct cal__file_class *a = left, *b = right;
    return a->block_size < b->block_size ? -1 : a->block_size > b->block_size;
}

struct cal__profile *cal__profile_read(FILE *file, const struct cal__profile_options *options,
                                       char **why)
{
    uint32_t kind;
    struct cal__sections *sections = cal__sections_open(file, &kind, why);
    if (sections == NULL)
        return NULL;
    struct cal__profile *profile = cal__allocate_array(1, sizeof *profile);
    struct reading reading = {.profile = profile,
                              .left = options->limit ? options->limit : usual_limit};
    struct cal__section section;
    profile->kind = kind;
    const struct table *node_table = table_of(CAL_SECTION_NODES);
    if (node_table != NULL)
        extend(&reading, node_table, 1); /* the root */
    while (cal__sections_next(sections, &section))
        read_section(&reading, &section, options);
    if (cal__sections_stopped(sections) != NULL)
        cal__profile_warn(profile, "The file %s; what comes before was read.",
                          cal__sections_stopped(sections));
    cal__sections_close(sections);
    if (!profile->has_process)
        cal__profile_warn(profile, "Nothing is known of the process.");
    profile->strings = cal__allocate_resize(profile->strings, profile->string_bytes + 1);
    profile->strings[profile->string_bytes] = '\0';
    check_references(profile);
    drop_missing(profile);
    /* The one table whose order is nobody's matter. */
    if (profile->class_count > 0)
        qsort(profile->classes, profile->class_count, sizeof *profile->classes, by_block_size);
    return profile;
}

void cal__profile_free(struct cal__profile *profile)
{
    if (profile == NULL)
        return;
    for (size_t i = 0; i < TABLES; i++) {
        void **array = array_of(profile, &tables[i]);
        free(*array);
        *array = NULL; /* sites are in two tables */
    }
    for (size_t i = 0; i < profile->warning_count; i++)
        free(profile->warnings[i]);
    free(profile->warnings);
    free(profile);
}

const char *cal__profile_string(const struct cal__profile *profile, uint32_t offset)
{
    return offset < profile->string_bytes ? profile->strings + offset : "";
}

static uint64_t less(uint64_t all, uint64_t gone)
{
    return all > gone ? all - gone : 0;
}

uint64_t cal__site_live_blocks(const struct cal__file_site *site)
{
    return less(site->allocations, site->frees);
}

uint64_t cal__site_live_bytes(const struct cal__file_site *site)
{
    return less(site->allocated_bytes, site->freed_bytes);
}

uint64_t cal__live_blocks(const struct cal__file_process *process)
{
    return less(process->allocations, process->frees);
}

uint64_t cal__live_bytes(const struct cal__file_process *process)
{
    return less(process->allocated_bytes, process->freed_bytes);
}
