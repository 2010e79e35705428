/* Memory of a command that ends when there is none: nothing it would do without is worth its own
 * path. All functions return memory, or print one line and exit with status 1. */
#ifndef CAL_PROFILE_ALLOCATE_H
#define CAL_PROFILE_ALLOCATE_H

#include <stddef.h>

/* `count` elements of `size` bytes, zeroed; at least one byte. */
void *cal__allocate_array(size_t count, size_t size) __attribute__((malloc));

/* Room for one more element: `*capacity` elements of `size` bytes are doubled when `count` of
 * them are used. */
void *cal__allocate_grow(void *array, size_t count, size_t *capacity, size_t size);

/* realloc() to `size` bytes, at least one. */
void *cal__allocate_resize(void *memory, size_t size);

/* A copy of `length` bytes, with a terminating NUL. */
char *cal__allocate_string(const char *bytes, size_t length) __attribute__((malloc));

/* printf() into new memory. */
char *cal__allocate_format(const char *format, ...) __attribute__((malloc, format(printf, 1, 2)));

#endif
