/* The hook table, and how the library comes into a process. */
#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "note.h"
#include "session.h"
#include "settings.h"

static void option(const char *item, size_t length)
{
    cal__track_settings_item(item, length);
}

static int start(void);

/* Not constant: whether it observes is decided when it is registered. */
extern struct cal_hooks cal_addon_track;

CAL_EXPORT struct cal_hooks cal_addon_track = {
    .size = sizeof cal_addon_track,
    .version = CAL_HOOKS_VERSION,
    .name = "track",
    .component_version = CAL_TRACK_VERSION,
    .lifecycle = &cal__session_lifecycle,
    .option = option,
    .start = start,
};

/* LATE: the process has allocated without us. */
static bool started, late;

static int start(void)
{
    if (started)
        return -ECANCELED;
    started = true;
    /* A program with more rights than its user tells nobody of its memory, and writes no files for him. */
    if (cal__track_settings.enable == 0 || getauxval(AT_SECURE) != 0)
        return -ECANCELED;
    int result = cal__session_begin(late);
    if (result == 0 && cal__session_active())
        cal_addon_track.observer = &cal__session_observer;
    return result;
}

/* Whose malloc the program's is. In a program that is not position-independent and takes its address, it has one in the
 * program for all; then another function of the family tells, of which no program does that. */
static bool find_malloc(Dl_info *whose)
{
    static const char *const names[] = {"malloc", "pvalloc"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const ElfW(Sym) *symbol = NULL;
        void *function = dlsym(RTLD_DEFAULT, names[i]);
        if (function != NULL &&
            dladdr1(function, whose, (void **)(void *)&symbol, RTLD_DL_SYMENT) != 0 &&
            (symbol == NULL || symbol->st_shndx != SHN_UNDEF))
            return true;
    }
    return false;
}

/* Loaded behind libc, the core is not who allocates, and nothing will be seen. A program with a malloc of its own means
 * that, and is told, too: it asked to be watched. */
static void look_for_other_malloc(void)
{
    /* Zeros, as MemorySanitizer does not know dladdr1(). */
    Dl_info ours = {0}, other = {0};
    if (!cal__session_begun() || cal__track_settings.quiet != 0 || !find_malloc(&other) ||
        dladdr((void *)&cal_hooks_register, &ours) == 0 || ours.dli_fbase == other.dli_fbase)
        return;
    struct cal__note note = {.length = 0};
    cal__note_string(&note, "libcalloc: this process is not watched: its malloc is that of ");
    cal__note_foreign(&note, other.dli_fname, strlen(other.dli_fname));
    cal__note_string(&note, "; preload libcalloc.so.1 too, or link with it before libc");
    cal__note_write(&note, STDERR_FILENO);
}

/* Where it was loaded with the process, the core registers it before its first allocation, which may not have been
 * yet; whoever loads it later registers it here. */
__attribute__((constructor)) static void constructed(void)
{
    struct cal_statistics statistics = {.size = sizeof statistics};
    late = !started && cal_stats(&statistics) == 0 && statistics.allocations != 0;
    if (!started)
        cal_hooks_register(&cal_addon_track);
    cal__session_complete();
    look_for_other_malloc();
}
