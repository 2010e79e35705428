/* Text that grows, and names in it. The tools end when memory is short: they hold nothing that could be
 * lost, and a file is replaced as a whole or not at all. */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All zeros: empty. `bytes` ends with '\0' behind `length`, or is NULL where nothing was ever added. */
struct text {
    char *bytes;
    size_t length;
    size_t room;
};

/* A part of somebody else's text; not ended. */
struct piece {
    const char *bytes;
    size_t length;
};

void text_bytes(struct text *text, const char *bytes, size_t length);
void text_string(struct text *text, const char *string);
__attribute__((format(printf, 2, 3))) void text_format(struct text *text, const char *format, ...);
/* Empties it, and keeps its memory. */
void text_clear(struct text *text);
void text_free(struct text *text);
/* What it holds, "" where that is nothing. */
const char *text_get(const struct text *text);
/* The same; valid until it is changed. */
struct piece text_piece(const struct text *text);

bool piece_is(struct piece piece, const char *string);
bool piece_begins(struct piece piece, const char *string);
/* What stands behind the last '/'. */
struct piece piece_base(struct piece piece);

/* malloc, realloc and strdup that end the process with a line where there is no memory. */
void *allocate(size_t size);
void *reallocate(void *block, size_t size);
char *duplicate(const char *string);

#endif
