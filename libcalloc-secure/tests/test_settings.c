/* The table of settings, and what CALLOC_OPTIONS may say of them.
 *
 *   test_settings            the tests
 *   test_settings secure     with the rights of somebody else: says which level it has */
#include "support.h"

#include "options.h"
#include "settings.h"

static struct cal__settings defaults(enum cal__level level)
{
    struct cal__settings_draft draft = {.given = 0};
    struct cal__settings settings;
    static const char *const items[] = {"level=light", "level=standard", "level=paranoid"};
    require(cal__settings_item(&draft, items[level], strlen(items[level]), NULL));
    cal__settings_finish(&draft, &settings);
    return settings;
}

static void the_levels_are_those_of_the_table(void **state)
{
    static const struct cal__settings expected[CAL_LEVELS] = {
        {
#define SETTING(name, type, light, standard, paranoid, minimum, maximum, help) .name = light,
#include "settings.def"
#undef SETTING
        },
        {
#define SETTING(name, type, light, standard, paranoid, minimum, maximum, help) .name = standard,
#include "settings.def"
#undef SETTING
        },
        {
#define SETTING(name, type, light, standard, paranoid, minimum, maximum, help) .name = paranoid,
#include "settings.def"
#undef SETTING
        },
    };
    for (unsigned level = 0; level < CAL_LEVELS; level++) {
        struct cal__settings settings = defaults((enum cal__level)level);
        assert_int_equal(settings.level, level);
        settings.level = expected[level].level;
        assert_memory_equal(&settings, &expected[level], sizeof settings);
    }
}

static void nothing_given_is_light(void **state)
{
    struct cal__settings_draft draft = {.given = 0};
    struct cal__settings settings, light = defaults(CAL_LIGHT);
    cal__settings_finish(&draft, &settings);
    assert_memory_equal(&settings, &light, sizeof settings);
}

static void the_table_is_described(void **state)
{
    struct cal__setting_information about;
    unsigned count = 0;
    while (cal__settings_describe(count, &about)) {
        assert_int_equal(about.offset, count * sizeof(uint64_t));
        assert_true(strlen(about.help) > 10 && strlen(about.help) < 200);
        for (int level = 0; level < CAL_LEVELS; level++)
            assert_true(about.standard[level] >= about.minimum &&
                        about.standard[level] <= about.maximum);
        count++;
    }
    assert_int_equal(count, sizeof(struct cal__settings) / sizeof(uint64_t));
    assert_true(cal__settings_describe(1, &about));
    assert_string_equal(about.name, "level");
    assert_string_equal(about.type, "level");
}

/* Parsing is done in a child, which answers what became of it. */

static const char *parsed;
static struct cal__settings *result;

static void parse_here(void)
{
    struct cal__settings_draft draft = {.given = 0};
    errno = 4711;
    hand_out(&draft, parsed);
    require(errno == 4711);
    cal__settings_finish(&draft, result);
}

static struct cal__settings parse(const char *text, const char *expected_warnings)
{
    static struct cal__settings copy;
    char warnings[4000];
    parsed = text;
    result = shared_memory(sizeof *result);
    assert_int_equal(watch_child(parse_here, warnings, sizeof warnings), 0);
    copy = *result;
    unshare_memory(result, sizeof *result);
    assert_string_equal(warnings, expected_warnings);
    return copy;
}

static uint64_t value_at(const struct cal__settings *settings, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)settings + offset, sizeof value);
    return value;
}

/* Each setting takes both ends of its range, and touches no other. */
static void each_setting_is_parsed(void **state)
{
    struct cal__settings light = defaults(CAL_LIGHT);
    struct cal__setting_information about;
    for (unsigned i = 0; cal__settings_describe(i, &about); i++) {
        if (strcmp(about.type, "number") != 0 && strcmp(about.type, "bytes") != 0)
            continue;
        for (int end = 0; end < 2; end++) {
            uint64_t value = end == 0 ? about.minimum : about.maximum;
            char text[100];
            snprintf(text, sizeof text, "secure.%s=%lu", about.name, (unsigned long)value);
            struct cal__settings settings = parse(text, "");
            assert_int_equal(value_at(&settings, about.offset), value);
            uint64_t before = value_at(&light, about.offset);
            memcpy((char *)&settings + about.offset, &before, sizeof before);
            assert_memory_equal(&settings, &light, sizeof light);

            char warning[300], bad[100];
            snprintf(bad, sizeof bad, "secure.%s=%lu", about.name,
                     (unsigned long)(end == 0 ? about.minimum - 1 : about.maximum + 1));
            snprintf(warning, sizeof warning,
                     "libcalloc: bad value '%s' in CALLOC_OPTIONS, ignored (%lu to %lu%s)\n", bad,
                     (unsigned long)about.minimum, (unsigned long)about.maximum,
                     strcmp(about.type, "bytes") == 0 ? ", or with K, M or G" : "");
            settings = parse(bad, warning);
            assert_memory_equal(&settings, &light, sizeof light);
        }
    }
}

static void suffixes_multiply(void **state)
{
    assert_int_equal(parse("secure.quarantine=3K", "").quarantine, 3 * 1024);
    assert_int_equal(parse("secure.quarantine=3M", "").quarantine, 3 * 1024 * 1024);
    assert_int_equal(parse("secure.address_quarantine=3G", "").address_quarantine, UINT64_C(3)
                                                                                       << 30);
}

