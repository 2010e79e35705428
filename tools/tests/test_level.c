/* Setting the level in a secure.conf: nothing else in it changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../preload/level.h"

static void level_is_set(void **state)
{
    static const char *const cases[][2] = {
        {"level = light\n", "level = standard\n"},
        {"  level=light  \n", "level = standard\n"},
        {"secure.level = light", "level = standard"},
        {"# a\nsample = 7\n", "level = standard\n# a\nsample = 7\n"},
        {"level = light\nlevel = light\nsample = 7\n",
         "level = light\nlevel = standard\nsample = 7\n"},
        {"[/bin/x]\nlevel = light\n", "level = standard\n[/bin/x]\nlevel = light\n"},
        {"levels = light\n# level = light\n",
         "level = standard\nlevels = light\n# level = light\n"},
        {"level = wrong\n", "level = standard\n"},
    };
    struct text result = {.length = 0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct piece text = {cases[i][0], strlen(cases[i][0])};
        assert_true(level_set(text, "standard", &result));
        assert_string_equal(text_get(&result), cases[i][1]);
    }
    text_free(&result);
}

static void new_file_says_what_it_is(void **state)
{
    struct text result = {.length = 0};
    assert_true(level_set((struct piece){"", 0}, "paranoid", &result));
    assert_int_equal(*text_get(&result), '#');
    assert_non_null(strstr(text_get(&result), "\nlevel = paranoid\n"));
    text_free(&result);
}

static void what_would_not_hold_is_refused(void **state)
{
    static const char text[] = "[**]\nlevel = light\n";
    struct text result = {.length = 0};
    assert_false(level_set((struct piece){text, sizeof text - 1}, "standard", &result));
    assert_true(level_set((struct piece){text, sizeof text - 1}, "light", &result));
    text_free(&result);
}

static void levels_are_known(void **state)
{
    static const char *const bad[] = {"", "high", "Light", "light,retain=0", "light ", "lights"};
    assert_true(level_is_known("light"));
    assert_true(level_is_known("standard"));
    assert_true(level_is_known("paranoid"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(level_is_known(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_is_set),
        cmocka_unit_test(new_file_says_what_it_is),
        cmocka_unit_test(what_would_not_hold_is_refused),
        cmocka_unit_test(levels_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
