/* What ld.so reads in /etc/ld.so.preload, and changing it. That ld.so really reads it so is in preload.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <common/components.h>
#include <common/preload_text.h>

static struct piece piece(const char *string)
{
    return (struct piece){string, strlen(string)};
}

/* The names, each with a '|' behind it. */
static void assert_names(struct piece text, const char *expected)
{
    struct preload_names names = preload_names(text);
    struct text joined = {.length = 0};
    for (size_t i = 0; i < names.count; i++) {
        /* They are parts of the text itself. */
        assert_true(names.items[i].bytes >= text.bytes);
        assert_true(names.items[i].bytes + names.items[i].length <= text.bytes + text.length);
        text_bytes(&joined, names.items[i].bytes, names.items[i].length);
        text_string(&joined, "|");
    }
    assert_string_equal(text_get(&joined), expected);
    text_free(&joined);
    preload_names_free(&names);
}

static void names_are_read(void **state)
{
    assert_names(piece(""), "");
    assert_names(piece("\n \t:"), "");
    assert_names(piece("a"), "a|");
    assert_names(piece("a\nb:c\td e"), "a|b|c|d|e|");
    assert_names(piece("a\r\nb"), "a\r|b|");
    assert_names(piece("::a::"), "a|");
    assert_names(piece("/usr/$LIB/x.so.1"), "/usr/$LIB/x.so.1|");
}

static void comments_are_read_as_ld_so_does(void **state)
{
    assert_names(piece("# a b\nc"), "c|");
    assert_names(piece("a # b\nc\n"), "a|c|");
    assert_names(piece("a#b\nc\n"), "a|c|");
    assert_names(piece("#"), "");
    assert_names(piece("a #"), "a|");
    /* A second comment within the bytes that are left, counted from the start ... */
    assert_names(piece("# a\n# b\ncccccccccccc"), "cccccccccccc|");
    /* ... and one behind them, which is none. */
    assert_names(piece("aaaaaaaaaa # b\n# c\n"), "aaaaaaaaaa|#|c|");
}

static void nul_bytes_end_it(void **state)
{
    assert_names((struct piece){"a\0b c\n", 6}, "a|");
    /* But a name that ends with the file is read apart. */
    assert_names((struct piece){"a\0b c", 5}, "a|c|");
}

static bool removes_x(struct piece name)
{
    return piece_is(name, "x");
}

static void assert_without(const char *text, const char *expected)
{
    struct text result = {.length = 0};
    preload_text_without(piece(text), removes_x, &result);
    assert_string_equal(text_get(&result), expected);
    text_free(&result);
}

static void names_are_removed(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"a\n", "a\n"},
        {"x\n", ""},
        {"x", ""},
        {" x \t\n", ""},
        {"x x\nx:x\n", ""},
        {"x\na\n", "a\n"},
        {"a\nx", "a\n"},
        {"a\nx\nb", "a\nb"},
        {"x a\n", "a\n"},
        {"a x\n", "a\n"},
        {"a:x:b\n", "a:b\n"},
        {"x a x b x\n", "a b\n"},
        {"xx x.x ax\n", "xx x.x ax\n"},
        {"x # why\n", "# why\n"},
        {"# x\na\n", "# x\na\n"},
        {"\n\nx\n\n", "\n\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_without(cases[i][0], cases[i][1]);
}

/* A comment that ld.so does not take for one is no place to hide. */
static void names_in_comments_that_are_read_are_removed(void **state)
{
    static const char text[] = "aaaaaaaaaa # b\n# x\n";
    struct text result = {.length = 0};
    assert_names(piece(text), "aaaaaaaaaa|#|x|");
    preload_text_without(piece(text), removes_x, &result);
    assert_names(piece(text_get(&result)), "aaaaaaaaaa|#|");
    text_free(&result);
}

static bool put(const char *text, struct text *result)
{
    const struct piece names[] = {piece("x"), piece("y")};
    text_clear(result);
    return preload_text_with(piece(text), names, 2, removes_x, result);
}

static void names_are_put_first(void **state)
{
    static const char *const cases[] = {"", "a", "a\n", "\n# b\nc", "a:b c\t", " "};
    struct text result = {.length = 0}, again = {.length = 0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(put(cases[i], &result));
        assert_memory_equal(text_get(&result), "x\ny\n", 4);
        assert_string_equal(text_get(&result) + 4, cases[i]);
    }
    /* What was there of ours goes: only x is, here. */
    assert_true(put("a x\nx\nb\n", &result));
    assert_string_equal(text_get(&result), "x\ny\na\nb\n");
    text_free(&result);
    text_free(&again);
}

static void comments_may_forbid_it(void **state)
{
    struct text result = {.length = 0};
    /* Bytes before them move the second comment out of ld.so's sight: ours are placed last. */
    assert_true(put("# a\n# b\nc\n", &result));
    assert_string_equal(text_get(&result), "# a\n# b\nc\nx\ny\n");
    assert_names(piece(text_get(&result)), "c|x|y|");
    assert_true(put("a#\n #a\naa#", &result));
    assert_string_equal(text_get(&result), "a#\n #a\naa#\nx\ny\n");
    /* Here it would read other names in either case. */
    assert_names(piece("##\n\n   ba\n  ##ba"), "ba|ba|");
    assert_false(put("##\n\n   ba\n  ##ba", &result));
    text_free(&result);
}

static size_t random_text(uint32_t *random, const char *alphabet, char *text, size_t room)
{
    size_t length = 0, size = (*random >> 16) % room;
    while (length < size) {
        *random = *random * 1664525 + 1013904223;
        text[length++] = alphabet[(*random >> 16) % strlen(alphabet)];
    }
    *random = *random * 1664525 + 1013904223;
    return length;
}

static void nothing_of_ours_is_left_in_any_text(void **state)
{
    uint32_t random = 1;
    for (unsigned i = 0; i < 20000; i++) {
        char text[40];
        struct piece any = {text, random_text(&random, "abx#\n :\tx/", text, sizeof text)};
        struct text without = {.length = 0};
        preload_text_without(any, removes_x, &without);
        struct preload_names left = preload_names(text_piece(&without));
        for (size_t n = 0; n < left.count; n++)
            assert_false(removes_x(left.items[n]));
        preload_names_free(&left);
        text_free(&without);
    }
}

/* What was put in comes out again, and the rest is as it was; but a last line that ended with the file may
 * have an end now. */
static void any_text_survives(void **state)
{
    uint32_t random = 2;
    unsigned done = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char text[40];
        struct piece any = {text, random_text(&random, "ab#\n :\ty/$", text, sizeof text)};
        const struct piece names[] = {piece("x"), piece("x")};
        struct text with = {.length = 0}, out = {.length = 0};
        if (preload_text_with(any, names, 2, removes_x, &with)) {
            done++;
            preload_text_without(text_piece(&with), removes_x, &out);
            assert_true(out.length == any.length ||
                        (out.length == any.length + 1 && out.bytes[any.length] == '\n'));
            assert_memory_equal(text_get(&out), text, any.length);
        }
        text_free(&with);
        text_free(&out);
    }
    assert_true(done > 10000 && done < 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(comments_are_read_as_ld_so_does),
        cmocka_unit_test(nul_bytes_end_it),
        cmocka_unit_test(names_are_removed),
        cmocka_unit_test(names_in_comments_that_are_read_are_removed),
        cmocka_unit_test(names_are_put_first),
        cmocka_unit_test(comments_may_forbid_it),
        cmocka_unit_test(nothing_of_ours_is_left_in_any_text),
        cmocka_unit_test(any_text_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
