/* The command line of `calloc run`, and the LD_PRELOAD that it makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../calloc/run.h"
#include "../calloc/say.h"

enum { CORE = 1 << COMPONENT_core, SECURE = 1 << COMPONENT_secure, TRACK = 1 << COMPONENT_track };

/* Splits at blanks, as no argument here has one. */
static int parse(const char *line, struct run_request *request)
{
    char *words[16], *copy = strdup(line);
    int count = 0;
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    words[count] = NULL;
    int status = run_parse(count, words, request);
    /* What it points at is gone. */
    request->libraries = request->libraries == NULL ? NULL : "given";
    free(copy);
    return status;
}

static void lines_are_parsed(void **state)
{
    static const struct {
        const char *line;
        component_set set;
        const char *options;
        int used;
    } cases[] = {
        {"prog", CORE, "", 0},
        {"-- prog", CORE, "", 1},
        {"-- --with", CORE, "", 1},
        {"prog --with secure", CORE, "", 0},
        {"--with secure prog", CORE | SECURE, "", 2},
        {"--with track --option track.path=/y/%p prog", CORE | TRACK, "track.path=/y/%p", 4},
        {"--with=core -- prog", CORE, "", 2},
        {"--level light prog x", CORE | SECURE, "secure.level=light", 2},
        {"--level=paranoid --option retain=1M -- prog", CORE | SECURE,
         "secure.level=paranoid,retain=1M", 4},
        {"--option secure.sample=9 --with secure prog", CORE | SECURE, "secure.sample=9", 4},
        {"--libraries /x prog", CORE, "", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run_request request;
        assert_int_equal(parse(cases[i].line, &request), DONE);
        assert_int_equal(request.set, cases[i].set);
        assert_string_equal(text_get(&request.options), cases[i].options);
        assert_int_equal(request.used, cases[i].used);
        assert_int_equal(request.libraries != NULL, strstr(cases[i].line, "/x") != NULL);
        run_free(&request);
    }
}

static void wrong_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "",
        "--",
        "--with secure",
        "--with",
        "--with secrue prog",
        "--with secure, prog",
        "--level high prog",
        "--level",
        "--option retain prog",
        "--option retain=x prog",
        "--option retian=1 prog",
        "--option secure.level=light prog",
        "--option nothing.x=1 prog",
        "--option retain=1,statistics=1 prog",
        "--wit secure prog",
        "-x prog",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct run_request request;
        assert_int_equal(parse(lines[i], &request), MISUSED);
        run_free(&request);
    }
}

static void assert_joined(component_set set, const char *preload, const char *expected)
{
    struct text result = {.length = 0};
    run_join_preload("/l/libcalloc.so.1", set, preload, &result);
    assert_string_equal(text_get(&result), expected);
    text_free(&result);
}

static void preloads_are_joined(void **state)
{
    assert_joined(CORE, NULL, "/l/libcalloc.so.1");
    assert_joined(CORE, "", "/l/libcalloc.so.1");
    assert_joined(CORE, "/a.so:b.so  c.so ", "/l/libcalloc.so.1 /a.so b.so c.so");
    /* A second core would be another heap; an add-on that was not asked for stays. */
    assert_joined(CORE, "/other/libcalloc.so.1 /a.so", "/l/libcalloc.so.1 /a.so");
    assert_joined(CORE, "libcalloc-secure.so.1", "/l/libcalloc.so.1 libcalloc-secure.so.1");
    assert_joined(CORE | SECURE, "libcalloc-secure.so.1:x.so", "/l/libcalloc.so.1 x.so");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_parsed),
        cmocka_unit_test(wrong_lines_are_refused),
        cmocka_unit_test(preloads_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
