/* Names of functions, from the symbol table of a module's file. */
#ifndef CAL_TRACK_SYMBOLS_H
#define CAL_TRACK_SYMBOLS_H

#include "base.h"

/* A file that is mapped to be read. */
struct cal__symbols {
    const char *file;
    size_t length;
    const void *symbols;
    size_t count;
    const char *names;
    size_t names_length;
};

/* False, with nothing open: it cannot be read or has no symbols. */
bool cal__symbols_open(struct cal__symbols *symbols, const char *path);
void cal__symbols_close(struct cal__symbols *symbols);

/* The function that ADDRESS of the file, as linked, lies in; NULL: none. */
const char *cal__symbols_find(const struct cal__symbols *symbols, uintptr_t address);

#endif
