/* From addresses in a program or library to functions, files and lines: libdwfl finds the debugging
 * information, also where it is split off, and what was inlined is told apart. */
#ifndef CAL_REPORT_SYMBOLS_H
#define CAL_REPORT_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cal__symbol {
    const char *function; /* demangled; NULL: not known */
    const char *file;     /* NULL: not known */
    unsigned line;        /* 0: not known */
};

/* Where to look. */
struct cal__symbols_paths {
    const char *sysroot; /* goes before the names of modules; NULL: none */
    /* Directories with .build-id/ and debug links below, parted by colons; NULL: /usr/lib/debug. */
    const char *debug_directories;
};

struct cal__symbols_module {
    const char *path; /* as the process had it */
    const unsigned char *build_id;
    size_t build_id_length; /* 0: not known, then any file of that name is taken */
};

enum cal__symbols_found {
    CAL__SYMBOLS_NOTHING, /* no file, or another one: `*why` says it, for free() */
    CAL__SYMBOLS_NAMES,   /* only the symbol table */
    CAL__SYMBOLS_LINES,   /* debugging information */
};

/* Called once for each address, in any order: `index` is that of the address, `symbols` are valid for the
 * call, innermost first; all but the last were inlined. `count` is 0 where nothing is known. */
typedef void cal__symbols_take(void *context, size_t index, const struct cal__symbol *symbols,
                               unsigned count);

/* Looks up `count` addresses of one module, as its ELF file has them (without load bias). */
enum cal__symbols_found cal__symbols_look_up(const struct cal__symbols_paths *paths,
                                             const struct cal__symbols_module *module,
                                             const uint64_t *addresses, size_t count,
                                             cal__symbols_take *take, void *context, char **why);

#endif
