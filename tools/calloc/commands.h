/* The table of commands: one row for each. */
#ifndef CALLOC_COMMANDS_H
#define CALLOC_COMMANDS_H

#include <stdio.h>

struct command {
    const char *name;
    /* WORDS are what stands behind the name, ended with NULL. An exit status. */
    int (*run)(int count, char **words);
    const char *arguments; /* for the usage line */
    const char *summary;   /* half a line */
    const char *help;      /* what --help prints below the usage line; lines end with '\n' */
};

/* Ends with a row whose name is NULL. */
extern const struct command commands[];

/* The row of a name, or NULL. */
const struct command *command_find(const char *name);
/* What its --help prints. */
void command_usage(const struct command *command, FILE *stream);

#endif
