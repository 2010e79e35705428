#include "status.h"

#include <common/elf_file.h>
#include <common/file.h>
#include <common/options.h>
#include <common/process.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"
#include "verify.h"

/* With: has them. Old: has them, of files that have been replaced since. Without: could have them. Apart:
 * no preload of this system reaches it. Kernel: has no libraries at all. Unknown: we may not look. */
enum kind { WITH, OLD, WITHOUT, APART, KERNEL, UNKNOWN, KINDS };

static const char *const kind_names[KINDS] = {"yes", "old", "no", "no", "-", "?"};

struct look {
    const struct place *place;
    component_set set; /* what the file names; 0: nothing */
    int64_t changed;   /* when, in seconds since 1970 */
    bool brief;
    size_t counts[KINDS];
};

/* The libraries of ours that a process has: how many, and whether one was replaced since. */
static unsigned count_ours(const struct process *process, bool *replaced)
{
    struct piece file;
    bool deleted;
    unsigned count = 0;
    *replaced = false;
    for (size_t from = 0; process_next_file(process, &from, &file, &deleted);) {
        if (!component_is_ours(file))
            continue;
        count++;
        *replaced |= deleted;
    }
    return count;
}

/* Below /proc/ID/root: what the process itself would find. */
static bool finds(const struct process *process, const char *path, struct text *contents)
{
    struct text there = {.length = 0};
    text_clear(contents);
    text_format(&there, "/proc/%jd/root%s", (intmax_t)process->id, path);
    bool found = file_read(text_get(&there), 1 << 20, contents) == 0;
    text_free(&there);
    return found;
}

static bool finds_library(const struct process *process, struct piece name)
{
    struct text root = {.length = 0}, path = {.length = 0};
    text_format(&root, "/proc/%jd/root", (intmax_t)process->id);
    bool found = component_resolve(text_get(&root), name, &path);
    text_free(&root);
    text_free(&path);
    return found;
}

/* Of a process with another root or other mounts: what its own file says. */
static const char *why_apart(const struct process *process)
{
    struct text text = {.length = 0};
    const char *why = NULL;
    bool any = finds(process, "/etc/ld.so.preload", &text);
    struct preload_names names = names_of_ours(text_piece(&text));
    if (!any || names.count == 0)
        why = process->other_container ? "container whose ld.so.preload does not name them"
                                       : "root or mounts of its own, where ld.so.preload does not "
                                         "name them";
    for (size_t i = 0; why == NULL && i < names.count; i++)
        if (!finds_library(process, names.items[i]))
            why = process->other_container ? "container without the library"
                                           : "root or mounts of its own, without the library";
    preload_names_free(&names);
    text_free(&text);
    return why;
}

/* Of an executable that no preload of this architecture and C library reaches. */
static const char *why_program(const struct process *process)
{
    char path[64];
    struct elf_facts facts;
    snprintf(path, sizeof path, "/proc/%jd/exe", (intmax_t)process->id);
    if (elf_read_path(path, &facts) != 0)
        return NULL;
    if (!elf_is_native(&facts))
        return "of another architecture";
    if (*facts.interpreter == '\0' && !facts.is_dynamic)
        return "statically linked";
    if (*facts.interpreter == '\0')
        return "statically linked, or started by way of ld.so";
    if (strstr(facts.interpreter, "musl") != NULL)
        return "its C library is musl, which does not read ld.so.preload";
    return NULL;
}

/* Whether the user of a process may read the library files; they were looked at for all users before. */
static bool is_readable(const struct look *look)
{
    struct preload_names wanted = wanted_names(look->set);
    bool readable = true;
    for (size_t i = 0; readable && i < wanted.count; i++) {
        struct text path = {.length = 0};
        struct stat file = {.st_mode = 0};
        readable = component_resolve("", wanted.items[i], &path) &&
                   stat(text_get(&path), &file) == 0 && (file.st_mode & S_IROTH) != 0;
        text_free(&path);
    }
    wanted_names_free(&wanted);
    return readable;
}

