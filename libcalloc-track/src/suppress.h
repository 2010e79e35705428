/* Leaks that the user does not want to hear of: a file of LeakSanitizer's form, with lines
 *     leak:PATTERN
 * and comments that begin with '#'. A leak is suppressed where the name of a function or of a module of its
 * stack contains the pattern, in which '*' stands for anything, '^' at its start for the start and '$' at its end
 * for the end. Names are those of the symbol tables, and of C++ also as they are written, where the process has
 * a C++ library loaded. */
#ifndef CAL_TRACK_SUPPRESS_H
#define CAL_TRACK_SUPPRESS_H

#include "base.h"

enum { CAL_SUPPRESSIONS_MAX = 1024 };

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

/* The first that fits the innermost frame that any fits, or CAL_FILE_NONE. Allocates from the heap, and takes the
 * loader's lock. */
uint32_t cal__suppress_find(uint32_t node);
/* Lets go of what cal__suppress_find() has open, and remembers. */
void cal__suppress_close(void);

/* For cal__suppress_find() and its test. */
bool cal__suppress_matches(const char *pattern, const char *name);

#endif
