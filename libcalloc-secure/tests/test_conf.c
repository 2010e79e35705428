/* The file of the administrator: patterns, sections, what is said of mistakes, and which files are not
 * believed. */
#include "support.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "conf.h"

static bool matches(const char *pattern, const char *program)
{
    return cal__conf_matches(pattern, strlen(pattern), program);
}

static void patterns_match(void **state)
{
    static const char *const right[][2] = {
        {"/usr/bin/a", "/usr/bin/a"},
        {"/usr/bin/*", "/usr/bin/a"},
        {"/usr/bin/*", "/usr/bin/"},
        {"/usr/*/a", "/usr/bin/a"},
        {"/*/*/*", "/usr/bin/a"},
        {"/usr/bin/python3.*", "/usr/bin/python3.11"},
        {"/usr/bin/?", "/usr/bin/a"},
        {"/usr/**", "/usr/bin/a"},
        {"/usr/**", "/usr/"},
        {"/usr/**a", "/usr/lib/x/y/a"},
        {"/usr/**/a", "/usr/lib/x/a"},
        {"**", "/usr/bin/a"},
        {"**", ""},
        {"***", "/a/b"},
        {"**/a", "/x/y/a"},
        {"*/a", "/a"},
        {"/**/bin/*", "/x/bin/y/bin/z"},
        {"/**/b*n/*d", "/x/bin/bad/ben/abcd"},
        {"/a*b*c", "/aXbbXbcXc"},
        {"/**a*/b", "/aa/a/ba/b"},
        {"/x[1]", "/x[1]"},
        {"/a\\b", "/a\\b"},
    };
    static const char *const wrong[][2] = {
        {"/usr/bin/a", "/usr/bin/ab"},
        {"/usr/bin/ab", "/usr/bin/a"},
        {"/usr/bin/a", "/usr/bin/b"},
        {"/usr/bin/*", "/usr/bin/a/b"},
        {"/usr/*", "/usr/bin/a"},
        {"/usr/bin?a", "/usr/bin/a"},
        {"/usr/bin/?", "/usr/bin/"},
        {"/usr/bin/?", "/usr/bin/ab"},
        {"/usr/**/a", "/usr/a"},
        {"/**/bin/*", "/x/bin/y/bin/z/q"},
        {"*", "/usr"},
        {"*", "/"},
        {"/**/b*n/*d", "/x/bin/bad/ben/abc"},
        {"/a*b*c", "/aXbbXbcX"},
        {"/**a*/b", "/aa/a/ba/c"},
        {"/", ""},
        {"?", ""},
        {"", "/"},
    };
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        if (!matches(right[i][0], right[i][1]))
            fail_msg("%s does not match %s", right[i][0], right[i][1]);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (matches(wrong[i][0], wrong[i][1]))
            fail_msg("%s matches %s", wrong[i][0], wrong[i][1]);
    assert_true(matches("*", ""));
    assert_true(cal__conf_matches("/a-and-more", 2, "/a"));
}

/* By trying everything. */
static bool slow_matches(const char *pattern, const char *program)
{
    if (*pattern == '\0')
        return *program == '\0';
    if (*pattern == '*') {
        bool all = pattern[1] == '*';
        for (const char *rest = program;; rest++) {
            if (slow_matches(pattern + (all ? 2 : 1), rest))
                return true;
            if (*rest == '\0' || (!all && *rest == '/'))
                return false;
        }
    }
    return *program != '\0' && (*pattern == *program || (*pattern == '?' && *program != '/')) &&
           slow_matches(pattern + 1, program + 1);
}

static void patterns_match_as_if_all_was_tried(void **state)
{
    unsigned number = 1;
    size_t matched = 0;
    for (int i = 0; i < 300000; i++) {
        char pattern[9] = "", program[9] = "";
        for (int j = 0; j < 8; j++) {
            number = number * 1103515245 + 12345;
            pattern[j] = "**?a/b/\0"[number >> 16 & 7];
            number = number * 1103515245 + 12345;
            program[j] = "aa/b//b\0"[number >> 16 & 7];
        }
        bool expected = slow_matches(pattern, program);
        if (matches(pattern, program) != expected)
            fail_msg("%s, %s", pattern, program);
        matched += expected;
    }
    assert_true(matched > 10000);
}

/* --- texts ------------------------------------------------------------------ */

static const char *text, *path, *program;
static size_t text_length;
static struct cal__settings *result;

static void parse_here(void)
{
    struct cal__settings_draft draft = {.given = 0};
    if (path != NULL)
        cal__conf_file(&draft, path, program);
    else
        cal__conf_text(&draft, "conf", text, text_length, program);
    cal__settings_finish(&draft, result);
}

