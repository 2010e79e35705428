/* Numbers as people read them. Each function writes into the buffer it is given and returns it. */
#ifndef CAL_PROFILE_UNITS_H
#define CAL_PROFILE_UNITS_H

#include <stdint.h>

struct cal__number {
    char text[32];
};

/* "0 B", "1023 B", "1.5 KiB" */
const char *cal__bytes(struct cal__number *number, uint64_t bytes);
/* "1,234,567" */
const char *cal__count(struct cal__number *number, uint64_t count);
/* "12.3 %"; "-" of nothing */
const char *cal__percent(struct cal__number *number, uint64_t part, uint64_t whole);
/* "1.234 s", "12 ms" of nanoseconds */
const char *cal__duration(struct cal__number *number, uint64_t nanoseconds);

#endif