static enum kind judge(const struct look *look, const struct process *process, struct text *why)
{
    bool replaced;
    if (process->is_kernel || process->is_ending) {
        text_string(why, process->is_kernel ? "thread of the kernel" : "has ended");
        return KERNEL;
    }
    if (!process->is_readable) {
        text_string(why,
                    geteuid() == 0 ? "may not be looked at" : "may not be looked at; ask as root");
        return UNKNOWN;
    }
    unsigned count = count_ours(process, &replaced);
    if (count != 0 && replaced) {
        text_string(why, "the library was replaced since; restart it");
        return OLD;
    }
    if (count != 0)
        return WITH;
    const char *reason = why_program(process);
    if (reason != NULL) {
        text_string(why, reason);
        return APART;
    }
    if (process->other_root && (reason = why_apart(process)) != NULL) {
        text_string(why, reason);
        return APART;
    }
    if (look->set == 0)
        text_string(why, "not enabled");
    else if (process->started <= look->changed)
        text_string(why, "started before it was enabled; restart it");
    else if (!is_readable(look))
        text_string(why, "a library is not there, or others may not read it (calloc-preload "
                         "verify)");
    else if (process->is_secure)
        text_string(why, "runs with more rights than its user, and ld.so did not take the library: "
                         "see its mode and folder");
    else
        text_string(why, "ld.so did not take it: it printed why when the program was started");
    return WITHOUT;
}

/* How far a process that has the add-on is hardened. */
static void tell_level(const struct look *look, const struct process *process, struct text *why)
{
    struct piece file;
    bool deleted, secure = false;
    for (size_t from = 0; process_next_file(process, &from, &file, &deleted);)
        secure |= component_is_ours(file) && piece_begins(piece_base(file), "libcalloc-secure");
    if (!secure)
        return;
    struct text options = {.length = 0}, unused = {.length = 0};
    if (!process->is_secure)
        process_variable(process->id, "CALLOC_OPTIONS", &options);
    struct option_source source = {text_get(&options), look->place->conf, process->program};
    struct option_secure settings = options_secure(&source, &unused);
    text_string(why, settings.enable ? settings.level : "exempted: secure.enable is 0");
    text_free(&options);
    text_free(&unused);
}

static void visit(pid_t id, void *data)
{
    struct look *look = data;
    struct process process;
    struct text why = {.length = 0};
    /* It may have ended meanwhile. */
    if (id != getpid() && process_read(id, &process) == 0) {
        enum kind kind = judge(look, &process, &why);
        look->counts[kind]++;
        if (kind == WITH)
            tell_level(look, &process, &why);
        if (!look->brief && kind != KERNEL)
            printf("%8jd  %-16.16s %-4s %s\n", (intmax_t)id, process.command, kind_names[kind],
                   text_get(&why));
        process_free(&process);
    }
    text_free(&why);
}

int status(const struct place *place, bool brief)
{
    struct look look = {.place = place, .brief = brief};
    int result = examine(place, &look.set);
    if (result == FAILED)
        look.set = 0;
    /* The processes are those of this system, not of one below another root. */
    if (*place->root != '\0')
        return result;
    struct stat file = {.st_mode = 0};
    look.changed = stat(place->preload, &file) == 0 ? (int64_t)file.st_ctime : 0;
    if (!brief)
        printf("%8s  %-16s %-4s %s\n", "process", "program", "has", "level, or why not");
    int error = process_each(visit, &look);
    if (error != 0) {
        say("cannot list the processes: %s", strerror(-error));
        return result == FAILED ? FAILED : WRONG;
    }
    printf("%zu have them, %zu have old ones, %zu could have them, %zu are out of reach, %zu "
           "are the kernel's or have ended, %zu may not be looked at\n",
           look.counts[WITH], look.counts[OLD], look.counts[WITHOUT], look.counts[APART],
           look.counts[KERNEL], look.counts[UNKNOWN]);
    return result;
}
