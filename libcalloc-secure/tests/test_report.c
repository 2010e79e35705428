/* The line of a report, and what follows from it. */
#include "support.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>

#include "place.h"
#include "report.h"

static struct cal__report report;
static enum cal__consequence consequence;

static void report_here(void)
{
    errno = 4711;
    cal__report(&report, consequence);
    require(errno == 4711);
}

static void assert_line(const char *expected, int status)
{
    char text[2000];
    assert_int_equal(watch_child(report_here, text, sizeof text), status);
    assert_string_equal(text, expected);
}

static const void *at(uintptr_t address)
{
    return (const void *)address;
}

static void the_line_says_what_is_known(void **state)
{
    consequence = CAL_ABORT;
    report = (struct cal__report){
        .check = CAL_CHECK_overflow,
        .address = at(0x7f1234567890),
        .block_size = 48,
        .requested = 41,
        .requested_known = true,
        .damage = 43,
        .damage_known = true,
        .thread = 4712,
        .site = at(0x401234),
        .allocated = {{at(0x405678)}},
        .freed = {{at(0xffffffffffffffff)}},
    };
    assert_line("libcalloc: overflow of 0x7f1234567890, byte 43, block of 48 bytes, requested 41, "
                "thread 4712, found at 0x401234, allocated at 0x405678, freed at "
                "0xffffffffffffffff\n",
                -SIGABRT);
}

/* As addr2line wants it. */
static void say_place(char *text, size_t size, const void *address)
{
    Dl_info information;
    assert_int_not_equal(dladdr(address, &information), 0);
    const char *slash = strrchr(information.dli_fname, '/');
    snprintf(text, size, "%s+0x%zx", slash == NULL ? information.dli_fname : slash + 1,
             (uintptr_t)address - (uintptr_t)information.dli_fbase);
}

static void the_line_says_where_that_is(void **state)
{
    consequence = CAL_ABORT;
    report = (struct cal__report){
        .check = CAL_CHECK_double_free,
        .thread = 4712,
        .site = (const void *)report_here,
        .allocated = {{at(0x55), (const void *)report_here},
                      {0, cal__place_remember((const void *)report_here)}},
        .freed = {{(const void *)abort}, {cal__place_remember((const void *)abort)}},
    };
    assert_int_equal(cal__place_remember(at(0x55)), 0);
    char expected[2000], here[200], there[200];
    say_place(here, sizeof here, report.site);
    say_place(there, sizeof there, (const void *)abort);
    snprintf(expected, sizeof expected,
             "libcalloc: double free of 0x0, thread 4712, found at %p (%s), allocated at 0x55, %s, "
             "freed at %s\n",
             report.site, here, here, there);
    assert_line(expected, -SIGABRT);
}

static void the_line_leaves_out_what_is_not(void **state)
{
    consequence = CAL_ABORT;
    report = (struct cal__report){.check = CAL_CHECK_double_free, .thread = 1};
    assert_line("libcalloc: double free of 0x0, thread 1\n", -SIGABRT);
    report.requested_known = true;
    report.damage_known = true;
    assert_line("libcalloc: double free of 0x0, byte 0, requested 0, thread 1\n", -SIGABRT);
    report = (struct cal__report){.check = CAL_CHECKS, .what = NULL, .thread = 1};
    assert_line("libcalloc: error of 0x0, thread 1\n", -SIGABRT);
}

static void every_check_has_its_phrase(void **state)
{
    static const char *const phrases[] = {
        [CAL_CHECK_double_free] = "double free",
        [CAL_CHECK_invalid_free] = "invalid free",
        [CAL_CHECK_invalid_use] = "invalid use",
        [CAL_CHECK_overflow] = "overflow",
        [CAL_CHECK_write_after_free] = "write after free",
        [CAL_CHECK_kind_mismatch] = "mismatched deallocation",
        [CAL_CHECK_size_mismatch] = "mismatched size",
    };
    assert_int_equal(sizeof phrases / sizeof phrases[0], CAL_CHECKS);
    for (int check = 0; check < CAL_CHECKS; check++) {
        char expected[200];
        snprintf(expected, sizeof expected, "libcalloc: %s of 0x10, thread 5\n", phrases[check]);
        consequence = CAL_ABORT;
        report =
            (struct cal__report){.check = (enum cal__check)check, .address = at(16), .thread = 5};
        assert_line(expected, -SIGABRT);
    }
    report.what = "invalid realloc";
    assert_line("libcalloc: invalid realloc of 0x10, thread 5\n", -SIGABRT);
}

static void the_longest_line_is_whole(void **state)
{
    consequence = CAL_ABORT;
    report = (struct cal__report){
        .check = CAL_CHECK_kind_mismatch,
        .address = at(UINTPTR_MAX),
        .block_size = SIZE_MAX,
        .requested = SIZE_MAX,
        .requested_known = true,
        .damage = SIZE_MAX,
        .damage_known = true,
        .thread = 4194304,
        .site = at(UINTPTR_MAX),
        .damage_before = true,
    };
    for (size_t i = 0; i < CAL_REPORT_FRAMES; i++)
        report.allocated.addresses[i] = report.freed.addresses[i] = at(UINTPTR_MAX);
    char text[2000];
    watch_child(report_here, text, sizeof text);
    const char *freed = strstr(text, ", freed at 0xffffffffffffffff, ");
    assert_non_null(freed);
    assert_int_equal(strlen(freed), strlen(", freed at ") + CAL_REPORT_FRAMES * 20 - 2 + 1);
}

