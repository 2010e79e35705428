#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <calloc/calloc.h>
#include <calloc/hooks.h>

#include "blocks.h"
#include "events.h"
#include "memory.h"
#include "modules.h"
#include "mutex.h"
#include "nodes.h"
#include "note.h"
#include "overlooked.h"
#include "profile.h"
#include "record.h"
#include "rows.h"
#include "settings.h"
#include "stop.h"
#include "suppress.h"
#include "thread.h"
#include "timeline.h"
#include "walk.h"

static bool begun;
static _Atomic bool active;
static _Atomic bool ever;      /* it was active */
static _Atomic uint32_t flags; /* CAL_PROCESS_… */
static _Atomic int process;    /* whose memory this is: not that of a child of vfork() */
static _Atomic bool finished;  /* the profile of the exit is there */
static int exit_status;
static struct cal__mutex switching;
static bool
    torn; /* the last switch did not end: it failed, or a fork came, and who was at it is not in the child */

/* The calling thread does something of the library's own: what it allocates is not recorded. What it was before. */
static bool enter(void)
{
    struct cal__thread *thread = cal__record_thread();
    cal__memory_exceed();
    if (thread == NULL)
        return false;
    bool before = thread->busy;
    thread->busy = true;
    return before;
}

static void leave(bool before)
{
    cal__memory_comply();
    struct cal__thread *thread = cal__thread_self();
    if (thread != NULL)
        thread->busy = before;
    if (thread != NULL && thread->late)
        cal__record_thread_ends();
}

bool cal__session_begun(void)
{
    return begun;
}

bool cal__session_active(void)
{
    return atomic_load_explicit(&active, memory_order_acquire);
}

/* The program may go to another directory. A percent sign in the name of this one is none of the pattern. */
static void make_absolute(char *pattern)
{
    char path[CAL_TEXT_MAX], folder[CAL_TEXT_MAX] = "";
    size_t used = 0;
    if (pattern[0] == '/' || pattern[0] == '\0' || syscall(SYS_getcwd, folder, sizeof folder) < 0)
        return;
    for (const char *at = folder; *at != '\0' && used < sizeof path - 3; at++) {
        if (*at == '%')
            path[used++] = '%';
        path[used++] = *at;
    }
    path[used++] = '/';
    size_t length = strlen(pattern);
    if (used + length >= sizeof path)
        return;
    memcpy(path + used, pattern, length + 1);
    memcpy(pattern, path, used + length + 1);
}

static bool trace_path(char path[CAL_PATH_MAX])
{
    return cal__profile_path(cal__track_settings.trace, path, CAL_PATH_MAX);
}

/* When recording begins: what never records needs none. */
static void start_trace(void)
{
    static char path[CAL_PATH_MAX];
    static bool tried;
    if (tried || cal__track_settings.trace[0] == '\0')
        return;
    int result = trace_path(path) ? cal__events_start(path) : -ENAMETOOLONG;
    tried = true;
    if (result == 0)
        return;
    struct cal__note note = {.length = 0};
    cal__note_string(&note, "libcalloc: no trace, as ");
    cal__note_foreign(&note, path, strlen(path));
    cal__note_string(&note, " cannot be written: ");
    const char *name = strerrorname_np(-result);
    cal__note_string(&note, name != NULL ? name : "?");
    cal__note_write(&note, STDERR_FILENO);
}

int cal__session_begin(bool late)
{
    if (begun)
        return 0;
    const struct cal__track_settings *settings = &cal__track_settings;
    struct cal__record_settings record = {.sample_bytes = settings->sample,
                                          .depth = (uint32_t)settings->depth};
    cal__memory_limit(settings->memory);
    cal__modules_start(cal__blocks_watch);
    cal__walk_start();
    if (!cal__record_start(&record))
        return -ENOMEM;
    make_absolute(cal__track_settings.path);
    make_absolute(cal__track_settings.trace);
    if (settings->record != 0)
        start_trace();
    atomic_store_explicit(&process, (int)syscall(SYS_getpid), memory_order_relaxed);
    atomic_store_explicit(&flags, late ? CAL_PROCESS_LATE : 0, memory_order_relaxed);
    atomic_store_explicit(&ever, settings->record != 0, memory_order_relaxed);
    atomic_store_explicit(&active, settings->record != 0, memory_order_release);
    begun = true;
    return 0;
}

/* On and off. The core knows one of these tables at a time. */

extern struct cal_hooks cal_addon_track;

const struct cal_observer cal__session_observer = {
    .size = sizeof cal__session_observer,
    .allocated = cal__record_allocated,
    .freeing = cal__record_freeing,
    .resized = cal__record_resized,
};

