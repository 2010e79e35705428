/* What stands in /etc/ld.so.preload, and changing it.
 *
 * ld.so (glibc, elf/rtld.c) takes names separated by blanks, tabs, ends of lines and colons. A '#' begins a
 * comment up to the end of the line; a NUL byte ends what is read. It has a fault: looking for the second
 * comment it starts again at the beginning of the file, but as far from there as it still had to go; so of
 * two or more comments the later ones may be read as names, or in part. What it would really load is
 * preload_names(); a change that would alter that for names of others is refused. */
#ifndef TOOLS_PRELOAD_TEXT_H
#define TOOLS_PRELOAD_TEXT_H

#include "text.h"

struct preload_names {
    struct piece *items; /* in TEXT */
    size_t count;
};

/* The names that ld.so loads, in order. */
struct preload_names preload_names(struct piece text);
void preload_names_free(struct preload_names *names);

/* TEXT without the names that REMOVES accepts. Lines that hold nothing else go as a whole, of others the
 * name and a separator; every other byte stays. Adds to RESULT. */
void preload_text_without(struct piece text, bool (*removes)(struct piece name),
                          struct text *result);

/* TEXT with NAMES before everything else, a line each, in place of all names that REMOVES accepts; behind
 * everything else where the comments are such that ld.so would not see the others the same then. False, and
 * RESULT is not meaningful, where it would in neither case. */
bool preload_text_with(struct piece text, const struct piece *names, size_t count,
                       bool (*removes)(struct piece name), struct text *result);

#endif
