/* What the program tells its user, and how it ends. */
#ifndef CALLOC_SAY_H
#define CALLOC_SAY_H

/* Exit statuses of all commands, see calloc(1). */
enum {
    DONE = 0,
    FOUND = 1, /* doctor: there is something to mend */
    MISUSED = 2,
    FAILED = 125, /* the command itself failed; those of a program that was run are its own */
    NOT_EXECUTABLE = 126,
    NOT_FOUND = 127
};

/* The name of the command that runs, for say(). */
extern const char *say_command;

/* "calloc COMMAND: …" on standard error. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif
