/* Options as the libraries read them, with what they would complain of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <common/options.h>

struct wanted {
    const char *name, *value, *standard;
    unsigned seen, all;
};

static void look(const struct option_fact *fact, void *data)
{
    struct wanted *wanted = data;
    assert_true(strlen(fact->help) > 5);
    wanted->all++;
    if (strcmp(fact->name, wanted->name) != 0)
        return;
    wanted->seen++;
    assert_string_equal(fact->value, wanted->value);
    assert_string_equal(fact->standard, wanted->standard);
}

static void core_options_are_read(void **state)
{
    static const char *const cases[][4] = {
        {"", "retain", "1024G", "1024G"},
        {"retain=3M", "retain", "3M", "1024G"},
        {"retain=1025", "retain", "1025", "1024G"},
        {"retain=0", "retain", "0", "1024G"},
        {"statistics=1,secure.level=light,purge_delay=7", "purge_delay", "7", "500"},
        {"purge_delay=1,purge_delay=2", "purge_delay", "2", "500"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text complaints = {.length = 0};
        struct option_source source = {cases[i][0], "/nowhere", ""};
        struct wanted wanted = {cases[i][1], cases[i][2], cases[i][3], 0, 0};
        options_visit_core(&source, look, &wanted, &complaints);
        assert_int_equal(wanted.seen, 1);
        assert_true(wanted.all >= 6);
        assert_string_equal(text_get(&complaints), "");
        text_free(&complaints);
    }
}

static void settings_are_read(void **state)
{
    static const char *const cases[][4] = {
        {"", "secure.level", "light", "light"},
        {"secure.level=standard", "secure.level", "standard", "light"},
        {"secure.level=standard", "secure.quarantine", "64K", "64K"},
        {"secure.quarantine=1M,secure.level=standard", "secure.quarantine", "1M", "64K"},
        {"secure.on_overflow=log", "secure.on_overflow", "log", "abort"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text complaints = {.length = 0};
        struct option_source source = {cases[i][0], "/nowhere", ""};
        struct wanted wanted = {cases[i][1], cases[i][2], cases[i][3], 0, 0};
        options_visit_secure(&source, look, &wanted, &complaints);
        assert_int_equal(wanted.seen, 1);
        assert_true(wanted.all >= 20);
        assert_string_equal(text_get(&complaints), "");
        text_free(&complaints);
    }
}

static void settings_of_track_are_read(void **state)
{
    static const char *const cases[][4] = {
        {"track.sample=524288", "track.sample", "512K", "0"},
        {"track.path=/x/%p=y,retain=1", "track.path", "/x/%p=y", "calloc.%p.profile"},
        /* What was given before is gone. */
        {"", "track.path", "calloc.%p.profile", "calloc.%p.profile"},
        {"secure.sample=7", "track.sample", "0", "0"},
        {"track.trace=", "track.trace", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text complaints = {.length = 0};
        struct option_source source = {cases[i][0], "/nowhere", ""};
        struct wanted wanted = {cases[i][1], cases[i][2], cases[i][3], 0, 0};
        options_visit_track(&source, look, &wanted, &complaints);
        assert_int_equal(wanted.seen, 1);
        assert_true(wanted.all >= 10);
        assert_string_equal(text_get(&complaints), "");
        text_free(&complaints);
    }
}

static void complaints_are_collected(void **state)
{
    struct text complaints = {.length = 0};
    struct option_source source = {"retian=1,retain=x,secure.lever=1", "/nowhere", ""};
    struct wanted wanted = {"retain", "1024G", "1024G", 0, 0};
    options_visit_core(&source, look, &wanted, &complaints);
    assert_non_null(strstr(text_get(&complaints), "unknown option 'retian=1'"));
    assert_non_null(strstr(text_get(&complaints), "bad value 'retain=x'"));
    text_clear(&complaints);
    wanted.name = "secure.enable", wanted.value = "1", wanted.standard = "1";
    options_visit_secure(&source, look, &wanted, &complaints);
    assert_string_equal(text_get(&complaints),
                        "unknown setting 'secure.lever=1' in CALLOC_OPTIONS, ignored "
                        "(libcalloc-secure(7) lists them)\n");
    text_clear(&complaints);
    source.options = "track.pat=1";
    wanted.name = "track.leaks", wanted.value = "1", wanted.standard = "1";
    options_visit_track(&source, look, &wanted, &complaints);
    assert_string_equal(text_get(&complaints),
                        "unknown setting 'track.pat=1' in CALLOC_OPTIONS, ignored "
                        "(libcalloc-track(7) lists them)\n");
    text_free(&complaints);
}

static void items_are_checked(void **state)
{
    static const char *const good[] = {
        "retain=1G",         "statistics=0",       "secure.level=paranoid", "secure.quarantine=1M",
        "track.sample=512K", "track.path=/x/%p=y", "numa.anything=1"};
    static const char *const bad[] = {"",
                                      "retain",
                                      "=1",
                                      "retain=",
                                      "retain=1T",
                                      "retain=1,statistics=1",
                                      "retian=1",
                                      "secure.level=high",
                                      "secure.x=1",
                                      "secure.=1",
                                      "track.sample=1T",
                                      "track.x=1",
                                      "track.=1",
                                      "huge_pages=2"};
    struct text complaints = {.length = 0};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(options_check(good[i], &complaints));
        assert_string_equal(text_get(&complaints), "");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        text_clear(&complaints);
        assert_false(options_check(bad[i], &complaints));
        assert_true(complaints.length > 0);
    }
    text_free(&complaints);
}

static void conf_text_is_read(void **state)
{
    static const char text[] = "level = standard\nenable=0\n[/bin/x]\nlevel = light\nwhat\n";
    struct text complaints = {.length = 0};
    struct option_secure secure =
        options_secure_text((struct piece){text, sizeof text - 1}, "the file", &complaints);
    assert_string_equal(secure.level, "standard");
    assert_false(secure.enable);
    assert_non_null(strstr(text_get(&complaints), "the file:5: unknown setting 'what'"));
    text_free(&complaints);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(core_options_are_read),      cmocka_unit_test(settings_are_read),
        cmocka_unit_test(settings_of_track_are_read), cmocka_unit_test(complaints_are_collected),
        cmocka_unit_test(items_are_checked),          cmocka_unit_test(conf_text_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