static const struct cal_hooks on_table = {
    .size = sizeof on_table,
    .version = CAL_HOOKS_VERSION,
    .name = "track",
    .component_version = CAL_TRACK_VERSION,
    .observer = &cal__session_observer,
    .lifecycle = &cal__session_lifecycle,
};

static const struct cal_hooks off_table = {
    .size = sizeof off_table,
    .version = CAL_HOOKS_VERSION,
    .name = "track",
    .component_version = CAL_TRACK_VERSION,
    .lifecycle = &cal__session_lifecycle,
};

/* Counts as freed what was freed while nobody looked. */
static void catch_up(void)
{
    if ((atomic_load_explicit(&flags, memory_order_relaxed) & CAL_PROCESS_PAUSED) != 0)
        cal__overlooked_drop();
}

/* The new table is there before the old one goes, as the child of a fork in between needs one of them. It may find both. */
static int exchange(const struct cal_hooks *table)
{
    const struct cal_hooks *const all[] = {&cal_addon_track, &on_table, &off_table};
    int result = cal_hooks_register(table);
    if (result != 0 && result != -EEXIST && result != -ENOSPC)
        return result;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i] != table)
            cal_hooks_unregister(all[i]);
    /* Where there was no place for both. */
    return result == -ENOSPC ? cal_hooks_register(table) : 0;
}

int cal__session_switch(bool on)
{
    if (!begun)
        return -ECANCELED;
    int result = 0;
    bool before = enter();
    cal__mutex_acquire(&switching);
    if (cal__session_active() != on || torn) {
        if (on)
            start_trace();
        atomic_fetch_or_explicit(&flags, CAL_PROCESS_PAUSED, memory_order_relaxed);
        result = exchange(on ? &on_table : &off_table);
        if (result == 0) {
            if (on)
                atomic_store_explicit(&ever, true, memory_order_relaxed);
            atomic_store_explicit(&active, on, memory_order_release);
        }
        torn = result != 0;
        if (on && cal__modules_check())
            cal__rows_forget();
        /* Only now: what is freed from here on is told of. */
        if (on)
            catch_up();
    }
    cal__mutex_release(&switching);
    leave(before);
    return result;
}

/* Profiles. */

static void say_written(const char *path, const struct cal__leaks *leaks, int result)
{
    struct cal__note note = {.length = 0};
    if (cal__track_settings.quiet != 0 && result == 0)
        return;
    cal__note_string(&note, "libcalloc: ");
    if (leaks != NULL && leaks->leaked_blocks != 0) {
        if (cal__record_sample_bytes() != 0)
            cal__note_string(&note, "by estimate from samples ");
        cal__note_decimal(&note, leaks->leaked_blocks);
        cal__note_string(&note, leaks->leaked_blocks == 1 ? " block of " : " blocks of ");
        cal__note_decimal(&note, leaks->leaked_bytes);
        cal__note_string(&note, leaks->leaked_blocks == 1 ? " bytes leaked; "
                                                          : " bytes together leaked; ");
    }
    if (leaks != NULL && leaks->suppressed_blocks != 0) {
        cal__note_decimal(&note, leaks->suppressed_blocks);
        cal__note_string(&note, leaks->suppressed_blocks == 1 ? " leaked block is suppressed; "
                                                              : " leaked blocks are suppressed; ");
    }
    if (result == 0) {
        cal__note_string(&note, "the profile is ");
        cal__note_foreign(&note, path, strlen(path));
    } else {
        cal__note_string(&note, "no profile, as ");
        cal__note_foreign(&note, path, strlen(path));
        cal__note_string(&note, " cannot be written: ");
        const char *name = strerrorname_np(-result);
        cal__note_string(&note, name != NULL ? name : "?");
    }
    cal__note_write(&note, STDERR_FILENO);
}

/* One profile at a time. Taken before all other locks, as a fork does. */
static struct cal__mutex dump_lock;

static int dump(enum cal__dump_reason reason, const char *path, const struct cal__leaks *leaks,
                bool in_signal)
{
    static char expanded[CAL_PATH_MAX];
    if (!in_signal)
        cal__mutex_acquire(&dump_lock);
    else if (!cal__mutex_try(&dump_lock))
        return -EBUSY;
    int result = 0;
    if (path == NULL) {
        if (!cal__profile_path(cal__track_settings.path, expanded, sizeof expanded))
            result = -ENAMETOOLONG;
        path = expanded;
    }
    struct cal__profile_request request = {
        .reason = reason,
        .flags = atomic_load_explicit(&flags, memory_order_relaxed),
        .path = path,
        .leaks = leaks,
        .in_signal = in_signal,
    };
    if (result == 0)
        result = cal__profile_write(&request);
    if (reason != CAL_DUMP_CALL)
        say_written(path, leaks, result);
    cal__mutex_release(&dump_lock);
    return result;
}

