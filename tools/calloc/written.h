/* Which files of a name and numbers a run has written, and which were there before: FILE.PID, for example. Not by
 * time, as files have that of the kernel's last tick, and a run may be shorter. */
#ifndef CALLOC_WRITTEN_H
#define CALLOC_WRITTEN_H

#include <stdbool.h>
#include <stddef.h>

#include <common/text.h>

struct written_file;

struct written {
    struct written_file *before; /* files that were there */
    size_t count;
};

/* Before the run: remembers the files whose name begins with that of PATH and a dot. */
void written_begin(struct written *written, const char *path);
void written_free(struct written *written);

/* Whether the run has written this file, which is one of those. */
bool written_has(const struct written *written, const char *path);

/* How many files PATH.<digits>END it has written, without MINE; LARGEST is the one that has most bytes, if any has more
 * than MINE, and else "". */
unsigned written_others(const struct written *written, const char *path, const char *end,
                        const char *mine, struct text *largest);

#endif
