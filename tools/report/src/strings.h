/* A pool of strings, each kept once and known by a small number. Number 0 is the empty string.
 * Not thread-safe. */
#ifndef CAL_REPORT_STRINGS_H
#define CAL_REPORT_STRINGS_H

#include <stddef.h>
#include <stdint.h>

struct cal__strings;

struct cal__strings *cal__strings_new(void);
void cal__strings_free(struct cal__strings *strings);

/* The number of this string, which is copied when it is new. */
uint32_t cal__strings_add(struct cal__strings *strings, const char *text);
uint32_t cal__strings_add_bytes(struct cal__strings *strings, const char *bytes, size_t length);

/* Valid as long as the pool. */
const char *cal__strings_get(const struct cal__strings *strings, uint32_t number);

/* Numbers are below this. */
uint32_t cal__strings_count(const struct cal__strings *strings);

#endif