int cal__session_leaks(struct cal__leaks *leaks)
{
    if (!begun)
        return -ECANCELED;
    bool before = enter();
    catch_up();
    int result = cal__leaks_find(leaks, true);
    leave(before);
    return result;
}

int cal__session_dump(enum cal__dump_reason reason, const char *path, bool with_leaks)
{
    if (!begun)
        return -ECANCELED;
    bool before = enter();
    struct cal__leaks leaks = {.count = 0};
    catch_up();
    int result = with_leaks ? cal__leaks_find(&leaks, true) : 0;
    if (result == 0)
        result = dump(reason, path, with_leaks ? &leaks : NULL, false);
    cal__leaks_free(&leaks);
    leave(before);
    return result;
}

/* The end. */

/* What never recorded has nothing to tell. */
static bool writes_at_exit(void)
{
    return cal__track_settings.exit != 0 && atomic_load_explicit(&ever, memory_order_relaxed);
}

static bool is_of_this_process(void)
{
    return atomic_load_explicit(&process, memory_order_relaxed) == (int)syscall(SYS_getpid);
}

static void exiting(void)
{
    const struct cal__track_settings *settings = &cal__track_settings;
    if (!begun || !is_of_this_process())
        return;
    cal__events_finish(false);
    if (!writes_at_exit() || atomic_exchange_explicit(&finished, true, memory_order_acq_rel))
        return;
    bool before = enter();
    struct cal__leaks leaks = {.count = 0};
    catch_up();
    bool looked = settings->leaks != 0 && cal__leaks_find(&leaks, true) == 0;
    if (looked && settings->leaks == 2) {
        leaks.leaked_blocks =
            leaks.live_blocks - leaks.suppressed_blocks - leaks.suppressed_kept_blocks;
        leaks.leaked_bytes =
            leaks.live_bytes - leaks.suppressed_bytes - leaks.suppressed_kept_bytes;
    }
    dump(CAL_DUMP_EXIT, NULL, looked ? &leaks : NULL, false);
    bool failed = leaks.leaked_blocks != 0 && settings->exitcode != 0 && exit_status == 0;
    cal__leaks_free(&leaks);
    leave(before);
    if (failed) {
        fflush(NULL);
        syscall(SYS_exit_group, (int)settings->exitcode);
    }
}

static void remember_status(int status, void *argument)
{
    (void)argument;
    exit_status = status & 0xff;
}

/* Whatever else ends the process: with what can be done anywhere, at any time. */
static void end_abruptly(enum cal__dump_reason reason)
{
    if (!begun || cal__track_settings.fatal == 0 || !is_of_this_process())
        return;
    cal__events_finish(true);
    if (!writes_at_exit() || atomic_exchange_explicit(&finished, true, memory_order_acq_rel))
        return;
    int saved = errno;
    bool before = enter();
    dump(reason, NULL, NULL, true);
    leave(before);
    errno = saved;
}

CAL_EXPORT _Noreturn void _exit(int status)
{
    end_abruptly(CAL_DUMP_EXIT);
    for (;;)
        syscall(SYS_exit_group, status);
}

CAL_EXPORT _Noreturn void _Exit(int status)
{
    _exit(status);
}

static void end_quickly(void)
{
    end_abruptly(CAL_DUMP_EXIT);
}

/* Has the default action been restored, the signal comes again: by itself where an instruction raised it. */
static void end_by_signal(int number, siginfo_t *information, void *context)
{
    (void)context;
    end_abruptly(CAL_DUMP_SIGNAL);
    if (information->si_code <= 0 || number == SIGABRT)
        syscall(SYS_tgkill, (int)syscall(SYS_getpid), (int)syscall(SYS_gettid), number);
}

bool cal__session_catches(void (*handler)(int number, siginfo_t *information, void *context))
{
    return handler == end_by_signal;
}

static const int fatal_signals[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL,
                                    SIGSEGV, SIGHUP, SIGINT, SIGTERM};

static void catch_fatal_signals(void)
{
    struct sigaction action = {.sa_sigaction = end_by_signal,
                               .sa_flags = SA_SIGINFO | SA_RESETHAND},
                     old;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof fatal_signals / sizeof fatal_signals[0]; i++)
        if (sigaction(fatal_signals[i], NULL, &old) == 0 && (old.sa_flags & SA_SIGINFO) == 0 &&
            old.sa_handler == SIG_DFL)
            sigaction(fatal_signals[i], &action, NULL);
}

/* The signal of the settings: its handler can do nothing but wake a thread. */

static sem_t asked;

