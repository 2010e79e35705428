/* What the JSON has where a name or a value is not plain text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../calloc/output.h"

static void strings_are_quoted(void **state)
{
    static const char *const cases[][2] = {
        {"", "\"\""},
        {"plain /x", "\"plain /x\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\t\033\177", "\"\\u000a\\u0009\\u001b\\u007f\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        /* Alone, cut short, longer than needed, a surrogate, beyond the last. */
        {"\xa4", "\"\\ufffd\""},
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xff", "\"\\ufffd\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text text = {.length = 0};
        output_quote(cases[i][0], &text);
        assert_string_equal(text_get(&text), cases[i][1]);
        text_free(&text);
    }
}

static void facts_become_objects(void **state)
{
    struct output output = {.json = true};
    output_section(&output, "empty");
    output_section(&output, "full");
    output_string(&output, OUTPUT_WARNING, "a", "b", "c");
    output_number(&output, OUTPUT_FACT, "d", -7, NULL);
    assert_string_equal(text_get(&output.text),
                        "{\n  \"sections\": {\n    \"empty\": [],\n    \"full\": [\n"
                        "      {\"name\": \"a\", \"value\": \"b\", \"state\": \"warning\", "
                        "\"remark\": \"c\"},\n"
                        "      {\"name\": \"d\", \"value\": -7, \"state\": \"fact\"}");
    assert_int_equal(output.warnings, 1);
    text_free(&output.text);
}

static void text_cannot_steer_a_terminal(void **state)
{
    struct output output = {.json = false};
    output_section(&output, "s");
    output_string(&output, OUTPUT_WARNING, "name", "a\033[2J\nb\xff", "c\r");
    assert_null(strchr(text_get(&output.text), '\033'));
    assert_non_null(strstr(text_get(&output.text), "a?[2J?b?   c?\n"));
    assert_memory_equal(text_get(&output.text), "s\n! name", 8);
    text_free(&output.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_quoted),
        cmocka_unit_test(facts_become_objects),
        cmocka_unit_test(text_cannot_steer_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
