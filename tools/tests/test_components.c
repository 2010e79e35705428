/* The libraries' names and where they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <common/components.h>

static struct piece piece(const char *string)
{
    return (struct piece){string, strlen(string)};
}

static void lists_are_parsed(void **state)
{
    component_set set = 0;
    struct piece wrong;
    assert_true(component_parse("core", &set, &wrong));
    assert_int_equal(set, 1U << COMPONENT_core);
    assert_true(component_parse("secure", &set, &wrong));
    assert_int_equal(set, 1U << COMPONENT_core | 1U << COMPONENT_secure);
    set = 0;
    assert_true(component_parse("secure,core,secure", &set, &wrong));
    assert_int_equal(set, 1U << COMPONENT_core | 1U << COMPONENT_secure);
    static const char *const bad[][2] = {{"", ""},
                                         {"secret", "secret"},
                                         {"core,", ""},
                                         {"core,,secure", ""},
                                         {"core,Secure", "Secure"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(component_parse(bad[i][0], &set, &wrong));
        assert_true(piece_is(wrong, bad[i][1]));
    }
}

static void ours_are_known(void **state)
{
    static const char *const ours[] = {"libcalloc.so",          "libcalloc.so.1",
                                       "libcalloc.so.1.0.0",    "/usr/$LIB/libcalloc.so.0",
                                       "libcalloc-secure.so.1", "../x/libcalloc-track.so.12"};
    static const char *const others[] = {"",
                                         "libcalloc",
                                         "libcalloc.so1",
                                         "libcalloc.so.1x",
                                         "libcallocs.so.1",
                                         "xlibcalloc.so.1",
                                         "libcalloc-.so.1",
                                         "libcalloc-Secure.so",
                                         "libcalloc.so.1/x",
                                         "calloc.so",
                                         "libcalloc-secure",
                                         "libcalloc.so.1-old"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        assert_true(component_is_ours(piece(ours[i])));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(component_is_ours(piece(others[i])));
    for (int i = 0; i < COMPONENTS; i++) {
        struct text name = {.length = 0};
        component_preload_name(&components[i], &name);
        assert_int_equal(*text_get(&name), '/');
        assert_true(component_is_ours(piece(text_get(&name))));
        text_free(&name);
        assert_int_equal(component_find(piece(components[i].key)), i);
    }
}

static void make_file(const char *root, const char *path)
{
    char name[512];
    size_t length = (size_t)snprintf(name, sizeof name, "%s%s", root, path);
    assert_true(length < sizeof name);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(name, 0755);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static void assert_resolves(const char *root, const char *name, const char *expected)
{
    struct text path = {.length = 0};
    bool found = component_resolve(root, piece(name), &path);
    assert_int_equal(found, expected != NULL);
    if (expected != NULL)
        assert_string_equal(text_get(&path) + strlen(root), expected);
    text_free(&path);
}

static void names_are_resolved(void **state)
{
    char root[] = "/tmp/calloc-components-XXXXXX";
    assert_non_null(mkdtemp(root));
    make_file(root, "/usr/" TOOLS_LIB_TOKEN "/liba.so");
    make_file(root, "/opt/lib/libb.so");
    make_file(root, "/usr/lib/libc.so");
    assert_resolves(root, "liba.so", "/usr/" TOOLS_LIB_TOKEN "/liba.so");
    assert_resolves(root, "/usr/$LIB/liba.so", "/usr/" TOOLS_LIB_TOKEN "/liba.so");
    assert_resolves(root, "/usr/${LIB}/liba.so", "/usr/" TOOLS_LIB_TOKEN "/liba.so");
    assert_resolves(root, "/opt/lib/libb.so", "/opt/lib/libb.so");
    assert_resolves(root, "libc.so", "/usr/lib/libc.so");
    assert_resolves(root, "libb.so", NULL);
    assert_resolves(root, "/usr/$ORIGIN/liba.so", NULL);
    assert_resolves(root, "/usr/$LIB/libb.so", NULL);
    assert_resolves(root, "", NULL);
    char command[600];
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_parsed),
        cmocka_unit_test(ours_are_known),
        cmocka_unit_test(names_are_resolved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
