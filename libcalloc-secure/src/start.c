/* The hook table, and what happens at its events. */
#include <calloc/hooks.h>
#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <unistd.h>

#include "conf.h"
#include "fault.h"
#include "guard.h"
#include "hardened.h"
#include "hold.h"
#include "large.h"
#include "line.h"
#include "pages.h"
#include "random.h"
#include "slab.h"
#include "validate.h"

/* What CALLOC_OPTIONS says; used and done with before there are threads. */
static struct cal__settings_draft given;

static void option(const char *item, size_t length)
{
    static const struct cal__settings_place place = {.file = NULL};
    cal__settings_item(&given, item, length, &place);
}

static void start_guards(const struct cal__settings *settings)
{
    struct cal__guard_limits limits = {.protect_only = settings->guard_protect_only != 0,
                                       .protect_first = (unsigned)settings->guard_protect_first,
                                       .percent = (unsigned)settings->guard_percent,
                                       .unused = cal__hardened_unused,
                                       .unused_length = sizeof cal__hardened_unused};
    cal__guard_start(&limits);
}

/* Freed large blocks wait with their addresses. Where a process may have only so many of them they are to take a
 * part, or there were none left for new blocks. */
enum { ADDRESS_SHARE = 16 };

static void ration_addresses(struct cal__hardened_state *hardened)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    hardened->addresses_limited = true;
    uint64_t share = limit.rlim_cur / ADDRESS_SHARE;
    if (hardened->settings.address_quarantine > share)
        hardened->settings.address_quarantine = share;
}

/* BEGUN: start() has run. LATE: it runs in a process that has allocated without us. */
static bool begun, late;

static int start(void)
{
    struct cal__hardened_state *hardened = &cal__hardened;
    if (begun)
        return -ECANCELED;
    begun = true;
    cal__conf_load(&hardened->settings, &given);
    if (!hardened->settings.enable)
        return -ECANCELED;
    ration_addresses(hardened);
    hardened->page = (uint32_t)getauxval(AT_PAGESZ);
    cal__random_start();
    if (hardened->settings.metadata)
        hardened->secret = cal__random_64(cal__hardened_random());
    cal__report_thread();
    start_guards(&hardened->settings);
    hardened->clean = hardened->settings.zero_on_free && hardened->settings.zero_large && !late;
    cal__pages_start(&hardened->settings);
    cal__fault_start(&hardened->settings);
    cal__slab_start();
    hardened->active = true;
    return 0;
}

static void thread_end(void)
{
    cal__hold_end();
    cal__hardened_end_random();
}

/* Where the thread that forks is the only one, nobody can hold a latch: to take and to release them would only have
 * parent and child copy the pages that they are in. */
static _Thread_local __attribute__((tls_model("initial-exec"))) bool forks_alone;

static void fork_prepare(void)
{
    forks_alone = __libc_single_threaded;
    if (forks_alone)
        return;
    cal__hold_lock();
    cal__large_lock();
    cal__pages_lock();
}

static void fork_parent(void)
{
    if (forks_alone)
        return;
    cal__pages_unlock(false);
    cal__large_unlock(false);
    cal__hold_unlock(false);
}

static void fork_child(void)
{
    cal__random_forked();
    if (!forks_alone) {
        cal__pages_unlock(true);
        cal__large_unlock(true);
        cal__hold_unlock(true);
    }
    cal__report_thread();
}

static void exiting(void)
{
    if (cal__hardened.settings.validate_at_exit != 0)
        cal__validate(cal__hardened.settings.validate_at_exit);
}

static bool reclaim(void)
{
    bool any = cal__hold_drain();
    return cal__large_drain() || any;
}

static const struct cal_lifecycle lifecycle = {
    .size = sizeof lifecycle,
    .thread_end = thread_end,
    .fork_prepare = fork_prepare,
    .fork_parent = fork_parent,
    .fork_child = fork_child,
    .exiting = exiting,
    .reclaim = reclaim,
};

CAL_EXPORT const struct cal_hooks cal_addon_secure = {
    .size = sizeof cal_addon_secure,
    .version = CAL_HOOKS_VERSION,
    .name = "secure",
    .component_version = CAL_SECURE_VERSION,
    .slots = &cal__slab_role,
    .owner = &cal__pages_owner,
    .lifecycle = &lifecycle,
    .option = option,
    .start = start,
};

/* The program or library that has this function. Not by dladdr(), which looks for the function's name too, among all
 * that it has. */
static const struct link_map *owner_of(void *function)
{
    struct dl_find_object found = {.dlfo_link_map = NULL};
    return _dl_find_object(function, &found) == 0 ? found.dlfo_link_map : NULL;
}

/* What has the malloc that the program calls, if that is not the core; else NULL. */
static const struct link_map *other_malloc(void)
{
    void *function = dlsym(RTLD_DEFAULT, "malloc");
    const struct link_map *other = function == NULL ? NULL : owner_of(function);
    return other != owner_of((void *)&cal_hooks_register) ? other : NULL;
}

/* The program itself has no name there. */
static const char *name_of(const struct link_map *object)
{
    return *object->l_name != '\0' ? object->l_name : program_invocation_name;
}

/* A program or a library that brings a malloc of its own means it. That of libc is what is left when the core
 * was loaded behind it, which nobody means. */
static void look_for_other_malloc(void)
{
    const struct link_map *other = other_malloc();
    if (other == NULL)
        return;
    cal__hardened.own_malloc = name_of(other);
    if (!cal__hardened.active || other != owner_of((void *)&gnu_get_libc_version))
        return;
    cal__hardened.shadowed = true;
    struct cal__line line = {.length = 0};
    cal__line_string(&line, "libcalloc: this process is not hardened: its malloc is that of ");
    cal__line_foreign(&line, other->l_name, strlen(other->l_name));
    cal__line_string(&line, "; preload libcalloc.so.1 too, or link with it before libc");
    cal__line_write(&line, STDERR_FILENO);
}

/* Registered to have the core start, which it does then with all of its family that is loaded, and to be nothing
 * itself. An allocation would do so too, and map memory that a process which never allocates has no need of. */
static int decline(void)
{
    return -ECANCELED;
}

static const struct cal_hooks nobody = {
    .size = sizeof nobody,
    .version = CAL_HOOKS_VERSION,
    .name = "secure",
    .component_version = CAL_SECURE_VERSION,
    .start = decline,
};

/* Whoever loads the library while the process runs registers it here: what was allocated before stays as
 * it is. Where it was loaded with the process, the core has done so long ago. */
__attribute__((constructor)) static void constructed(void)
{
    cal_hooks_register(&nobody);
    late = true;
    if (!begun)
        cal_hooks_register(&cal_addon_secure);
    look_for_other_malloc();
    cal__hardened_seal();
}
