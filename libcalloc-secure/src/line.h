/* One line for people, made without allocating and written with one write(2). */
#ifndef CAL_LINE_H
#define CAL_LINE_H

#include "base.h"

/* Less than PIPE_BUF: lines of several threads and processes do not mix in a pipe. */
enum { CAL_LINE_MAX = 1400 };

/* A line under construction; starts with a length of 0. What does not fit is cut, never written
 * beyond; the last byte is kept for the end of the line. */
struct cal__line {
    size_t length;
    char bytes[CAL_LINE_MAX];
};

void cal__line_bytes(struct cal__line *line, const char *bytes, size_t length);
void cal__line_string(struct cal__line *line, const char *string);
void cal__line_decimal(struct cal__line *line, uint64_t value);
/* With "0x". */
void cal__line_hexadecimal(struct cal__line *line, uint64_t value);
/* LENGTH bytes that somebody else wrote, at most 80 of them: what is not printable ASCII becomes '?', so
 * that it cannot steer a terminal nor pretend to be a line of its own. */
void cal__line_foreign(struct cal__line *line, const char *bytes, size_t length);

/* Ends the line and writes it, by one system call; only one that was interrupted before it wrote
 * anything is repeated, and errors are ignored. Does not go through libc's write(), which is a
 * cancellation point and which other libraries replace. Async-signal-safe, thread-safe, usable in the
 * child of a fork. Preserves errno. */
void cal__line_write(struct cal__line *line, int descriptor);

#endif
