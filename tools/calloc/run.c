#include "run.h"

#include <common/elf_file.h>
#include <common/options.h>
#include <common/words.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libraries.h"
#include "program.h"
#include "say.h"

const char run_help[] =
    "  --with LIST            add-ons to load with the core, secure or track; separated by commas\n"
    "  --level LEVEL          harden: light, standard or paranoid; implies --with secure\n"
    "  --option NAME=VALUE    an option, see calloc-options(7) and libcalloc-secure(7)\n"
    "  --libraries FOLDER     take the libraries from there: a folder of them, or a build tree;\n"
    "                         else from $" LIBRARIES_VARIABLE ", else where they are installed\n"
    "\n"
    "The exit status is that of the program; 127: there is none; 126: it cannot be executed;\n"
    "125: a library is missing or wrong; 2: wrong arguments.\n";

static void add_option(struct run_request *request, const char *name, const char *value)
{
    text_format(&request->options, "%s%s%s", request->options.length == 0 ? "" : ",", name, value);
}

static void say_unknown(struct piece key)
{
    struct text known = {.length = 0};
    component_list(&known, false);
    say("there is no add-on '%.*s': there are %s", (int)key.length, key.bytes, text_get(&known));
    text_free(&known);
}

/* The add-on whose option it is must be loaded. */
static bool has_its_add_on(const struct run_request *request, struct piece item)
{
    const char *equals = memchr(item.bytes, '=', item.length);
    const char *dot = memchr(item.bytes, '.', (size_t)(equals - item.bytes));
    if (dot == NULL)
        return true;
    struct piece key = {item.bytes, (size_t)(dot - item.bytes)};
    int index = component_find(key);
    if (index >= 0 && (request->set >> index & 1) != 0)
        return true;
    if (index < 0)
        say_unknown(key);
    else
        say("the option %.*s needs --with %.*s", (int)item.length, item.bytes, (int)key.length,
            key.bytes);
    return false;
}

static bool check_options(const struct run_request *request)
{
    bool good = true;
    for (const char *from = text_get(&request->options); good && *from != '\0';) {
        struct piece item = {from, strcspn(from, ",")};
        good = has_its_add_on(request, item);
        from += item.length + (from[item.length] == ',');
    }
    return good;
}

/* What the library would say, were it left to it: there it only warns. */
static void say_complaint(struct text *complaints)
{
    static const char middle[] = " in CALLOC_OPTIONS, ignored";
    char *from = complaints->bytes, *found = strstr(from, middle);
    from[strcspn(from, "\n")] = '\0';
    say("%.*s%s", found == NULL ? (int)strlen(from) : (int)(found - from), from,
        found == NULL ? "" : found + sizeof middle - 1);
}

static bool take_option(struct run_request *request, const char *name, const char *value)
{
    struct text item = {.length = 0}, complaints = {.length = 0};
    text_format(&item, "%s%s", name, value);
    bool good = options_check(text_get(&item), &complaints);
    if (good)
        add_option(request, name, value);
    else
        say_complaint(&complaints);
    text_free(&item);
    text_free(&complaints);
    return good;
}

static bool take_components(struct run_request *request, const char *list)
{
    struct piece wrong;
    if (component_parse(list, &request->set, &wrong))
        return true;
    say_unknown(wrong);
    return false;
}

int run_parse(int count, char **words, struct run_request *request)
{
    *request = (struct run_request){.set = 1U << COMPONENT_core};
    int i = 0;
    for (; i < count && words[i][0] == '-'; i++) {
        const char *value, *word = words[i];
        bool good = true;
        if (strcmp(word, "--") == 0) {
            i++;
            break;
        }
        if ((value = option_value(count, words, &i, "--with")) != NULL)
            good = take_components(request, value);
        else if ((value = option_value(count, words, &i, "--level")) != NULL)
            good =
                take_components(request, "secure") && take_option(request, "secure.level=", value);
        else if ((value = option_value(count, words, &i, "--option")) != NULL)
            good = take_option(request, "", value);
        else if ((value = option_value(count, words, &i, "--libraries")) != NULL)
            request->libraries = value;
        else
            good = (say("wrong option, or one without its value: %s", word), false);
        if (!good)
            return MISUSED;
    }
    request->used = i;
    if (i == count) {
        say("which program?");
        return MISUSED;
    }
    return check_options(request) ? DONE : MISUSED;
}

