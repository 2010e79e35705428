/* What the add-on for tests tells the program that it was preloaded into. */
#ifndef CAL_TEST_ADDON_H
#define CAL_TEST_ADDON_H

#include <stddef.h>

struct addon_counts {
    void *first_block;
    size_t allocated, freed, resized;
    char options[100]; /* as they came, each with a semicolon behind it, and then "start;" */
    size_t early;      /* allocations seen before the start */
};

struct addon_counts addon_counts(void);

#endif