static void report_own_thread(void)
{
    report = (struct cal__report){.check = CAL_CHECK_overflow};
    cal__report(&report, CAL_LOG);
    char text[100];
    snprintf(text, sizeof text, "%d\n", (int)gettid());
    require(write(STDERR_FILENO, text, strlen(text)) > 0);
}

static void the_thread_is_looked_up(void **state)
{
    char text[1000];
    assert_int_equal(watch_child(report_own_thread, text, sizeof text), 0);
    static const char start[] = "libcalloc: overflow of 0x0, thread ";
    assert_memory_equal(text, start, strlen(start));
    char *number = text + strlen(start);
    char *second = strchr(number, '\n') + 1;
    assert_string_equal(second + strlen(second) - 1, "\n");
    assert_int_equal(strncmp(number, second, strlen(second)), 0);
}

static void an_unknown_consequence_is_the_worst(void **state)
{
    consequence = CAL_CONSEQUENCES;
    report = (struct cal__report){.check = CAL_CHECK_overflow, .thread = 7};
    assert_line("libcalloc: overflow of 0x0, thread 7\n", -SIGABRT);
}

static void what_is_ignored_is_silent(void **state)
{
    consequence = CAL_IGNORE;
    report = (struct cal__report){.check = CAL_CHECK_overflow, .thread = 7};
    assert_line("", 0);
}

static void log_often(void)
{
    for (int round = 0; round < 3; round++)
        for (uintptr_t site = 0; site < 3; site++)
            for (int check = 0; check < 2; check++) {
                report = (struct cal__report){.check = (enum cal__check)check,
                                              .address = at((uintptr_t)round),
                                              .thread = 7,
                                              .site = at(site)};
                cal__report(&report, CAL_LOG);
            }
    require(cal__report_dropped() == 0);
}

static void each_site_is_logged_once_for_each_check(void **state)
{
    char text[2000];
    assert_int_equal(watch_child(log_often, text, sizeof text), 0);
    assert_string_equal(text, "libcalloc: double free of 0x0, thread 7\n"
                              "libcalloc: invalid free of 0x0, thread 7\n"
                              "libcalloc: double free of 0x0, thread 7, found at 0x1\n"
                              "libcalloc: invalid free of 0x0, thread 7, found at 0x1\n"
                              "libcalloc: double free of 0x0, thread 7, found at 0x2\n"
                              "libcalloc: invalid free of 0x0, thread 7, found at 0x2\n");
}

enum { TOO_MANY = CAL_REPORT_SITES + 100 };

static void log_too_many(void)
{
    for (int round = 0; round < 2; round++)
        for (uintptr_t site = 0; site < TOO_MANY; site++) {
            report = (struct cal__report){
                .check = CAL_CHECK_overflow, .thread = 7, .site = at(0x400000 + 16 * site)};
            cal__report(&report, CAL_LOG);
        }
    require(cal__report_dropped() == 200);
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

static void a_full_table_keeps_quiet(void **state)
{
    static char text[100000];
    assert_int_equal(watch_child(log_too_many, text, sizeof text), 0);
    assert_int_equal(count_lines(text), CAL_REPORT_SITES);
}

enum { THREADS = 8, SITES = 100 };

static void *log_in_thread(void *barrier)
{
    pthread_barrier_wait(barrier);
    for (uintptr_t site = 0; site < SITES; site++) {
        const struct cal__report own = {
            .check = CAL_CHECK_overflow, .thread = 7, .site = at(0x400000 + site)};
        cal__report(&own, CAL_LOG);
    }
    return NULL;
}

static void log_in_threads(void)
{
    pthread_barrier_t barrier;
    pthread_t threads[THREADS];
    require(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, log_in_thread, &barrier) == 0);
    for (int i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0);
}

static void threads_log_a_site_once(void **state)
{
    static char text[100000];
    for (int round = 0; round < 5; round++) {
        assert_int_equal(watch_child(log_in_threads, text, sizeof text), 0);
        assert_int_equal(count_lines(text), SITES);
    }
}

/* A pipe with O_DIRECT keeps apart what several writes put into it. */
static void one_write_is_made_of_it(void **state)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_DIRECT | O_CLOEXEC), 0);
    fflush(NULL);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    report = (struct cal__report){.check = CAL_CHECK_overflow, .thread = 7, .site = at(0x99)};
    cal__report(&report, CAL_LOG);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    char text[1000];
    ssize_t first = read(ends[0], text, sizeof text);
    ssize_t second = read(ends[0], text + 500, 10);
    close(ends[0]);
    assert_int_equal(first, strlen("libcalloc: overflow of 0x0, thread 7, found at 0x99\n"));
    assert_int_equal(second, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_line_says_what_is_known),
        cmocka_unit_test(the_line_says_where_that_is),
        cmocka_unit_test(the_line_leaves_out_what_is_not),
        cmocka_unit_test(every_check_has_its_phrase),
        cmocka_unit_test(the_longest_line_is_whole),
        cmocka_unit_test(the_thread_is_looked_up),
        cmocka_unit_test(an_unknown_consequence_is_the_worst),
        cmocka_unit_test(what_is_ignored_is_silent),
        cmocka_unit_test(each_site_is_logged_once_for_each_check),
        cmocka_unit_test(a_full_table_keeps_quiet),
        cmocka_unit_test(threads_log_a_site_once),
        cmocka_unit_test(one_write_is_made_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
