/* Text for people, made without allocating: error lines and the statistics table. */
#ifndef CAL_MESSAGE_H
#define CAL_MESSAGE_H

#include "base.h"

/* A line or a small table under construction. What does not fit is cut, never written beyond. */
struct cal__text {
    size_t length;
    char bytes[1000];
};

void cal__text_string(struct cal__text *text, const char *string);
void cal__text_bytes(struct cal__text *text, const char *bytes, size_t length);
void cal__text_decimal(struct cal__text *text, uint64_t value);
/* Right-aligned in WIDTH columns. */
void cal__text_padded(struct cal__text *text, uint64_t value, unsigned width);
void cal__text_hexadecimal(struct cal__text *text, uint64_t value);
/* One write(2), repeated for what a pipe did not take; errors are ignored. */
void cal__text_write(const struct cal__text *text, int descriptor);

/* "libcalloc: WHAT of 0x..." on standard error in one write, then abort(). */
_Noreturn void cal__fatal(const char *what, const void *address);
/* "libcalloc: FIRST SECOND" on standard error in one write. SECOND may be NULL. */
void cal__warn(const char *first, const char *second);

#endif