static struct cal__settings parsed(const char *warnings)
{
    static struct cal__settings copy;
    static char said[4000];
    result = shared_memory(sizeof *result);
    int status = watch_child(parse_here, said, sizeof said);
    copy = *result;
    unshare_memory(result, sizeof *result);
    assert_string_equal(said, warnings);
    assert_int_equal(status, 0);
    return copy;
}

static struct cal__settings parse(const char *what, const char *of, const char *warnings)
{
    text = what, text_length = strlen(what), program = of, path = NULL;
    return parsed(warnings);
}

static void sections_are_for_their_programs(void **state)
{
    static const char conf[] = "# For all\n"
                               "\n"
                               "level = standard\n"
                               "guard_interval=9\n"
                               "  [/usr/bin/cat]  \n"
                               "\tcanary = 0\r\n"
                               "secure.on_overflow = log\n"
                               "[ /usr/bin/* ]\n"
                               "guard_interval = 10\n"
                               "[/opt/**]\n"
                               "enable=0\n"
                               "[**/cat]\n"
                               "guard_interval = 11";
    struct cal__settings cat = parse(conf, "/usr/bin/cat", "");
    assert_int_equal(cat.level, CAL_STANDARD);
    assert_int_equal(cat.canary, 0);
    assert_int_equal(cat.on_overflow, CAL_LOG);
    assert_int_equal(cat.guard_interval, 11);
    assert_int_equal(cat.enable, 1);
    struct cal__settings dog = parse(conf, "/usr/bin/dog", "");
    assert_int_equal(dog.level, CAL_STANDARD);
    assert_int_equal(dog.canary, 1);
    assert_int_equal(dog.on_overflow, CAL_ABORT);
    assert_int_equal(dog.guard_interval, 10);
    struct cal__settings game = parse(conf, "/opt/x/cat", "");
    assert_int_equal(game.enable, 0);
    assert_int_equal(game.guard_interval, 11);
    struct cal__settings unknown = parse(conf, "", "");
    assert_int_equal(unknown.level, CAL_STANDARD);
    assert_int_equal(unknown.guard_interval, 9);
    assert_int_equal(unknown.enable, 1);
}

static void mistakes_are_told_with_their_line(void **state)
{
    struct cal__settings settings = parse(
        "\n"
        "# canary=0\n"
        "canary = 2\n"
        "what\n"
        "quarantine : 5\n"
        "[usr/bin/cat]\n"
        "random_slots=0\n"
        "[/usr/bin/cat\n"
        "zero_on_free=0\n"
        "[]\n"
        "[/usr/bin/dog]\n"
        "sample = many\n"
        "own_pages = 1\n"
        "[/usr/bin/cat]\n"
        "sizes = 0\n",
        "/usr/bin/cat",
        "libcalloc: conf:3: bad value 'canary = 2', ignored (0 to 1)\n"
        "libcalloc: conf:4: unknown setting 'what', ignored (libcalloc-secure(7) lists them)\n"
        "libcalloc: conf:5: unknown setting 'quarantine : 5', ignored "
        "(libcalloc-secure(7) lists them)\n"
        "libcalloc: conf:6: bad section '[usr/bin/cat]', ignored\n"
        "libcalloc: conf:8: bad section '[/usr/bin/cat', ignored\n"
        "libcalloc: conf:10: bad section '[]', ignored\n"
        "libcalloc: conf:12: bad value 'sample = many', ignored "
        "(0 to 4294967295)\n");
    struct cal__settings expected = parse("sizes = 0", "/usr/bin/cat", "");
    assert_memory_equal(&settings, &expected, sizeof settings);
    assert_int_equal(expected.sizes, 0);
    assert_int_equal(expected.canary, 1);
}

static void many_mistakes_are_summed_up(void **state)
{
    char expected[2000] = "", line[200];
    for (int i = 1; i <= CAL_CONF_WARNINGS; i++) {
        snprintf(
            line, sizeof line,
            "libcalloc: conf:%d: unknown setting 'x', ignored (libcalloc-secure(7) lists them)\n",
            i);
        strcat(expected, line);
    }
    parse("x\nx\nx\nx\nx\nx\nx\nx", "", expected);
    strcat(expected, "libcalloc: conf: further lines are wrong, ignored\n");
    assert_int_equal(parse("x\nx\nx\nx\nx\nx\nx\nx\nx\nx\ncanary=0", "", expected).canary, 0);
}

static void bytes_of_any_kind_do_no_harm(void **state)
{
    static const char bytes[] = "canary=0\n\0\xff\x1b[2J=1\nsizes=0\0";
    text = bytes, text_length = sizeof bytes - 1, program = "", path = NULL;
    struct cal__settings settings = parsed(
        "libcalloc: conf:2: unknown setting '???[2J=1', ignored (libcalloc-secure(7) lists them)\n"
        "libcalloc: conf:3: bad value 'sizes=0?', ignored (0 to 1)\n");
    assert_int_equal(settings.canary, 0);
    assert_int_equal(settings.sizes, 1);
}

