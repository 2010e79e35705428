#include "doctor.h"

#include <common/components.h>
#include <common/file.h>
#include <common/library.h>
#include <common/options.h>
#include <common/preload_text.h>
#include <common/process.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libraries.h"
#include "output.h"
#include "probe.h"
#include "program.h"
#include "say.h"
#include "system.h"

const char doctor_help[] =
    "Without an argument: this system, as a program sees it that is started from here.\n"
    "With a program, or the id of a process: also what is so of that.\n"
    "\n"
    "  --all    also options that have their default\n"
    "  --json   for programs; see calloc(1)\n"
    "\n"
    "Lines that begin with '!' are to be mended, those with '-' worth knowing.\n"
    "Exit status: 0: nothing is to be mended; 1: something is; 2: wrong arguments;\n"
    "125: there is no such process, or it may not be looked at; 126, 127: no such program.\n";

struct request {
    bool all;
    const char *subject; /* NULL: none */
};

/* What is looked at. */
struct subject {
    struct program program; /* `path` NULL: none */
    struct process process; /* `id` 0: none */
    struct text options;    /* CALLOC_OPTIONS */
    char *executable;       /* without symbolic links; "" */
    struct text conf;       /* path of its secure.conf */
};

/* --- arguments ------------------------------------------------------------------------ */

static int parse(int count, char **words, struct request *request, struct output *output)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "--all") == 0)
            request->all = true;
        else if (strcmp(words[i], "--json") == 0)
            output->json = true;
        else if (words[i][0] == '-' && words[i][1] != '\0')
            return say("wrong option: %s", words[i]), MISUSED;
        else if (request->subject != NULL)
            return say("one argument too many: %s", words[i]), MISUSED;
        else
            request->subject = words[i];
    }
    /* Programs want all. */
    request->all |= output->json;
    return DONE;
}

/* 0: it is no number, and names a program; "./7" names one too. */
static pid_t process_id(const char *word)
{
    char *end;
    errno = 0;
    long id = strtol(word, &end, 10);
    return errno == 0 && *end == '\0' && end != word && id > 0 && id <= 0x7fffffff ? (pid_t)id : 0;
}

static int find_process(pid_t id, struct subject *subject)
{
    int error = process_read(id, &subject->process);
    if (error == -ESRCH)
        say("there is no process %d", (int)id);
    else if (error != 0)
        say("process %d: %s", (int)id, strerror(-error));
    else if (subject->process.is_kernel || subject->process.is_ending)
        say("process %d is %s", (int)id,
            subject->process.is_kernel ? "a thread of the kernel" : "ending");
    else if (!subject->process.is_readable)
        say("process %d may not be looked at; ask as root", (int)id);
    else
        return DONE;
    return FAILED;
}

static int find_subject(const struct request *request, struct subject *subject)
{
    const char *options = getenv("CALLOC_OPTIONS");
    text_string(&subject->conf, OPTIONS_CONF_PATH);
    if (request->subject == NULL) {
        text_string(&subject->options, options == NULL ? "" : options);
        subject->executable = duplicate("");
        return DONE;
    }
    pid_t id = process_id(request->subject);
    if (id != 0) {
        int status = find_process(id, subject);
        if (status != DONE)
            return status;
        /* Programs with more rights than their user ignore it. */
        if (!subject->process.is_secure)
            process_variable(id, "CALLOC_OPTIONS", &subject->options);
        subject->executable = duplicate(subject->process.program);
        if (subject->process.other_root) {
            text_clear(&subject->conf);
            text_format(&subject->conf, "/proc/%d/root%s", (int)id, OPTIONS_CONF_PATH);
        }
        return DONE;
    }
    int status = program_find(request->subject, &subject->program);
    if (status != DONE)
        return status;
    if (!subject->program.is_secure)
        text_string(&subject->options, options == NULL ? "" : options);
    subject->executable = realpath(subject->program.image, NULL);
    if (subject->executable == NULL)
        subject->executable = duplicate("");
    return DONE;
}

static void free_subject(struct subject *subject)
{
    program_free(&subject->program);
    process_free(&subject->process);
    text_free(&subject->options);
    text_free(&subject->conf);
    free(subject->executable);
}

/* --- program -------------------------------------------------------------------------- */

static void see_needed(const char *name, void *data)
{
    if (component_is_ours((struct piece){name, strlen(name)}))
        output_string(data, OUTPUT_FACT, "linked with", name, NULL);
}

