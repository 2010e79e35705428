/* What a run has written is told from what was there. */
#include <calloc/written.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[80];

static void write_file(const char *name, const char *content)
{
    char part[160], whole[160];
    snprintf(part, sizeof part, "%s/part", folder);
    snprintf(whole, sizeof whole, "%s/%s", folder, name);
    FILE *file = fopen(part, "we");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(part, whole), 0);
}

static bool has(const struct written *written, const char *name)
{
    char whole[160];
    snprintf(whole, sizeof whole, "%s/%s", folder, name);
    return written_has(written, whole);
}

static char largest[160];

/* And the largest, without its folder. */
static unsigned others(const struct written *written, const char *end, const char *mine)
{
    char whole[160];
    struct text text = {.length = 0};
    snprintf(whole, sizeof whole, "%s/%s", folder, mine);
    unsigned count = written_others(written, path, end, whole, &text);
    const char *slash = strrchr(text_get(&text), '/');
    snprintf(largest, sizeof largest, "%s", slash == NULL ? "" : slash + 1);
    text_free(&text);
    return count;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/written-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/p", folder);
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"p.1", "p.2", "p.3", "p.x", "q.1", "p.1.trace", "p"};
    (void)state;
    char whole[160];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(whole, sizeof whole, "%s/%s", folder, names[i]);
        unlink(whole);
    }
    return rmdir(folder);
}

static void told_apart(void **state)
{
    (void)state;
    struct written written;
    write_file("p.1", "old");
    write_file("p.2", "old");
    write_file("p.1.trace", "old");
    written_begin(&written, path);
    assert_int_equal(others(&written, "", "p"), 0);
    /* In the same moment, and as long. */
    write_file("p.2", "new");
    write_file("p.3", "new");
    write_file("p.x", "new");
    write_file("q.1", "new");
    write_file("p", "new");
    assert_false(has(&written, "p.1"));
    assert_true(has(&written, "p.2"));
    assert_true(has(&written, "p.3"));
    assert_false(has(&written, "p.4"));
    assert_int_equal(others(&written, "", "p"), 2);
    assert_string_equal(largest, "");
    assert_int_equal(others(&written, "", "p.2"), 1);
    assert_int_equal(others(&written, "", "none"), 2);
    assert_int_equal(others(&written, ".trace", "p"), 0);
    write_file("p.1.trace", "longer");
    assert_int_equal(others(&written, ".trace", "p"), 1);
    assert_string_equal(largest, "p.1.trace");
    write_file("p.3", "longer");
    assert_int_equal(others(&written, "", "p"), 2);
    assert_string_equal(largest, "p.3");
    written_free(&written);
}

static void nothing_there(void **state)
{
    (void)state;
    struct written written;
    written_begin(&written, "/nowhere/at/all/p");
    struct text text = {.length = 0};
    assert_int_equal(written_others(&written, "/nowhere/at/all/p", "", "/nowhere/at/all/p", &text),
                     0);
    assert_string_equal(text_get(&text), "");
    text_free(&text);
    assert_false(written_has(&written, "/nowhere/at/all/p.1"));
    written_free(&written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(told_apart, make_folder, remove_folder),
        cmocka_unit_test(nothing_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
