/* Suppressions, settings, paths and sections. */
#include <fcntl.h>
#include <unistd.h>

#include "profile.h"
#include "settings.h"
#include "support.h"
#include "suppress.h"
#include "writer.h"

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *name;
        bool fits;
    } cases[] = {
        {"abc", "xxabcxx", true},  {"abc", "ab", false},
        {"^abc", "abcd", true},    {"^abc", "xabc", false},
        {"abc$", "xabc", true},    {"abc$", "abcx", false},
        {"^abc$", "abc", true},    {"^abc$", "abcc", false},
        {"a*c", "xabbbcx", true},  {"a*c", "xcba", false},
        {"^a*c$", "abcbc", true},  {"^a*c$", "abcb", false},
        {"*", "", true},           {"^a**b$", "ab", true},
        {"a*b*c", "a1b2c3", true}, {"a*b*c", "a1c2b3", false},
        {"^*x$", "aaax", true},    {"$", "abc", true},
        {"a$b", "a$b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (cal__suppress_matches(cases[i].pattern, cases[i].name) != cases[i].fits)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].name);
}

static bool use(const char *item)
{
    return cal__track_settings_item(item, strlen(item));
}

static void settings(void **state)
{
    (void)state;
    assert_int_equal(cal__track_settings.sample, 0);
    assert_string_equal(cal__track_settings.path, "calloc.%p.profile");
    assert_true(use("sample=512K"));
    assert_int_equal(cal__track_settings.sample, 512 << 10);
    assert_true(use("path=/tmp/a=b"));
    assert_string_equal(cal__track_settings.path, "/tmp/a=b");
    assert_true(use("depth=1"));
    assert_false(use("depth=0"));
    assert_false(use("depth=65537"));
    assert_false(use("depth=1K"));
    assert_false(use("depth"));
    assert_false(use("depth="));
    assert_false(use("deep=1"));
    assert_false(use("sample=99999999999999999999"));
    assert_false(use("sample=1T"));
    assert_int_equal(cal__track_settings.depth, 1);
    char item[CAL_TEXT_MAX + 16];
    memset(item, 'x', sizeof item);
    memcpy(item, "path=", 5);
    assert_false(cal__track_settings_item(item, 5 + CAL_TEXT_MAX));
    assert_true(cal__track_settings_item(item, 5 + CAL_TEXT_MAX - 1));
    assert_int_equal(strlen(cal__track_settings.path), CAL_TEXT_MAX - 1);
}

static void paths(void **state)
{
    (void)state;
    char path[64], wanted[64];
    assert_true(cal__profile_path("/a/%e-%p.%n%%", path, sizeof path));
    snprintf(wanted, sizeof wanted, "/a/test_text-%d.0%%", (int)getpid());
    assert_string_equal(path, wanted);
    assert_true(cal__profile_path("100%", path, sizeof path));
    assert_string_equal(path, "100%");
    assert_true(cal__profile_path("%x%%p", path, sizeof path));
    assert_string_equal(path, "%x%p");
    assert_true(cal__profile_path("abc", path, 4));
    assert_false(cal__profile_path("abcd", path, 4));
}

/* Sections around the ends of the writer's buffer, read again. */
static void sections(void **state)
{
    (void)state;
    char path[] = "/tmp/track-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    struct cal__writer writer;
    assert_int_equal(cal__writer_open(&writer, path, CAL_FILE_PROFILE), 0);
    static char bytes[CAL_WRITER_BUFFER * 2];
    memset(bytes, 7, sizeof bytes);
    const size_t lengths[] = {CAL_WRITER_BUFFER - 32 - 48 - 48,
                              0,
                              1,
                              48,
                              CAL_WRITER_BUFFER - 2 * 48 + 20,
                              CAL_WRITER_BUFFER - 48 - 68,
                              CAL_WRITER_BUFFER * 2,
                              30};
    const size_t count = sizeof lengths / sizeof lengths[0];
    for (size_t i = 0; i < count; i++) {
        cal__writer_begin(&writer, CAL_SECTION_STRINGS, 0, i);
        cal__writer_bytes(&writer, bytes, lengths[i]);
        cal__writer_end(&writer);
    }
    assert_int_equal(cal__writer_close(&writer, false), 0);
    assert_int_equal(cal__writer_append(&writer, path), 0);
    assert_int_equal(cal__writer_close(&writer, true), 0);
    assert_int_equal(lseek(file, sizeof(struct cal__file_header), SEEK_SET),
                     sizeof(struct cal__file_header));
    static char content[CAL_WRITER_BUFFER * 2];
    for (size_t i = 0; i <= count; i++) {
        struct cal__file_section section;
        assert_int_equal(read(file, &section, sizeof section), sizeof section);
        assert_int_equal(section.mark, CAL_SECTION_MARK);
        assert_int_equal(section.header_crc,
                         cal__crc32(0, &section, offsetof(struct cal__file_section, header_crc)));
        assert_int_equal(section.type, i == count ? CAL_SECTION_END : CAL_SECTION_STRINGS);
        assert_int_equal(section.length, i == count ? 0 : lengths[i]);
        assert_int_equal(section.first, i == count ? 0 : i);
        assert_int_equal(read(file, content, section.length), section.length);
        assert_int_equal(section.payload_crc, cal__crc32(0, content, section.length));
        assert_memory_equal(content, bytes, section.length);
    }
    char more;
    assert_int_equal(read(file, &more, 1), 0);
    close(file);
    unlink(path);
    assert_int_equal(cal__crc32(0, "123456789", 9), 0xcbf43926);
}

static void errors_of_writing(void **state)
{
    (void)state;
    struct cal__writer writer;
    assert_int_equal(cal__writer_open(&writer, "/nonexistent/file", CAL_FILE_PROFILE), -2);
    assert_int_equal(cal__writer_append(&writer, "/nonexistent"), -2);
    /* What cannot be written is known at the end at the latest. */
    if (cal__writer_open(&writer, "/dev/full", CAL_FILE_PROFILE) == 0)
        assert_int_equal(cal__writer_close(&writer, true), -28);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns), cmocka_unit_test(settings),          cmocka_unit_test(paths),
        cmocka_unit_test(sections), cmocka_unit_test(errors_of_writing),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