static void show_program(struct output *output, const struct program *program)
{
    output_section(output, "program");
    output_string(output, OUTPUT_FACT, "file", program->path, NULL);
    if (strcmp(program->path, program->image) != 0)
        output_string(output, OUTPUT_FACT, "script, run by", program->image, NULL);
    if (program->error != 0) {
        output_string(output, OUTPUT_WARNING, "cannot be read", elf_error(program->error), NULL);
        return;
    }
    const char *system = program_obstacle(program, true);
    const char *variable = program_obstacle(program, false);
    if (system != NULL)
        output_string(output, OUTPUT_WARNING, "preload", "no", system);
    else if (variable != NULL)
        output_string(output, OUTPUT_NOTE, "preload", "by the system's file only", variable);
    else
        output_string(output, OUTPUT_FACT, "preload", "works", NULL);
    if (elf_exports_path(program->image, "malloc") == 1)
        output_string(output, OUTPUT_NOTE, "malloc", "its own",
                      "the program has a malloc of its own, and a preload does not replace it");
    int descriptor = open(program->image, O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        elf_needed(descriptor, see_needed, output);
        close(descriptor);
    }
}

/* --- process -------------------------------------------------------------------------- */

/* "libcalloc.so.1.0.0" has version 1.0.0. */
static void version_of(struct piece file, struct text *version)
{
    struct piece base = piece_base(file);
    const char *mark = memmem(base.bytes, base.length, ".so.", 4);
    text_clear(version);
    if (mark != NULL)
        text_bytes(version, mark + 4, base.length - (size_t)(mark + 4 - base.bytes));
    else
        text_string(version, "unknown");
}

static bool is_of_libc(struct piece base)
{
    return piece_begins(base, "libc.so") || piece_begins(base, "ld-linux") ||
           piece_begins(base, "ld64.so") || piece_begins(base, "ld.so");
}

/* A mapped file with a malloc that is neither ours nor libc's; read by way of the process's own root. */
static void look_for_malloc(struct output *output, const struct process *process, struct piece file)
{
    struct text path = {.length = 0};
    text_format(&path, "/proc/%d/root%.*s", (int)process->id, (int)file.length, file.bytes);
    if (!is_of_libc(piece_base(file)) && elf_exports_path(text_get(&path), "malloc") == 1)
        output_string(output, OUTPUT_NOTE, "another malloc", text_get(&path) + 6,
                      "which of them serves is the order of loading");
    text_free(&path);
}

static void show_process(struct output *output, const struct process *process)
{
    struct piece file;
    struct text path = {.length = 0}, version = {.length = 0};
    bool deleted, core = false, addon = false;
    output_section(output, "process");
    output_number(output, OUTPUT_FACT, "id", process->id, NULL);
    output_string(output, OUTPUT_FACT, "program", process->program, NULL);
    if (process->is_secure)
        output_string(output, OUTPUT_NOTE, "rights", "more than its user",
                      "it ignores CALLOC_OPTIONS and LD_PRELOAD");
    for (size_t from = 0; process_next_file(process, &from, &file, &deleted);) {
        if (!component_is_ours(file)) {
            look_for_malloc(output, process, file);
            continue;
        }
        bool is_core = piece_begins(piece_base(file), "libcalloc.so");
        core |= is_core, addon |= !is_core;
        text_clear(&path);
        text_bytes(&path, file.bytes, file.length);
        version_of(file, &version);
        output_string(output, deleted ? OUTPUT_WARNING : OUTPUT_FACT, text_get(&path),
                      text_get(&version),
                      deleted ? "the file was replaced since: restart the program" : NULL);
    }
    if (!core && addon)
        output_string(output, OUTPUT_WARNING, "core", "not loaded",
                      "an add-on does nothing without it: name libcalloc.so.1 before it");
    else if (!core)
        output_string(output, OUTPUT_NOTE, "libraries", "none loaded",
                      "the process runs on another malloc");
    text_free(&path);
    text_free(&version);
}

/* --- libraries and settings ------------------------------------------------------------- */

static void show_installed(struct output *output)
{
    output_section(output, "libraries");
    output_string(output, OUTPUT_FACT, "calloc", TOOLS_VERSION, "this program");
    for (int i = 0; i < COMPONENTS; i++) {
        struct text name = {.length = 0}, path = {.length = 0}, wrong = {.length = 0};
        struct text version = {.length = 0};
        libraries_name(NULL, &components[i], &name);
        struct piece piece = {text_get(&name), name.length};
        bool there = component_resolve("", piece, &path);
        char *real = there ? realpath(text_get(&path), NULL) : NULL;
        if (real == NULL) {
            text_format(&wrong,
                        "%s; --libraries of calloc run and record, or $" LIBRARIES_VARIABLE
                        ", name another folder",
                        text_get(&path));
            output_string(output, i == COMPONENT_core ? OUTPUT_WARNING : OUTPUT_NOTE,
                          components[i].name, "not installed",
                          text_get(i == COMPONENT_core ? &wrong : &path));
        } else if (!library_is_good("", piece, &wrong)) {
            output_string(output, OUTPUT_WARNING, real, "", text_get(&wrong));
        } else {
            version_of((struct piece){real, strlen(real)}, &version);
            bool same = strcmp(text_get(&version), components[i].version) == 0;
            text_format(&wrong, "%s%s%s", text_get(&path),
                        same ? "" : "; this program was built with ",
                        same ? "" : components[i].version);
            output_string(output, same ? OUTPUT_FACT : OUTPUT_NOTE, components[i].name,
                          text_get(&version), text_get(&wrong));
        }
        free(real);
        text_free(&name);
        text_free(&path);
        text_free(&wrong);
        text_free(&version);
    }
}