/* Not ended by anything: what is read beyond it is found by a sanitizer. */
static void any_cut_is_read_to_its_end_and_not_beyond(void **state)
{
    static const char conf[] = "level = standard\n[/usr/**]\non_overflow = log # no\n\n[*x";
    for (size_t length = 0; length <= sizeof conf - 1; length++) {
        char *cut = malloc(length + 1);
        assert_non_null(cut);
        memmove(cut + 1, conf, length);
        struct cal__settings_draft draft = {.given = 0};
        fflush(NULL);
        int saved = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(nowhere, STDERR_FILENO);
        cal__conf_text(&draft, "conf", cut + 1, length, "/usr/bin/cat");
        dup2(saved, STDERR_FILENO);
        close(saved);
        close(nowhere);
        assert_int_equal(draft.given != 0, length >= strlen("level = standard"));
        free(cut);
    }
}

/* --- files ------------------------------------------------------------------ */

static char folder[] = "/tmp/test-conf-XXXXXX";
static char file[sizeof folder + 10], other[sizeof folder + 10];

static int make_folder(void **state)
{
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(file, sizeof file, "%s/conf", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(file);
    unlink(other);
    return rmdir(folder);
}

static void write_file(const char *name, const char *what, size_t length)
{
    unlink(name);
    int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, what, length), length);
    assert_int_equal(fchmod(descriptor, 0644), 0);
    close(descriptor);
}

static struct cal__settings read_file(const char *name, const char *of, const char *complaint)
{
    char warnings[400] = "";
    if (complaint != NULL)
        snprintf(warnings, sizeof warnings, "libcalloc: %s: %s, ignored\n", name, complaint);
    path = name, program = of;
    return parsed(warnings);
}

static const char untrusted[] = "does not belong to root alone, or others may write it";

static void a_missing_file_is_nothing(void **state)
{
    char below[sizeof file + 10];
    unlink(file);
    assert_int_equal(read_file(file, "", NULL).canary, 1);
    write_file(file, "canary=0\n", 9);
    snprintf(below, sizeof below, "%s/below", file);
    assert_int_equal(read_file(below, "", NULL).canary, 1);
}

static void only_roots_own_file_is_believed(void **state)
{
    write_file(file, "canary=0\n", 9);
    if (geteuid() != 0) {
        assert_int_equal(read_file(file, "", untrusted).canary, 1);
        skip_because("only root can own the file");
    }
    static const mode_t good[] = {0644, 0600, 0444, 0755, 0400};
    static const mode_t bad[] = {0664, 0646, 0666, 0620, 0602, 0777};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(chmod(file, good[i]), 0);
        assert_int_equal(read_file(file, "", NULL).canary, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(chmod(file, bad[i]), 0);
        assert_int_equal(read_file(file, "", untrusted).canary, 1);
    }
    assert_int_equal(chmod(file, 0644), 0);
    assert_int_equal(chown(file, 1000, 0), 0);
    assert_int_equal(read_file(file, "", untrusted).canary, 1);
    assert_int_equal(chown(file, 0, 1000), 0);
    assert_int_equal(read_file(file, "", NULL).canary, 0);
}

static void only_a_regular_file_is_believed(void **state)
{
    write_file(other, "canary=0\n", 9);
    unlink(file);
    assert_int_equal(symlink(other, file), 0);
    assert_int_equal(read_file(file, "", "is a symbolic link").canary, 1);
    unlink(file);
    assert_int_equal(read_file("/dev/null", "", "is not a regular file").canary, 1);
    assert_int_equal(read_file(folder, "", "is not a regular file").canary, 1);
    /* A pipe that nobody writes to must not stop the process. */
    assert_int_equal(mkfifo(file, 0644), 0);
    assert_int_equal(read_file(file, "", "is not a regular file").canary, 1);
}

static void a_long_file_is_not_believed(void **state)
{
    if (geteuid() != 0)
        skip_because("only root can own the file");
    static char many[CAL_CONF_MAX + 1];
    memset(many, '#', sizeof many);
    memcpy(many, "canary=0\n", 9);
    write_file(file, many, CAL_CONF_MAX);
    assert_int_equal(read_file(file, "", NULL).canary, 0);
    write_file(file, many, CAL_CONF_MAX + 1);
    assert_int_equal(read_file(file, "", "is longer than 64 KiB").canary, 1);
    write_file(file, many, 0);
    assert_int_equal(read_file(file, "", NULL).canary, 1);
}

