/* What is said to people, and what people may say in CALLOC_OPTIONS. */
#include "support.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "message.h"
#include "options.h"

static void assert_text(const struct cal__text *text, const char *expected)
{
    assert_int_equal(text->length, strlen(expected));
    assert_memory_equal(text->bytes, expected, text->length);
}

static void numbers_are_formatted(void **state)
{
    struct cal__text text = {.length = 0};
    cal__text_decimal(&text, 0);
    cal__text_string(&text, " ");
    cal__text_decimal(&text, UINT64_MAX);
    cal__text_string(&text, " ");
    cal__text_hexadecimal(&text, 0);
    cal__text_string(&text, " ");
    cal__text_hexadecimal(&text, 0xdeadbeef12345678);
    assert_text(&text, "0 18446744073709551615 0x0 0xdeadbeef12345678");
}

static void numbers_are_padded(void **state)
{
    struct cal__text text = {.length = 0};
    cal__text_padded(&text, 42, 5);
    cal__text_padded(&text, 123456, 3);
    cal__text_padded(&text, 0, 1);
    assert_text(&text, "   421234560");
}

static void what_does_not_fit_is_cut(void **state)
{
    struct {
        struct cal__text text;
        char guard[64];
    } object = {.text = {.length = 0}};
    memset(object.guard, 'g', sizeof object.guard);
    char line[300];
    memset(line, 'x', sizeof line);
    for (int i = 0; i < 10; i++)
        cal__text_bytes(&object.text, line, sizeof line);
    cal__text_decimal(&object.text, 123);
    cal__text_padded(&object.text, 123, 30);
    assert_int_equal(object.text.length, sizeof object.text.bytes);
    for (size_t i = 0; i < sizeof object.guard; i++)
        assert_int_equal(object.guard[i], 'g');
}

static void text_is_written_whole(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct cal__text text = {.length = 0};
    cal__text_string(&text, "one line\n");
    cal__text_write(&text, ends[1]);
    char read_back[100];
    assert_int_equal(read(ends[0], read_back, sizeof read_back), 9);
    assert_memory_equal(read_back, "one line\n", 9);
    close(ends[0]);
    close(ends[1]);
}

static void a_closed_descriptor_is_ignored(void **state)
{
    struct cal__text text = {.length = 0};
    cal__text_string(&text, "nobody reads this\n");
    errno = 4711;
    cal__text_write(&text, -1);
    assert_int_equal(errno, 4711);
}

static void die_here(void)
{
    cal__fatal("some crime", blame((void *)(uintptr_t)0xabcdef));
}

static void die_at_null(void)
{
    cal__fatal("some crime", blame(NULL));
}

static void fatal_is_one_line_and_abort(void **state)
{
    assert_dies_with("some crime", die_here);
    assert_dies_with("some crime", die_at_null);
}

