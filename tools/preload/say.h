/* What the program tells its user, and how it ends. */
#ifndef PRELOAD_SAY_H
#define PRELOAD_SAY_H

/* Exit statuses, see calloc-preload(8). */
enum {
    DONE = 0,
    FAILED = 1, /* not done, and nothing changed; status: it is not enabled */
    MISUSED = 2,
    WRONG = 3 /* status, verify: enabled, and something is wrong */
};

/* "calloc-preload: …" on standard error. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif
