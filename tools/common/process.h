/* What /proc says of a process. */
#ifndef TOOLS_PROCESS_H
#define TOOLS_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "text.h"

enum { PROCESS_PATH_MAX = 4096 };

struct process {
    pid_t id;
    char command[32];               /* as ps shows it; what is not printable is '?' */
    char program[PROCESS_PATH_MAX]; /* the executable; "" where that is not known */
    bool is_kernel;                 /* a thread of the kernel */
    bool is_ending;                 /* a zombie */
    bool is_readable;               /* what follows is known */
    bool is_secure;                 /* runs with more rights than its user (AT_SECURE) */
    int64_t started;                /* seconds since 1970 */
    struct text files;              /* what it has mapped to execute: a path in each line */
    bool other_root;                /* another root directory than ours, or other mounts */
    bool other_container;           /* in a process namespace of its own */
};

/* 0, or a negative errno: -ESRCH where there is no such process. To be freed in either case. */
int process_read(pid_t id, struct process *process);
void process_free(struct process *process);

/* The next of the mapped files: moves *FROM, which is 0 at first. Without " (deleted)", which makes
 * *DELETED true. False at the end. */
bool process_next_file(const struct process *process, size_t *from, struct piece *file,
                       bool *deleted);

/* A variable of its environment when it was started; false where there is none or it is not known. */
bool process_variable(pid_t id, const char *name, struct text *value);

/* Calls VISIT with each process there is, in order of their ids. 0, or a negative errno. */
int process_each(void (*visit)(pid_t id, void *data), void *data);

#endif
