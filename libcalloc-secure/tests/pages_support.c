#include "pages_support.h"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "fault.h"
#include "guard.h"
#include "options.h"
#include "random.h"

size_t page;

static void lock(void)
{
    cal__pages_lock();
}

static void unlock(void)
{
    cal__pages_unlock(false);
}

static void unlock_child(void)
{
    cal__random_forked();
    cal__pages_unlock(true);
}

static const struct cal_lifecycle lifecycle = {.size = sizeof lifecycle,
                                               .fork_prepare = lock,
                                               .fork_parent = unlock,
                                               .fork_child = unlock_child};
static const struct cal_hooks hooks = {.size = sizeof hooks,
                                       .version = CAL_HOOKS_VERSION,
                                       .name = "pages",
                                       .component_version = "1",
                                       .owner = &cal__pages_owner,
                                       .lifecycle = &lifecycle};

void start(const char *options)
{
    static struct cal__settings settings;
    struct cal__settings_draft draft = {.given = 0};
    page = getauxval(AT_PAGESZ);
    if (options != NULL)
        hand_out(&draft, options);
    cal__settings_finish(&draft, &settings);
    const struct cal__guard_limits limits = {
        .protect_only = settings.guard_protect_only != 0,
        .protect_first = (unsigned)settings.guard_protect_first,
        .percent = (unsigned)settings.guard_percent,
    };
    cal__guard_start(&limits);
    cal__pages_start(&settings);
    cal__fault_start(&settings);
    require(cal_hooks_register(&hooks) == 0);
}

static const char *child_options;
static void (*child_function)(void);
static uintptr_t *blamed;

static void in_child(void)
{
    start(child_options);
    child_function();
}

int watch_with(const char *options, void (*function)(void), char *text, size_t size)
{
    child_options = options;
    child_function = function;
    return watch_child(in_child, text, size);
}

static void ends_with(const char *options, void (*function)(void), int expected)
{
    char text[4000];
    int status = watch_with(options, function, text, sizeof text);
    if (status != expected || text[0] != '\0')
        print_error("with %s: ended with %d and wrote: %s\n", options, status, text);
    assert_int_equal(status, expected);
    assert_string_equal(text, "");
}

void passes_with(const char *options, void (*function)(void))
{
    ends_with(options, function, 0);
}

void dies_with(const char *options, void (*function)(void), int signal)
{
    ends_with(options, function, -signal);
}

void *blame(void *pointer)
{
    if (blamed != NULL)
        *blamed = (uintptr_t)pointer;
    return opaque(pointer);
}

void reports_with(const char *options, void (*function)(void), const char *what, bool logs,
                  char *text)
{
    char found[LINE_MAX_TEST], expected[LINE_MAX_TEST];
    blamed = shared_memory(sizeof *blamed);
    int status = watch_with(options, function, found, sizeof found);
    snprintf(expected, sizeof expected, "libcalloc: %s of %p, ", what, (void *)*blamed);
    unshare_memory(blamed, sizeof *blamed);
    blamed = NULL;
    if (status != (logs ? 0 : -SIGABRT) || strncmp(found, expected, strlen(expected)) != 0)
        print_error("with %s: ended with %d and wrote: %s\nnot: %s\n", options, status, found,
                    expected);
    assert_int_equal(status, logs ? 0 : -SIGABRT);
    assert_memory_equal(found, expected, strlen(expected));
    /* And nothing else. */
    assert_ptr_equal(strchr(found, '\n'), found + strlen(found) - 1);
    if (text != NULL)
        strcpy(text, found);
}

void *opaque(void *pointer)
{
    void *volatile hidden = pointer;
    return hidden;
}

bool can_touch(const void *address)
{
    static int ends[2];
    char byte;
    if (ends[1] == 0)
        require(pipe(ends) == 0);
    return write(ends[1], address, 1) == 1 && read(ends[0], &byte, 1) == 1 &&
           write(ends[1], &byte, 1) == 1 && read(ends[0], opaque((void *)address), 1) == 1;
}

bool is_zero(const void *memory, size_t size)
{
    const char *bytes = memory;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool is_slow(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
        __has_feature(memory_sanitizer)
    return true;
#    endif
#endif
    return false;
}

bool is_race_detector(void)
{
#if defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#    if __has_feature(thread_sanitizer)
    return true;
#    endif
#endif
    return false;
}