struct options {
    struct output *output;
    bool all;
    unsigned left_out;
};

static void show_option(const struct option_fact *fact, void *data)
{
    struct options *options = data;
    struct text remark = {.length = 0};
    bool same = strcmp(fact->value, fact->standard) == 0;
    if (same && !options->all) {
        options->left_out++;
        return;
    }
    if (same)
        text_string(&remark, fact->help);
    else
        text_format(&remark, "(default %s) %s", *fact->standard == '\0' ? "empty" : fact->standard,
                    fact->help);
    output_string(options->output, OUTPUT_FACT, fact->name, fact->value, text_get(&remark));
    text_free(&remark);
}

static void show_complaints(struct output *output, struct text *complaints)
{
    for (char *line = complaints->bytes; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        output_string(output, OUTPUT_WARNING, "complaint", line, NULL);
        line = end == NULL ? NULL : end + 1;
    }
    text_clear(complaints);
}

static void show_options(struct output *output, const struct subject *subject, bool all)
{
    struct options options = {.output = output, .all = all};
    struct option_source source = {text_get(&subject->options), text_get(&subject->conf),
                                   subject->executable};
    struct text complaints = {.length = 0};
    struct stat status = {.st_mode = 0};
    output_section(output, "options");
    output_string(output, OUTPUT_FACT, "CALLOC_OPTIONS",
                  subject->options.length == 0 ? "none" : text_get(&subject->options), NULL);
    output_string(output, OUTPUT_FACT, text_get(&subject->conf),
                  stat(text_get(&subject->conf), &status) == 0 ? "there" : "none", NULL);
    options_visit(&source, show_option, &options, &complaints);
    show_complaints(output, &complaints);
    if (options.left_out != 0)
        output_number(output, OUTPUT_FACT, "at their default", options.left_out,
                      "--all lists them");
    text_free(&complaints);
}

static void show_name(struct output *output, struct piece name)
{
    struct text text = {.length = 0}, why = {.length = 0};
    text_bytes(&text, name.bytes, name.length);
    if (component_is_ours(name)) {
        bool good = library_is_good("", name, &why);
        output_string(output, good ? OUTPUT_FACT : OUTPUT_WARNING, text_get(&text),
                      good ? "good" : text_get(&why), NULL);
    } else {
        int result = library_is_malloc("", name, &why);
        output_string(output, result == 0 ? OUTPUT_FACT : OUTPUT_WARNING, text_get(&text),
                      "not ours", why.length == 0 ? NULL : text_get(&why));
    }
    text_free(&text);
    text_free(&why);
}

static void show_preload(struct output *output)
{
    static const char path[] = "/etc/ld.so.preload";
    struct text text = {.length = 0};
    int error = file_read(path, 1 << 20, &text);
    output_section(output, path);
    if (error == -ENOENT)
        output_string(output, OUTPUT_FACT, "file", "none", NULL);
    else if (error != 0)
        output_string(output, OUTPUT_WARNING, "file", strerror(-error), NULL);
    struct preload_names names = preload_names(text_piece(&text));
    for (size_t i = 0; i < names.count; i++)
        show_name(output, names.items[i]);
    preload_names_free(&names);
    text_free(&text);
    const char *variable = getenv("LD_PRELOAD");
    output_string(output, OUTPUT_FACT, "LD_PRELOAD here", variable == NULL ? "none" : variable,
                  NULL);
}

int doctor(int count, char **words)
{
    struct request request = {.subject = NULL};
    struct output output = {.json = false};
    struct subject subject = {.executable = NULL};
    int status = parse(count, words, &request, &output);
    if (status == DONE)
        status = find_subject(&request, &subject);
    if (status == DONE) {
        if (subject.program.path != NULL)
            show_program(&output, &subject.program);
        if (subject.process.id != 0)
            show_process(&output, &subject.process);
        show_installed(&output);
        show_options(&output, &subject, request.all);
        show_preload(&output);
        output_section(&output, "kernel");
        probe_kernel(&output);
        output_section(&output, "memory");
        system_memory(&output);
        output_section(&output, "limits");
        system_limits(&output, subject.process.id);
        status = output.warnings == 0 ? DONE : FOUND;
        output_finish(&output);
    }
    free_subject(&subject);
    return status;
}
