#include "hooks.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "annotate.h"
#include "lock.h"
#include "message.h"
#include "options.h"
#include "os.h"
#include "owner.h"
#include "slots.h"
#include "thread.h"

/* Slots are read without the lock: a table is valid for ever, so a stale one is harmless. */
static struct cal__lock lock;
static _Atomic uint64_t registered[CAL_HOOKS_MAX]; /* links */
static const struct cal_hooks *source_owner;
static const struct cal_hooks *slots_owner;
static _Atomic bool observed;
static bool beginning; /* cal__hooks_start() runs */

struct cal__hooks_lean cal__hooks_lean;
struct cal__hooks_alone cal__hooks_alone = {.allocated = cal__hooks_allocated,
                                            .freeing = cal__hooks_freeing};

/* The family, bound by the dynamic linker before the first allocation if it is loaded at all. */
extern const struct cal_hooks cal_addon_secure __attribute__((weak));
extern const struct cal_hooks cal_addon_numa __attribute__((weak));
extern const struct cal_hooks cal_addon_track __attribute__((weak));
extern const struct cal_hooks cal_addon_defrag __attribute__((weak));
extern const struct cal_hooks cal_addon_arena __attribute__((weak));

/* Tables of other ages may be shorter: a role counts when its field is inside. */
#define ROLE(table, field)                                                                        \
    ((table)->size >= offsetof(struct cal_hooks, field) + sizeof((table)->field) ? (table)->field \
                                                                                 : NULL)
#define FUNCTION CAL_HOOKS_FUNCTION

