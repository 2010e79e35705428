/* calloc record -p: a process that runs, and has libcalloc-track. */
#ifndef CALLOC_ATTACH_H
#define CALLOC_ATTACH_H

#include <sys/types.h>

#include <common/text.h>

/* Has the process start recording, if it does not, and after SECONDS (0: when a line is read, the input
 * ends or SIGINT comes) write its profile; OUTPUT: where that is copied to, or NULL. An exit status, as
 * of a command. */
int attach(pid_t id, unsigned long seconds, const char *output);

/* Parts of it, for its tests. */

/* The value of the last item NAME=… of a CALLOC_OPTIONS; false where there is none. */
bool attach_option(const char *options, const char *name, struct text *value);

/* The file that a pattern of track.path stands for, with "*" for %n; in glob's form. */
void attach_expand(const char *pattern, const char *folder, pid_t id, const char *program,
                   struct text *path);

#endif