static void consequences_are_words(void **state)
{
    struct cal__settings settings = parse(
        "secure.on_overflow=log,secure.on_double_free=ignore,secure.on_invalid_use=abort", "");
    assert_int_equal(settings.on_overflow, CAL_LOG);
    assert_int_equal(settings.on_double_free, CAL_IGNORE);
    for (int check = 0; check < CAL_CHECKS; check++)
        assert_int_equal(cal__settings_consequence(&settings, (enum cal__check)check),
                         check == CAL_CHECK_overflow      ? CAL_LOG
                         : check == CAL_CHECK_double_free ? CAL_IGNORE
                                                          : CAL_ABORT);
    settings.on_overflow = 17;
    assert_int_equal(cal__settings_consequence(&settings, CAL_CHECK_overflow), CAL_ABORT);
    assert_int_equal(cal__settings_consequence(&settings, CAL_CHECKS), CAL_ABORT);
}

static void the_level_may_come_last(void **state)
{
    struct cal__settings expected = defaults(CAL_PARANOID);
    expected.guard_interval = 7;
    struct cal__settings settings = parse("secure.guard_interval=7,secure.level=paranoid", "");
    assert_memory_equal(&settings, &expected, sizeof settings);
    settings = parse("secure.level=paranoid,secure.guard_interval=7", "");
    assert_memory_equal(&settings, &expected, sizeof settings);
    assert_int_equal(parse("secure.level=paranoid,secure.level=standard", "").level, CAL_STANDARD);
}

static void what_is_wrong_is_a_line(void **state)
{
#define UNKNOWN(item)                                                   \
    "libcalloc: unknown setting '" item "' in CALLOC_OPTIONS, ignored " \
    "(libcalloc-secure(7) lists them)\n"
#define BAD(item, range) "libcalloc: bad value '" item "' in CALLOC_OPTIONS, ignored (" range ")\n"
    struct cal__settings light = defaults(CAL_LIGHT);
    static const char *const texts[][2] = {
        {"secure.nothing=1", UNKNOWN("secure.nothing=1")},
        {"secure.", UNKNOWN("secure.")},
        {"secure.=1", UNKNOWN("secure.=1")},
        {"secure.canar=0", UNKNOWN("secure.canar=0")},
        {"secure.canary_=0", UNKNOWN("secure.canary_=0")},
        {"secure.canary", BAD("secure.canary", "0 to 1")},
        {"secure.canary=", BAD("secure.canary=", "0 to 1")},
        {"secure.canary=0x0", BAD("secure.canary=0x0", "0 to 1")},
        {"secure.canary=-0", BAD("secure.canary=-0", "0 to 1")},
        {"secure.canary=0K", BAD("secure.canary=0K", "0 to 1")},
        {"secure.sample=18446744073709551616",
         BAD("secure.sample=18446744073709551616", "0 to 4294967295")},
        {"secure.quarantine=1KK",
         BAD("secure.quarantine=1KK", "0 to 1073741824, or with K, M or G")},
        {"secure.quarantine=1T", BAD("secure.quarantine=1T", "0 to 1073741824, or with K, M or G")},
        {"secure.quarantine=K", BAD("secure.quarantine=K", "0 to 1073741824, or with K, M or G")},
        {"secure.quarantine=17179869184G",
         BAD("secure.quarantine=17179869184G", "0 to 1073741824, or with K, M or G")},
        {"secure.level=high", BAD("secure.level=high", "light, standard or paranoid")},
        {"secure.level=1", BAD("secure.level=1", "light, standard or paranoid")},
        {"secure.on_overflow=lo", BAD("secure.on_overflow=lo", "abort, log or ignore")},
        {"secure.on_overflow=light", BAD("secure.on_overflow=light", "abort, log or ignore")},
        {"secure.a\x1b[1m=1,secure.b=1", UNKNOWN("secure.a?[1m=1") UNKNOWN("secure.b=1")},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct cal__settings settings = parse(texts[i][0], texts[i][1]);
        assert_memory_equal(&settings, &light, sizeof light);
    }
    assert_int_equal(
        parse("secure.canary=2,secure.canary=0", BAD("secure.canary=2", "0 to 1")).canary, 0);
}

static void a_long_item_is_cut_in_the_warning(void **state)
{
    char text[3000], expected[400], cut[81];
    memset(text, 'x', sizeof text);
    memcpy(text, "secure.", 7);
    text[sizeof text - 1] = '\0';
    memset(cut, 'x', 80);
    cut[80] = '\0';
    snprintf(expected, sizeof expected,
             "libcalloc: unknown setting 'secure.%s' in CALLOC_OPTIONS, ignored "
             "(libcalloc-secure(7) lists them)\n",
             cut);
    parse(text, expected);
}

static void what_is_merged_wins(void **state)
{
    struct cal__settings_draft file = {.given = 0}, options = {.given = 0};
    struct cal__settings settings;
    hand_out(&file, "secure.sample=5,secure.canary=0,secure.level=standard");
    hand_out(&options, "secure.sample=7,secure.level=paranoid,secure.on_overflow=log");
    cal__settings_merge(&file, &options);
    cal__settings_finish(&file, &settings);
    assert_int_equal(settings.sample, 7);
    assert_int_equal(settings.canary, 0);
    assert_int_equal(settings.level, CAL_PARANOID);
    assert_int_equal(settings.on_overflow, CAL_LOG);
    assert_int_equal(settings.on_double_free, CAL_ABORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_levels_are_those_of_the_table),
        cmocka_unit_test(nothing_given_is_light),
        cmocka_unit_test(the_table_is_described),
        cmocka_unit_test(each_setting_is_parsed),
        cmocka_unit_test(suffixes_multiply),
        cmocka_unit_test(consequences_are_words),
        cmocka_unit_test(the_level_may_come_last),
        cmocka_unit_test(what_is_wrong_is_a_line),
        cmocka_unit_test(a_long_item_is_cut_in_the_warning),
        cmocka_unit_test(what_is_merged_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
