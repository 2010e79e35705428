/* The frames of a profile with their names: each is looked up once, module by module. */
#ifndef CAL_REPORT_RESOLVE_H
#define CAL_REPORT_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include <profile.h>

#include "strings.h"
#include "symbols.h"

/* One function, at a line. A frame has several where functions were inlined. */
struct cal__position {
    uint32_t
        function;    /* strings; never empty: what has no name is named by its module and address */
    uint32_t file;   /* strings; 0: not known */
    uint32_t line;   /* 0: not known */
    uint32_t module; /* strings: path; 0: none */
    bool inlined;
};

struct cal__resolved_frame {
    uint32_t first, count; /* of positions, innermost first; at least one */
};

struct cal__resolved {
    struct cal__strings *strings;
    struct cal__position *positions;
    size_t position_count, position_capacity;
    struct cal__resolved_frame *frames; /* by the number of the frame in the profile */
    uint32_t unknown;                   /* position of frames that the library did not find */
    char **notes;                       /* sentences on what is missing of the modules */
    size_t note_count, note_capacity;
};

/* Names the frames by what `paths` leads to; NULL: by modules and addresses alone. */
struct cal__resolved *cal__resolve(const struct cal__profile *profile,
                                   const struct cal__symbols_paths *paths);
void cal__resolved_free(struct cal__resolved *resolved);

/* What comes after the last '/'. */
const char *cal__base_name(const char *path);

#endif