#define FOR_EACH_HOOKS(table)                                                      \
    for (int table##_index = 0; table##_index < CAL_HOOKS_MAX; table##_index++)    \
        for (const struct cal_hooks *table =                                       \
                 cal__link_load(&registered[table##_index], memory_order_acquire); \
             table != NULL; table = NULL)

static void refuse(const struct cal_hooks *hooks, const char *reason, const char *other)
{
    struct cal__text text = {.length = 0};
    cal__text_string(&text, "add-on '");
    cal__text_bytes(&text, hooks->name, strnlen(hooks->name, 80));
    cal__text_string(&text, "' refused: ");
    cal__text_string(&text, reason);
    if (other != NULL) {
        cal__text_string(&text, " '");
        cal__text_bytes(&text, other, strnlen(other, 80));
        cal__text_string(&text, "'");
    }
    text.bytes[text.length] = '\0';
    cal__warn(text.bytes, NULL);
}

static bool source_is_complete(const struct cal_source *source)
{
    return FUNCTION(source, map) != NULL && FUNCTION(source, unmap) != NULL &&
           FUNCTION(source, purge) != NULL && FUNCTION(source, remap) != NULL;
}

static bool is_registered(const struct cal_hooks *hooks)
{
    FOR_EACH_HOOKS(table)
    {
        if (table == hooks)
            return true;
    }
    return false;
}

/* 0, or why the table cannot be read. */
static int check(const struct cal_hooks *hooks)
{
    if (hooks == NULL || hooks->size < offsetof(struct cal_hooks, source) || hooks->name == NULL ||
        hooks->component_version == NULL)
        return -EINVAL;
    if (hooks->version == CAL_HOOKS_VERSION)
        return 0;
    refuse(hooks, "its hook table has another version", NULL);
    return -EINVAL;
}

/* Hands out the options, and starts the add-on. 0, or why it does not run. */
static int start(const struct cal_hooks *hooks)
{
    if (ROLE(hooks, option) != NULL)
        cal__options_hand_out(hooks->name, hooks->option);
    int result = ROLE(hooks, start) != NULL ? hooks->start() : 0;
    if (result != 0 && result != -ECANCELED)
        refuse(hooks, "it cannot start", NULL);
    return result;
}

/* 0, or why the roles cannot be taken. */
static int check_roles(const struct cal_hooks *hooks)
{
    const struct cal_source *source = ROLE(hooks, source);
    const struct cal_slots *slots = ROLE(hooks, slots);
    const struct cal_owner *owner = ROLE(hooks, owner);
    const char *wrong = NULL;
    if (source != NULL && !source_is_complete(source))
        wrong = "its source lacks a function";
    else if (cal__slots_extra_of(slots) != 0 && FUNCTION(slots, usable) == NULL)
        wrong = "its slots have 'extra' and no 'usable'";
    else if (cal__slots_extra_of(slots) > CAL_SLOTS_EXTRA_MAX)
        wrong = "its slots have too much 'extra'";
    else if (owner != NULL && !cal__owner_is_complete(owner))
        wrong = "its owner lacks 'deallocate' or 'usable'";
    if (wrong == NULL)
        return 0;
    refuse(hooks, wrong, NULL);
    return -EINVAL;
}

/* False, and says so, when another add-on plays an exclusive role. */
static bool is_vacant(const struct cal_hooks *hooks, const void *role,
                      const struct cal_hooks *player, const char *reason)
{
    if (role == NULL || player == NULL)
        return true;
    refuse(hooks, reason, player->name);
    return false;
}

static const struct cal_hooks *registered_at(int place)
{
    return cal__link_load(&registered[place], memory_order_relaxed);
}

static int insert(const struct cal_hooks *hooks)
{
    int place = -1;
    for (int i = CAL_HOOKS_MAX; i-- > 0;)
        if (atomic_load_explicit(&registered[i], memory_order_relaxed) == 0)
            place = i;
    if (place < 0) {
        refuse(hooks, "eight add-ons are registered already, the first is", registered_at(0)->name);
        return -ENOSPC;
    }
    const struct cal_source *source = ROLE(hooks, source);
    const struct cal_slots *slots = ROLE(hooks, slots);
    if (!is_vacant(hooks, source, source_owner, "the role 'source' belongs to") ||
        !is_vacant(hooks, slots, slots_owner, "the role 'slots' belongs to"))
        return -EBUSY;
    if (slots != NULL) {
        slots_owner = hooks;
        /* Before anything has a link, if it is the first of the tables that come with the process. */
        cal__slots_play(slots, beginning && registered_at(0) == NULL);
    }
    if (source != NULL) {
        source_owner = hooks;
        cal__os_set_source(source);
    }
    if (ROLE(hooks, owner) != NULL)
        cal__owner_add(ROLE(hooks, owner));
    cal__link_store(&registered[place], hooks, memory_order_release);
    return 0;
}

bool cal__hooks_observed(void)
{
    return atomic_load_explicit(&observed, memory_order_relaxed);
}

/* How many there are; *LAST is one of them. */
static unsigned observers(const struct cal_observer **last)
{
    unsigned count = 0;
    FOR_EACH_HOOKS(table)
    {
        const struct cal_observer *observer = ROLE(table, observer);
        if (observer != NULL) {
            *last = observer;
            count++;
        }
    }
    return count;
}

static void update_lean(void)
{
    const struct cal_slots *role = cal__slots_role();
    bool alone = role != NULL && role->allocated != NULL && role->freeing != NULL &&
                 !cal__hooks_observed() && cal__annotating == CAL_ANNOTATE_NONE;
    /* A request for nothing comes as one for a byte. */
    size_t claimed = cal__owner_claims() ? cal__max(cal__owner_largest(), 1) : 0;
    size_t most = alone ? CAL_SLAB_MAX - role->extra : 0;
    atomic_store_explicit(&cal__hooks_lean.claimed, claimed, memory_order_relaxed);
    atomic_store_explicit(&cal__hooks_lean.most, most, memory_order_release);
}

/* A function that was the only observer's may be called for a moment longer, as by who is about to. */
static void update_observed(void)
{
    const struct cal_observer *only = NULL;
    unsigned count = observers(&only);
    atomic_store_explicit(&observed, count != 0, memory_order_relaxed);
    if (count != 1)
        only = NULL;
    void (*allocated)(void *, size_t, size_t) = FUNCTION(only, allocated);
    void (*freeing)(void *, size_t) = FUNCTION(only, freeing);
    atomic_store_explicit(&cal__hooks_alone.allocated,
                          allocated != NULL ? allocated : cal__hooks_allocated,
                          memory_order_relaxed);
    atomic_store_explicit(&cal__hooks_alone.freeing, freeing != NULL ? freeing : cal__hooks_freeing,
                          memory_order_relaxed);
    /* A heap that begins to make pages with slots does so when it has seen the mode, and this, change. */
    bool alone = count != 0 && cal__slots_role() == NULL && !cal__owner_claims() &&
                 cal__annotating == CAL_ANNOTATE_NONE;
    atomic_store_explicit(&cal__hooks_alone.most, alone ? CAL_SLAB_MAX : 0, memory_order_release);
}

static void update_mode(const struct cal_hooks *hooks)
{
    bool slots = ROLE(hooks, slots) != NULL;
    update_observed();
    bool direct = slots_owner != NULL || cal__owner_claims() || cal__hooks_observed() ||
                  cal__annotating != CAL_ANNOTATE_NONE;
    cal__thread_set_direct(direct, slots);
    /* Only now: who finds requests lean is to find the mode changed too, and his heap to follow it. */
    update_lean();
}

/* HOOKS has passed check(). Under the lock, so that of two threads only one starts it. */
static int add(const struct cal_hooks *hooks)
{
    cal__lock_acquire(&lock);
    int result = is_registered(hooks) ? -EEXIST : start(hooks);
    if (result == 0)
        result = check_roles(hooks);
    if (result == 0)
        result = insert(hooks);
    if (result == 0)
        update_mode(hooks);
    cal__lock_release(&lock);
    return result;
}

CAL_EXPORT int cal_hooks_register(const struct cal_hooks *hooks)
{
    int result = check(hooks);
    if (result != 0)
        return result;
    /* Options and the family's own add-ons come first, whoever calls. */
    cal__heap_get();
    return add(hooks);
}

CAL_EXPORT int cal_hooks_unregister(const struct cal_hooks *hooks)
{
    int result = -ENOENT;
    cal__lock_acquire(&lock);
    for (int i = 0; i < CAL_HOOKS_MAX && hooks != NULL; i++) {
        if (registered_at(i) != hooks)
            continue;
        if (source_owner == hooks || slots_owner == hooks) {
            result = -EBUSY;
            break;
        }
        cal__link_store(&registered[i], NULL, memory_order_release);
        if (ROLE(hooks, owner) != NULL)
            cal__owner_remove(ROLE(hooks, owner));
        update_mode(hooks);
        result = 0;
    }
    cal__lock_release(&lock);
    return result;
}

enum { FAMILY = 5 };

static const struct cal_hooks *family(unsigned index)
{
    const struct cal_hooks *const tables[FAMILY] = {
        &cal_addon_secure, &cal_addon_numa, &cal_addon_track, &cal_addon_defrag, &cal_addon_arena};
    return tables[index];
}

static bool takes_options(const char *name, size_t length)
{
    for (unsigned i = 0; i < FAMILY; i++) {
        const struct cal_hooks *hooks = family(i);
        if (hooks != NULL && ROLE(hooks, option) != NULL && hooks->name != NULL &&
            strlen(hooks->name) == length && memcmp(hooks->name, name, length) == 0)
            return true;
    }
    return false;
}

void cal__hooks_start(void)
{
    beginning = true;
    for (unsigned i = 0; i < FAMILY; i++)
        if (family(i) != NULL && check(family(i)) == 0)
            add(family(i));
    beginning = false;
    cal__options_warn_of_unknown(takes_options);
}

void cal__hooks_allocated(void *block, size_t requested, size_t usable)
{
    FOR_EACH_HOOKS(table)
    {
        const struct cal_observer *observer = ROLE(table, observer);
        void (*function)(void *, size_t, size_t) = FUNCTION(observer, allocated);
        if (function != NULL)
            function(block, requested, usable);
    }
}

void cal__hooks_freeing(void *block, size_t usable)
{
    /* Observers need not preserve it. */
    int saved = errno;
    FOR_EACH_HOOKS(table)
    {
        const struct cal_observer *observer = ROLE(table, observer);
        void (*function)(void *, size_t) = FUNCTION(observer, freeing);
        if (function != NULL)
            function(block, usable);
    }
    errno = saved;
}

void cal__hooks_resized(void *block, size_t old_usable, size_t requested, size_t usable)
{
    /* As above. */
    int saved = errno;
    FOR_EACH_HOOKS(table)
    {
        const struct cal_observer *observer = ROLE(table, observer);
        void (*function)(void *, size_t, size_t, size_t) = FUNCTION(observer, resized);
        if (function != NULL)
            function(block, old_usable, requested, usable);
    }
    errno = saved;
}

#define TELL(event, declaration)                                            \
    declaration(void)                                                       \
    {                                                                       \
        FOR_EACH_HOOKS(table)                                               \
        {                                                                   \
            const struct cal_lifecycle *lifecycle = ROLE(table, lifecycle); \
            void (*function)(void) = FUNCTION(lifecycle, event);            \
            if (function != NULL)                                           \
                function();                                                 \
        }                                                                   \
    }

TELL(thread_start, void cal__hooks_thread_start)
TELL(thread_end, void cal__hooks_thread_end)
TELL(exiting, void cal__hooks_exiting)
TELL(fork_prepare, void cal__hooks_fork_prepare)
TELL(fork_parent, void cal__hooks_fork_parent)
TELL(fork_child, void cal__hooks_fork_child)

void cal__hooks_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__hooks_unlock(bool in_child)
{
    cal__lock_release_after_fork(&lock, in_child);
}

void cal__hooks_print_statistics(int descriptor)
{
    FOR_EACH_HOOKS(table)
    {
        const struct cal_lifecycle *lifecycle = ROLE(table, lifecycle);
        void (*function)(int) = FUNCTION(lifecycle, print_statistics);
        if (function != NULL)
            function(descriptor);
    }
}

bool cal__hooks_reclaim(void)
{
    bool any = false;
    FOR_EACH_HOOKS(table)
    {
        const struct cal_lifecycle *lifecycle = ROLE(table, lifecycle);
        bool (*function)(void) = FUNCTION(lifecycle, reclaim);
        any |= function != NULL && function();
    }
    return any;
}
