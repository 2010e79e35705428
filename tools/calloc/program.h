/* Finding a program as a shell does, and what a preload can do with it. */
#ifndef CALLOC_PROGRAM_H
#define CALLOC_PROGRAM_H

#include <common/elf_file.h>
#include <stdbool.h>

struct program {
    char *path;             /* what is executed */
    char *image;            /* what the kernel loads: for a script its interpreter; else the same */
    struct elf_facts facts; /* of the image */
    int error;              /* why there are none, a negative errno; else 0 */
    bool is_secure; /* runs with more rights than we have: ld.so ignores the paths in LD_PRELOAD */
};

/* DONE; or NOT_FOUND, NOT_EXECUTABLE, and it has said why. */
int program_find(const char *name, struct program *program);
void program_free(struct program *program);

/* Why libraries that are named in LD_PRELOAD (or, with SYSTEM, in /etc/ld.so.preload) do not get into
 * the program; NULL where they do. */
const char *program_obstacle(const struct program *program, bool system);

#endif
