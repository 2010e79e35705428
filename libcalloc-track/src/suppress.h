/* Leaks that the user does not want to hear of: a file of LeakSanitizer's form, with lines
 *     leak:PATTERN
 * and comments that begin with '#'. A leak is suppressed where the name of a function or of a module of its
 * stack contains the pattern, in which '*' stands for anything, '^' at its start for the start and '$' at its end
 * for the end. Names are those of the symbol tables, and of C++ also as they are written, where the process has
 * a C++ library loaded. */
#ifndef CAL_TRACK_SUPPRESS_H
#define CAL_TRACK_SUPPRESS_H

#include "base.h"
#include "symbols.h"

enum { CAL_SUPPRESSIONS_MAX = 1024, CAL_SUPPRESS_FILES = 16 };

struct cal__suppression {
    const char *pattern;
    uint64_t blocks;
    uint64_t bytes;
};

/* False, and says why on standard error: the file cannot be read. Lines that are no suppressions of leaks are
 * said too, and passed over. */
bool cal__suppress_load(const char *path);

uint32_t cal__suppressions_count(void);
struct cal__suppression *cal__suppression(uint32_t number);

/* What a search has open, and remembers: one thread's own. Begins as zeros. */
struct cal__suppress_search {
    struct {
        uint32_t module; /* and 1 more; 0: none */
        bool usable;
        struct cal__symbols symbols;
    } files[CAL_SUPPRESS_FILES]; /* by the number of the module modulo this */
    /* Of each frame, by its number. 0: nothing yet; 1: that none fits; else the number of the suppression and
     * 2 more. */
    uint32_t *verdicts;
    uint32_t verdicts_count;
};

/* The first that fits the innermost frame that any fits, or CAL_FILE_NONE. Allocates from the heap, and takes the
 * loader's lock. */
uint32_t cal__suppress_find(struct cal__suppress_search *search, uint32_t node);
void cal__suppress_end(struct cal__suppress_search *search);

/* For cal__suppress_find() and its test. */
bool cal__suppress_matches(const char *pattern, const char *name);

#endif