static void warn_twice(void)
{
    char line[2000];
    memset(line, 'y', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    cal__warn("beware", NULL);
    cal__warn("beware of", "this");
    cal__warn(line, "lost");
}

static void warnings_are_lines_even_when_cut(void **state)
{
    char text[4000];
    run_in_child(warn_twice, text, sizeof text);
    static const char start[] = "libcalloc: beware\nlibcalloc: beware of this\nlibcalloc: yyy";
    assert_memory_equal(text, start, strlen(start));
    assert_int_equal(text[strlen(text) - 1], '\n');
    const char *end = strchr(strstr(text, "yyy"), '\n');
    assert_ptr_equal(end, text + strlen(text) - 1);
}

/* Options. Each parse runs in a child, which answers what became of the options. */

static const char *parsed;
static struct cal__options *result;

static void parse_in_child(void)
{
    cal__options_parse(parsed);
    *result = cal__options;
}

static struct cal__options parse(const char *text, const char *expected_warnings)
{
    static struct cal__options copy;
    result = test_shared_memory(sizeof *result);
    parsed = text;
    char warnings[4000];
    run_in_child(parse_in_child, warnings, sizeof warnings);
    copy = *result;
    test_unshare_memory(result, sizeof *result);
    assert_string_equal(warnings, expected_warnings);
    return copy;
}

struct range {
    const char *name;
    uint64_t standard, minimum, maximum;
    size_t offset;
    const char *type;
};

static const struct range ranges[] = {
#define OPTION(name, type, standard, minimum, maximum, help) \
    {#name, standard, minimum, maximum, offsetof(struct cal__options, name), #type},
#include "options.def"
#undef OPTION
};
enum { OPTIONS = sizeof ranges / sizeof ranges[0] };

static uint64_t value_of(const struct cal__options *options, const struct range *range)
{
    uint64_t value;
    memcpy(&value, (const char *)options + range->offset, sizeof value);
    return value;
}

/* The warning of a bad value says what would be right. */
static void warn_of(char *warning, size_t size, const char *item)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (strncmp(item, ranges[i].name, strlen(ranges[i].name)) == 0)
            snprintf(warning, size,
                     "libcalloc: bad value '%s' in CALLOC_OPTIONS, ignored (%lu to %lu%s)\n", item,
                     ranges[i].minimum, ranges[i].maximum,
                     strcmp(ranges[i].type, "bytes") == 0 ? ", or with K, M or G" : "");
}

static void every_option_starts_with_its_default(void **state)
{
    struct cal__options options = parse("", "");
    for (size_t i = 0; i < OPTIONS; i++) {
        assert_int_equal(value_of(&options, &ranges[i]), ranges[i].standard);
        assert_true(ranges[i].minimum <= ranges[i].standard);
        assert_true(ranges[i].standard <= ranges[i].maximum);
    }
}

static void every_option_takes_its_whole_range(void **state)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s=%lu", ranges[i].name, ranges[i].minimum);
        struct cal__options options = parse(text, "");
        assert_int_equal(value_of(&options, &ranges[i]), ranges[i].minimum);
        snprintf(text, sizeof text, "%s=%lu", ranges[i].name, ranges[i].maximum);
        options = parse(text, "");
        assert_int_equal(value_of(&options, &ranges[i]), ranges[i].maximum);
        /* The others keep their defaults. */
        for (size_t j = 0; j < OPTIONS; j++)
            if (j != i)
                assert_int_equal(value_of(&options, &ranges[j]), ranges[j].standard);
    }
}

static void values_beyond_the_range_are_refused(void **state)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        char text[200];
        char warning[300];
        snprintf(text, sizeof text, "%s=%lu", ranges[i].name, ranges[i].maximum + 1);
        warn_of(warning, sizeof warning, text);
        struct cal__options options = parse(text, warning);
        assert_int_equal(value_of(&options, &ranges[i]), ranges[i].standard);
    }
}

static void bytes_have_suffixes(void **state)
{
    assert_int_equal(parse("retain=5", "").retain, 5);
    assert_int_equal(parse("retain=5K", "").retain, 5 << 10);
    assert_int_equal(parse("retain=5M", "").retain, 5 << 20);
    assert_int_equal(parse("retain=5G", "").retain, (uint64_t)5 << 30);
}

static void bad_values_are_one_warning_each(void **state)
{
    static const char *const bad[] = {"retain=5T",
                                      "retain=5k",
                                      "retain=K",
                                      "retain=",
                                      "retain=5KK",
                                      "retain=-1",
                                      "retain=0x10",
                                      "retain= 5",
                                      "retain=5 ",
                                      "retain",
                                      "purge_delay=5K",
                                      "purge_delay=abc",
                                      "purge_delay=1.5",
                                      "purge_delay=99999999999999999999999999",
                                      "purge_delay==5",
                                      "retain=18446744073709551615G",
                                      "annotate=2",
                                      "statistics=yes",
                                      "retain=17179869184G",
                                      "purge_delay=18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char warning[300];
        warn_of(warning, sizeof warning, bad[i]);
        struct cal__options options = parse(bad[i], warning);
        for (size_t j = 0; j < OPTIONS; j++)
            assert_int_equal(value_of(&options, &ranges[j]), ranges[j].standard);
    }
}

