/* calloc-preload: the libraries in every program of the system, by /etc/ld.so.preload. Linked statically:
 * it has to run where a line of that file keeps everything else from running. */
#include <common/components.h>
#include <common/words.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disable.h"
#include "enable.h"
#include "level.h"
#include "say.h"
#include "status.h"
#include "verify.h"

struct arguments {
    const char *root;
    const char *level;
    bool package;
    bool brief;
    component_set set;
};

static int run_enable(const struct place *place, const struct arguments *arguments)
{
    return enable(place, arguments->set, arguments->level);
}

static int run_refresh(const struct place *place, const struct arguments *arguments)
{
    return refresh(place);
}

static int run_disable(const struct place *place, const struct arguments *arguments)
{
    return disable(place, arguments->package);
}

static int run_status(const struct place *place, const struct arguments *arguments)
{
    return status(place, arguments->brief);
}

static int run_verify(const struct place *place, const struct arguments *arguments)
{
    return verify(place);
}

enum { TAKES_LEVEL = 1, TAKES_COMPONENTS = 2, TAKES_PACKAGE = 4, TAKES_BRIEF = 8 };

static const struct command {
    const char *name;
    int (*run)(const struct place *place, const struct arguments *arguments);
    unsigned takes;
    const char *synopsis;
    const char *help;
} commands[] = {
    {"enable", run_enable, TAKES_LEVEL | TAKES_COMPONENTS, "[--level LEVEL] [COMPONENT ...]",
     "try the libraries, then name them in /etc/ld.so.preload"},
    {"disable", run_disable, TAKES_PACKAGE, "[--package]",
     "take them out; starts no other program"},
    {"refresh", run_refresh, 0, "", "where it is enabled, write the names of this version"},
    {"status", run_status, TAKES_BRIEF, "[--brief]",
     "what the file says, and which processes have the libraries"},
    {"verify", run_verify, 0, "", "whether programs started now run on them; else status 3"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void usage(FILE *stream)
{
    fputs("usage: calloc-preload COMMAND [--root FOLDER] [ARGUMENTS]\n\n", stream);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stream, "  %-8s %-31s  %s\n", commands[i].name, commands[i].synopsis,
                commands[i].help);
    struct text list = {.length = 0};
    component_list(&list, true);
    fprintf(stream,
            "\nCOMPONENT is one of %s; without one: core and secure.\n"
            "LEVEL is light, standard or paranoid, and is written to /etc/calloc/secure.conf.\n"
            "--root FOLDER works on the system below FOLDER.\n"
            "Exit status: 0 done; 1 not done, nothing changed (status, verify: not enabled);\n"
            "2 wrong arguments; 3 enabled, and something is wrong. See calloc-preload(8).\n",
            text_get(&list));
    text_free(&list);
}

static int misuse(const char *what, const char *argument)
{
    say("%s%s", what, argument);
    usage(stderr);
    return MISUSED;
}

static bool is(const char *argument, const char *name)
{
    return strcmp(argument, name) == 0;
}

static bool is_for_everywhere(component_set set)
{
    for (int i = 0; i < COMPONENTS; i++)
        if ((set >> i & 1) != 0 && !components[i].everywhere) {
            say("%s is for single programs: calloc run --with %s", components[i].key,
                components[i].key);
            return false;
        }
    return true;
}

/* DONE, or MISUSED with a line said. */
static int parse(const struct command *command, int count, char **words,
                 struct arguments *arguments)
{
    bool named = false;
    for (int i = 0; i < count; i++) {
        const char *value, *word = words[i];
        struct piece wrong;
        if ((value = option_value(count, words, &i, "--root")) != NULL)
            arguments->root = value;
        else if ((command->takes & TAKES_LEVEL) != 0 &&
                 (value = option_value(count, words, &i, "--level")) != NULL)
            arguments->level = value;
        else if ((command->takes & TAKES_PACKAGE) != 0 && is(word, "--package"))
            arguments->package = true;
        else if ((command->takes & TAKES_BRIEF) != 0 && is(word, "--brief"))
            arguments->brief = true;
        else if (*word == '-')
            return misuse("wrong option, or one without its value: ", word);
        else if ((command->takes & TAKES_COMPONENTS) == 0)
            return misuse("one argument too many: ", word);
        else if (!component_parse(word, &arguments->set, &wrong))
            return misuse("there is no component of this name, or in this list: ", word);
        else
            named = true;
    }
    if (!named)
        arguments->set = 1U << COMPONENT_core | 1U << COMPONENT_secure;
    if (!is_for_everywhere(arguments->set))
        return MISUSED;
    if (arguments->level != NULL && !level_is_known(arguments->level))
        return MISUSED;
    if (arguments->level != NULL && (arguments->set >> COMPONENT_secure & 1) == 0)
        return misuse("the component secure is needed for --level ", arguments->level);
    return DONE;
}

static bool asks_for_help(int count, char **words)
{
    for (int i = 0; i < count; i++)
        if (is(words[i], "--help") || is(words[i], "-h"))
            return true;
    return false;
}

int main(int count, char **words)
{
    umask(022);
    if (asks_for_help(count - 1, words + 1) || (count == 2 && is(words[1], "help"))) {
        usage(stdout);
        return DONE;
    }
    if (count == 2 && is(words[1], "--version")) {
        puts("calloc-preload " TOOLS_VERSION);
        return DONE;
    }
    if (count < 2)
        return misuse("which command?", "");
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!is(words[1], commands[i].name))
            continue;
        struct arguments arguments = {.root = NULL};
        struct place place;
        int result = parse(&commands[i], count - 2, words + 2, &arguments);
        if (result != DONE)
            return result;
        result = place_open(&place, arguments.root) ? commands[i].run(&place, &arguments) : FAILED;
        place_close(&place);
        if (fflush(stdout) != 0 && result == DONE)
            result = FAILED;
        return result;
    }
    return misuse("there is no command ", words[1]);
}
