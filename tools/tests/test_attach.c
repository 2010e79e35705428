/* Where the profile of a running process will be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <calloc/attach.h>

static void check_option(const char *options, const char *name, const char *expected)
{
    struct text value = {.length = 0};
    bool found = attach_option(options, name, &value);
    assert_int_equal(found, expected != NULL);
    if (found)
        assert_string_equal(text_get(&value), expected);
    text_free(&value);
}

static void test_options(void **state)
{
    (void)state;
    check_option("", "track.path", NULL);
    check_option("track.path", "track.path", NULL);
    check_option("track.path=a", "track.path", "a");
    check_option("track.path=", "track.path", "");
    check_option("track.pathology=a", "track.path", NULL);
    check_option("retain=1,track.path=a,track.signal=12,track.path=b c", "track.path", "b c");
    check_option("retain=1,track.path=a,track.signal=12", "track.signal", "12");
}

static void check_path(const char *pattern, const char *expected)
{
    struct text path = {.length = 0};
    attach_expand(pattern, "/home/w[1]", 4711, "pro*g", &path);
    assert_string_equal(text_get(&path), expected);
    text_free(&path);
}

static void test_paths(void **state)
{
    (void)state;
    check_path("calloc.%p.profile", "/home/w\\[1\\]/calloc.4711.profile");
    check_path("/tmp/%e.%n", "/tmp/pro\\*g.*");
    check_path("/tmp/100%%", "/tmp/100%");
    check_path("/tmp/a%zb", "/tmp/a%zb");
    check_path("/tmp/a%", "/tmp/a%");
    check_path("/tmp/a?[b]\\", "/tmp/a\\?\\[b\\]\\\\");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