static void unknown_options_are_one_warning_each(void **state)
{
    parse("purge", "libcalloc: unknown option 'purge' in CALLOC_OPTIONS, ignored "
                   "(calloc-options(7) lists them)\n");
    parse("purge_delays=1", "libcalloc: unknown option 'purge_delays=1' in CALLOC_OPTIONS, ignored "
                            "(calloc-options(7) lists them)\n");
    parse("=5", "libcalloc: unknown option '=5' in CALLOC_OPTIONS, ignored (calloc-options(7) "
                "lists them)\n");
    parse("PURGE_DELAY=1", "libcalloc: unknown option 'PURGE_DELAY=1' in CALLOC_OPTIONS, ignored "
                           "(calloc-options(7) lists them)\n");
    parse("x=1,y=2", "libcalloc: unknown option 'x=1' in CALLOC_OPTIONS, ignored "
                     "(calloc-options(7) lists them)\n"
                     "libcalloc: unknown option 'y=2' in CALLOC_OPTIONS, ignored "
                     "(calloc-options(7) lists them)\n");
}

static void empty_items_are_nothing(void **state)
{
    assert_int_equal(parse(",", "").purge_delay, 500);
    assert_int_equal(parse(",,,purge_delay=7,,", "").purge_delay, 7);
}

static void good_items_beside_bad_ones_count(void **state)
{
    struct cal__options options = parse("purge_delay=1,nonsense,retain=2M,purge_delay=3",
                                        "libcalloc: unknown option 'nonsense' in CALLOC_OPTIONS, "
                                        "ignored (calloc-options(7) lists them)\n");
    assert_int_equal(options.purge_delay, 3);
    assert_int_equal(options.retain, 2 << 20);
}

static void long_items_are_cut_in_the_warning(void **state)
{
    static char text[3000];
    memset(text, 'z', sizeof text - 1);
    char warning[300];
    snprintf(warning, sizeof warning,
             "libcalloc: unknown option '%.80s' in CALLOC_OPTIONS, ignored (calloc-options(7) "
             "lists them)\n",
             text);
    parse(text, warning);
}

/* The environment is read by the process itself: a further one runs this program anew. */
static char program[4096];

static int run_with(const char *options, const char *expected)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        setenv("CALLOC_OPTIONS", options, 1);
        execl(program, program, "child", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    char text[4000];
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    int status;
    require(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_string_equal(text, expected);
    return WEXITSTATUS(status);
}

static void the_environment_is_read_before_the_first_allocation(void **state)
{
    assert_int_equal(run_with("purge_delay=77", ""), 77);
    assert_int_equal(run_with("purge_delay=77,bad", "libcalloc: unknown option 'bad' in "
                                                    "CALLOC_OPTIONS, ignored "
                                                    "(calloc-options(7) lists them)\n"),
                     77);
    assert_int_equal(run_with("", ""), 500 % 256);
}

static int answer(void)
{
    free(malloc(100));
    return (int)(cal__options.purge_delay % 256);
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "child") == 0)
        return answer();
    require(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    unsetenv("CALLOC_OPTIONS");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_formatted),
        cmocka_unit_test(numbers_are_padded),
        cmocka_unit_test(what_does_not_fit_is_cut),
        cmocka_unit_test(text_is_written_whole),
        cmocka_unit_test(a_closed_descriptor_is_ignored),
        cmocka_unit_test(fatal_is_one_line_and_abort),
        cmocka_unit_test(warnings_are_lines_even_when_cut),
        cmocka_unit_test(every_option_starts_with_its_default),
        cmocka_unit_test(every_option_takes_its_whole_range),
        cmocka_unit_test(values_beyond_the_range_are_refused),
        cmocka_unit_test(bytes_have_suffixes),
        cmocka_unit_test(bad_values_are_one_warning_each),
        cmocka_unit_test(unknown_options_are_one_warning_each),
        cmocka_unit_test(empty_items_are_nothing),
        cmocka_unit_test(good_items_beside_bad_ones_count),
        cmocka_unit_test(long_items_are_cut_in_the_warning),
        cmocka_unit_test(the_environment_is_read_before_the_first_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