void run_free(struct run_request *request)
{
    text_free(&request->options);
}

static bool check_library(struct piece name)
{
    struct text path = {.length = 0};
    struct elf_facts facts;
    bool good = false;
    if (!component_resolve("", name, &path))
        say("%s is missing: is the library installed? --libraries or $" LIBRARIES_VARIABLE
            " names another folder",
            text_get(&path));
    else if (strpbrk(name.bytes, " :") != NULL)
        say("LD_PRELOAD cannot hold a path with a blank or a colon: %s", name.bytes);
    else {
        int error = elf_read_path(text_get(&path), &facts);
        good = error == 0 && elf_is_native(&facts);
        if (!good)
            say("%s %s", text_get(&path),
                error != 0 ? elf_error(error) : "is for another kind of machine");
    }
    text_free(&path);
    return good;
}

/* The libraries, the core first. False where one is missing. */
static bool name_libraries(const struct run_request *request, struct text *preload)
{
    bool good = true;
    for (int i = 0; i < COMPONENTS && good; i++) {
        struct text name = {.length = 0};
        if ((request->set >> i & 1) == 0)
            continue;
        libraries_name(request->libraries, &components[i], &name);
        good = check_library(text_piece(&name));
        text_format(preload, "%s%s", preload->length == 0 ? "" : " ", text_get(&name));
        text_free(&name);
    }
    return good;
}

static bool is_in_set(struct piece name, component_set set)
{
    for (int i = 0; i < COMPONENTS; i++)
        if ((set >> i & 1) != 0 && piece_is(piece_base(name), components[i].soname))
            return true;
    return false;
}

void run_join_preload(const char *ours, component_set set, const char *preload, struct text *result)
{
    text_string(result, ours);
    while (preload != NULL && *preload != '\0') {
        struct piece name = {preload, strcspn(preload, " :")};
        if (name.length != 0 && !is_in_set(name, set))
            text_format(result, "%s%.*s", result->length == 0 ? "" : " ", (int)name.length,
                        name.bytes);
        preload += name.length + (preload[name.length] != '\0');
    }
}

static void set_variable(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0) {
        say("cannot set %s: %s", name, strerror(errno));
        exit(FAILED);
    }
}

static void set_environment(const struct run_request *request, const char *ours)
{
    struct text preload = {.length = 0}, options = {.length = 0};
    run_join_preload(ours, request->set, getenv("LD_PRELOAD"), &preload);
    set_variable("LD_PRELOAD", text_get(&preload));
    const char *before = getenv("CALLOC_OPTIONS");
    if (request->options.length != 0) {
        /* Of two items for one option the later one wins. */
        if (before != NULL && *before != '\0')
            text_format(&options, "%s,", before);
        text_string(&options, text_get(&request->options));
        set_variable("CALLOC_OPTIONS", text_get(&options));
    }
    text_free(&preload);
    text_free(&options);
}

/* Only comes back where the program cannot be executed. */
static int execute(const char *name, const struct program *program, char **words)
{
    const char *obstacle = program_obstacle(program, false);
    if (obstacle != NULL)
        say("note: %s %s", program->image, obstacle);
    execv(program->path, words);
    int error = errno;
    if (error == ENOENT && access(program->path, F_OK) == 0)
        say("'%s' needs an interpreter or loader that is not there: %s", name,
            *program->facts.interpreter != '\0' ? program->facts.interpreter : program->image);
    else
        say("'%s' cannot be executed: %s", name, strerror(error));
    return error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}

int run(int count, char **words)
{
    struct run_request request;
    struct program program = {.path = NULL};
    struct text ours = {.length = 0};
    int status = run_parse(count, words, &request);
    if (status == DONE && !name_libraries(&request, &ours))
        status = FAILED;
    if (status == DONE)
        status = program_find(words[request.used], &program);
    if (status == DONE) {
        set_environment(&request, text_get(&ours));
        status = execute(words[request.used], &program, words + request.used);
    }
    run_free(&request);
    program_free(&program);
    text_free(&ours);
    return status;
}