static void ask(int number)
{
    int saved = errno;
    (void)number;
    sem_post(&asked);
    errno = saved;
}

static void *answer(void *argument)
{
    pthread_setname_np(pthread_self(), "calloc-track");
    for (;;) {
        while (sem_wait(&asked) != 0 && errno == EINTR) {}
        if (cal__session_active())
            cal__session_dump(CAL_DUMP_SIGNAL, NULL, cal__track_settings.leaks != 0);
        else
            cal__session_switch(true);
    }
    return argument;
}

static void listen_to_signal(void)
{
    sigset_t all, old;
    pthread_t thread;
    pthread_attr_t attributes;
    int number = (int)cal__track_settings.signal;
    struct sigaction action = {.sa_handler = ask, .sa_flags = SA_RESTART};
    sigfillset(&all);
    bool good = sem_init(&asked, 0, 0) == 0 && pthread_attr_init(&attributes) == 0;
    if (good) {
        pthread_sigmask(SIG_SETMASK, &all, &old);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        good = pthread_create(&thread, &attributes, answer, NULL) == 0;
        pthread_attr_destroy(&attributes);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (good && sigaction(number, &action, NULL) == 0)
        return;
    struct cal__note note = {.length = 0};
    cal__note_string(&note,
                     "libcalloc: no signal makes this process write a profile: track.signal=");
    cal__note_decimal(&note, (uint64_t)number);
    cal__note_string(&note, " cannot be used");
    cal__note_write(&note, STDERR_FILENO);
}

void cal__session_complete(void)
{
    const struct cal__track_settings *settings = &cal__track_settings;
    if (!begun)
        return;
    if (settings->suppressions[0] != '\0')
        cal__suppress_load(settings->suppressions);
    if (settings->exitcode != 0)
        on_exit(remember_status, NULL);
    if (settings->fatal != 0) {
        catch_fatal_signals();
        /* Without it there is no profile where quick_exit() is called, as is said where none can be written. */
        if (at_quick_exit(end_quickly) != 0)
            say_written("quick_exit", NULL, -ENOMEM);
    }
    if (settings->signal != 0)
        listen_to_signal();
}

/* What the core tells. */

static void thread_end(void)
{
    cal__record_thread_ends();
}

/* While one table takes the other's place both are told of a fork. Where the thread that forks is the only one, it may be
 * in a signal handler and hold any of the locks itself: parent and child release them when they get back there. */
static unsigned held;

/* In the order of the locks: what is taken while another is held comes after it. */
static void fork_prepare(void)
{
    if (__libc_single_threaded || held++ != 0)
        return;
    cal__mutex_acquire(&dump_lock);
    cal__stop_fork_prepare();
    cal__profile_fork_prepare();
    cal__events_fork_prepare();
    cal__timeline_fork_prepare();
    cal__thread_fork_prepare();
    cal__blocks_fork_prepare();
    cal__rows_fork_prepare();
    cal__modules_fork_prepare();
    cal__nodes_fork_prepare();
    cal__memory_fork_prepare();
}

static void release_all(bool in_child)
{
    cal__memory_fork_done(in_child);
    cal__nodes_fork_done(in_child);
    cal__modules_fork_done(in_child);
    cal__rows_fork_done(in_child);
    cal__blocks_fork_done(in_child);
    cal__thread_fork_done(in_child);
    cal__timeline_fork_done(in_child);
    cal__events_fork_done(in_child);
    cal__profile_fork_done(in_child);
    cal__stop_fork_done(in_child);
    cal__mutex_release_after_fork(&dump_lock, in_child);
}

static void fork_parent(void)
{
    if (held != 0 && --held == 0)
        release_all(false);
}

static void fork_child(void)
{
    static char path[CAL_PATH_MAX];
    if (held != 0) {
        held = 0;
        release_all(true);
        /* Whoever held it is not there. Those who fork cannot wait for it: under it the core's lock is taken, which a
         * fork holds. */
        torn |= atomic_exchange_explicit(&switching.state, 0, memory_order_relaxed) != 0;
    }
    cal__thread_forked();
    cal__events_forked(trace_path(path) ? path : NULL);
    atomic_store_explicit(&process, (int)syscall(SYS_getpid), memory_order_relaxed);
    atomic_store_explicit(&finished, false, memory_order_relaxed);
    atomic_fetch_or_explicit(&flags, CAL_PROCESS_FORKED, memory_order_relaxed);
}

const struct cal_lifecycle cal__session_lifecycle = {
    .size = sizeof cal__session_lifecycle,
    .thread_end = thread_end,
    .fork_prepare = fork_prepare,
    .fork_parent = fork_parent,
    .fork_child = fork_child,
    .exiting = exiting,
};