/* However it is read: what stands at the end of one of any length counts, and where the program matters too. */
static void a_file_of_any_length_is_read_to_its_end(void **state)
{
    static const char end[] = "\n[/some/program]\ncanary=0\n";
    static char lines[5000];
    if (geteuid() != 0)
        skip_because("only root can own the file");
    for (size_t length = sizeof end - 1; length <= sizeof lines;
         length += length == 300 ? 1700 : 1) {
        memset(lines, '#', sizeof lines);
        memcpy(lines + length - (sizeof end - 1), end, sizeof end - 1);
        write_file(file, lines, length);
        assert_int_equal(read_file(file, "/some/program", NULL).canary, 0);
        assert_int_equal(read_file(file, "/some/other", NULL).canary, 1);
        if (length >= 2100)
            length += 700;
    }
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int i = 0; i < 100; i++)
        count += fcntl(i, F_GETFD) != -1;
    return count;
}

/* Not the number of mappings: neighbours become one. */
static unsigned long mapped_pages(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    require(statm != NULL && fscanf(statm, "%lu", &pages) == 1);
    fclose(statm);
    return pages;
}

static void nothing_is_left_behind_here(void)
{
    struct cal__settings_draft draft = {.given = 0};
    cal__conf_file(&draft, file, "");
    size_t descriptors = open_descriptors();
    mapped_pages();
    unsigned long before = mapped_pages();
    for (int i = 0; i < 20; i++) {
        cal__conf_file(&draft, file, NULL);
        cal__conf_file(&draft, other, NULL);
        cal__conf_file(&draft, folder, NULL);
    }
    require(open_descriptors() == descriptors);
    require(mapped_pages() == before);
}

static void nothing_is_left_behind(void **state)
{
    char said[8000];
    write_file(file, "canary=0\n", 9);
    unlink(other);
    assert_int_equal(watch_child(nothing_is_left_behind_here, said, sizeof said), 0);
}

static void the_own_path_is_known(void **state)
{
    if (geteuid() != 0)
        skip_because("only root can own the file");
    char own[4096], conf[5000];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length <= 0)
        skip_because("there is no /proc");
    own[length] = '\0';
    snprintf(conf, sizeof conf, "[%s]\ncanary=0\n", own);
    write_file(file, conf, strlen(conf));
    assert_int_equal(read_file(file, NULL, NULL).canary, 0);
    assert_int_equal(read_file(file, "/another", NULL).canary, 1);
}

static void read_without_proc(void)
{
    struct cal__settings_draft draft = {.given = 0};
    if (chroot(folder) != 0 || chdir("/") != 0)
        _exit(77);
    cal__conf_file(&draft, "/conf", NULL);
    cal__settings_finish(&draft, result);
}

static void without_proc_the_rest_holds(void **state)
{
    if (geteuid() != 0)
        skip_because("only root can own the file");
    static const char conf[] = "sizes=0\n[/**]\ncanary=0\n[**]\nkinds=0\n";
    char said[1000];
    write_file(file, conf, sizeof conf - 1);
    result = shared_memory(sizeof *result);
    int status = watch_child(read_without_proc, said, sizeof said);
    struct cal__settings settings = *result;
    unshare_memory(result, sizeof *result);
    if (status == 77)
        skip_because("chroot is refused");
    assert_string_equal(said, "");
    assert_int_equal(status, 0);
    assert_int_equal(settings.sizes, 0);
    assert_int_equal(settings.canary, 1);
    assert_int_equal(settings.kinds, 0);
}

static void load_here(void)
{
    struct cal__settings settings;
    struct cal__settings_draft options = {.given = 0}, none = {.given = 0};
    static const char *const items[] = {"level=paranoid", "sample=77"};
    for (size_t i = 0; i < 2; i++)
        require(cal__settings_item(&options, items[i], strlen(items[i]), NULL));
    errno = 4711;
    cal__conf_load(&settings, &options);
    require(errno == 4711);
    require(settings.level == CAL_PARANOID && settings.sample == 77);
    cal__conf_load(&settings, &none);
    require(settings.sample != 77);
}

static void options_win(void **state)
{
    char said[4000];
    assert_int_equal(watch_child(load_here, said, sizeof said), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(patterns_match_as_if_all_was_tried),
        cmocka_unit_test(sections_are_for_their_programs),
        cmocka_unit_test(mistakes_are_told_with_their_line),
        cmocka_unit_test(many_mistakes_are_summed_up),
        cmocka_unit_test(bytes_of_any_kind_do_no_harm),
        cmocka_unit_test(any_cut_is_read_to_its_end_and_not_beyond),
        cmocka_unit_test(a_missing_file_is_nothing),
        cmocka_unit_test(only_roots_own_file_is_believed),
        cmocka_unit_test(only_a_regular_file_is_believed),
        cmocka_unit_test(a_long_file_is_not_believed),
        cmocka_unit_test(a_file_of_any_length_is_read_to_its_end),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(the_own_path_is_known),
        cmocka_unit_test(without_proc_the_rest_holds),
        cmocka_unit_test(options_win),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
