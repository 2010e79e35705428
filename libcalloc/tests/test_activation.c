/* An add-on that is only preloaded sees the process from its first allocation on, which happens
 * before any constructor: the program does not know the add-on and registers nothing. */
#include "support.h"

#include <dlfcn.h>

#include <calloc/hooks.h>

#include "addon.h"

static void *made_by_constructor;

__attribute__((constructor)) static void construct(void)
{
    made_by_constructor = malloc(1234);
}

static struct addon_counts counts(void)
{
    struct addon_counts (*function)(void);
    *(void **)&function = dlsym(RTLD_DEFAULT, "addon_counts");
    require(function != NULL);
    return function();
}

/* The library counts exactly from the first allocation on: so did the add-on if they agree. */
static void nothing_was_missed(void **state)
{
    counts(); /* dlsym() may allocate */
    struct cal_statistics now = statistics();
    struct addon_counts seen = counts();
    assert_int_equal(seen.allocated, now.allocations);
    assert_int_equal(seen.freed, now.deallocations);
    assert_true(seen.allocated > 0);
    assert_non_null(seen.first_block);
}

static void constructors_were_seen(void **state)
{
    assert_non_null(made_by_constructor);
    size_t before = counts().freed;
    free(made_by_constructor);
    assert_int_equal(counts().freed, before + 1);
}

static void the_program_is_seen_too(void **state)
{
    struct addon_counts before = counts();
    void *block = malloc(100);
    block = realloc(block, 100000);
    free(block);
    struct addon_counts after = counts();
    assert_int_equal(after.allocated - before.allocated, 2);
    assert_int_equal(after.freed - before.freed, 2);
    nothing_was_missed(state);
}

static void *allocate_some(void *argument)
{
    for (size_t i = 0; i < 1000; i++)
        free(malloc(i));
    return argument;
}

static void threads_are_seen_from_their_start(void **state)
{
    for (int i = 0; i < 10; i++) {
        pthread_t threads[3];
        for (size_t j = 0; j < 3; j++)
            start_thread(&threads[j], allocate_some, NULL);
        for (size_t j = 0; j < 3; j++)
            join_thread(threads[j]);
    }
    nothing_was_missed(state);
}

/* CALLOC_OPTIONS is what meson.build says. */
static void the_add_on_has_its_options(void **state)
{
    struct addon_counts seen = counts();
    assert_string_equal(seen.options, "first=1;second=a=b;start;");
    assert_int_equal(seen.early, 0);
    const struct cal_hooks *hooks = dlsym(RTLD_DEFAULT, "cal_addon_track");
    assert_int_equal(cal_hooks_register(hooks), -EEXIST);
    assert_string_equal(counts().options, "first=1;second=a=b;start;");
}

static const char *items;

/* The same program once more, which then does nothing. */
static void start_with_items(void)
{
    require(setenv("CALLOC_OPTIONS", items, 1) == 0);
    execl("/proc/self/exe", "activation", "nothing", NULL);
    require(false);
}

static void assert_said(const char *with, const char *line)
{
    char text[1000];
    items = with;
    run_in_child(start_with_items, text, sizeof text);
    assert_string_equal(text, line);
}

/* One that takes them may be loaded later. */
#define NOBODY(item)                                               \
    "libcalloc: no add-on is loaded yet that takes '" item "' in " \
    "CALLOC_OPTIONS (see calloc-options(7))\n"

static void items_that_nobody_takes_are_a_line(void **state)
{
    assert_said("test.first=1,purge_delay=400,test.", "");
    assert_said("tests.first=1", NOBODY("tests.first=1"));
    assert_said("tes.a,test.b,secure.level=2", NOBODY("tes.a") NOBODY("secure.level=2"));
    /* The dot of a value makes no name. */
    assert_said(
        ".first=1,purge_delay=1.5",
        "libcalloc: unknown option '.first=1' in CALLOC_OPTIONS, ignored "
        "(calloc-options(7) lists them)\n"
        "libcalloc: bad value 'purge_delay=1.5' in CALLOC_OPTIONS, ignored (0 to 3600000)\n");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_was_missed),
        cmocka_unit_test(constructors_were_seen),
        cmocka_unit_test(the_program_is_seen_too),
        cmocka_unit_test(threads_are_seen_from_their_start),
        cmocka_unit_test(the_add_on_has_its_options),
        cmocka_unit_test(items_that_nobody_takes_are_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
