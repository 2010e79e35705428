/* calloc: what one does with the libraries by hand. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "say.h"

static void usage(FILE *stream)
{
    fputs("usage: calloc COMMAND [ARGUMENT ...]\n\n", stream);
    for (const struct command *command = commands; command->name != NULL; command++)
        fprintf(stream, "  %-8s %s\n", command->name, command->summary);
    fputs("\ncalloc COMMAND --help says more, and so does calloc(1).\n", stream);
}

/* What a command printed has to have arrived. */
static int finish(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("calloc: standard output");
        return status == DONE ? FAILED : status;
    }
    return status;
}

static bool asks(const char *word, const char *name, const char *letter)
{
    return strcmp(word, name) == 0 || strcmp(word, letter) == 0;
}

int main(int count, char **words)
{
    if (count < 2) {
        usage(stderr);
        return MISUSED;
    }
    if (asks(words[1], "--help", "-h") || strcmp(words[1], "help") == 0) {
        const struct command *command = count > 2 ? command_find(words[2]) : NULL;
        if (command != NULL)
            command_usage(command, stdout);
        else
            usage(stdout);
        return finish(DONE);
    }
    if (asks(words[1], "--version", "-V")) {
        puts("calloc " TOOLS_VERSION);
        return finish(DONE);
    }
    const struct command *command = command_find(words[1]);
    if (command == NULL) {
        say("there is no command '%s'", words[1]);
        usage(stderr);
        return MISUSED;
    }
    say_command = command->name;
    if (count > 2 && asks(words[2], "--help", "-h")) {
        command_usage(command, stdout);
        return finish(DONE);
    }
    return finish(command->run(count - 2, words + 2));
}
