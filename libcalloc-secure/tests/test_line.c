/* Lines: what fits, what is cut, and what comes from others. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>

#include "line.h"

static void assert_line(const struct cal__line *line, const char *expected)
{
    assert_int_equal(line->length, strlen(expected));
    assert_memory_equal(line->bytes, expected, line->length);
}

static void numbers_are_formatted(void **state)
{
    struct cal__line line = {.length = 0};
    cal__line_decimal(&line, 0);
    cal__line_string(&line, " ");
    cal__line_decimal(&line, UINT64_MAX);
    cal__line_string(&line, " ");
    cal__line_hexadecimal(&line, 0);
    cal__line_string(&line, " ");
    cal__line_hexadecimal(&line, 0xdeadbeef12345678);
    assert_line(&line, "0 18446744073709551615 0x0 0xdeadbeef12345678");
}

static void foreign_text_is_harmless(void **state)
{
    struct cal__line line = {.length = 0};
    static const char text[] = "a\n\x1b[31m\tz~\x7f\x80\xff\0 b";
    cal__line_foreign(&line, text, sizeof text - 1);
    assert_line(&line, "a??[31m?z~???? b");
    char many[100];
    memset(many, 'm', sizeof many);
    line.length = 0;
    cal__line_foreign(&line, many, sizeof many);
    assert_int_equal(line.length, 80);
}

static void what_does_not_fit_is_cut(void **state)
{
    struct {
        struct cal__line line;
        char guard[64];
    } object = {.line = {.length = 0}};
    memset(object.guard, 'g', sizeof object.guard);
    char many[CAL_LINE_MAX / 4];
    memset(many, 'x', sizeof many);
    for (int i = 0; i < 5; i++)
        cal__line_bytes(&object.line, many, sizeof many);
    cal__line_decimal(&object.line, 123456);
    cal__line_foreign(&object.line, many, sizeof many);
    assert_int_equal(object.line.length, CAL_LINE_MAX - 1);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    cal__line_write(&object.line, ends[1]);
    char text[2 * CAL_LINE_MAX];
    assert_int_equal(read(ends[0], text, sizeof text), CAL_LINE_MAX);
    assert_int_equal(text[CAL_LINE_MAX - 2], 'x');
    assert_int_equal(text[CAL_LINE_MAX - 1], '\n');
    for (size_t i = 0; i < sizeof object.guard; i++)
        assert_int_equal(object.guard[i], 'g');
    close(ends[0]);
    close(ends[1]);
}

static void errors_are_ignored(void **state)
{
    struct cal__line line = {.length = 0};
    cal__line_string(&line, "nobody reads this");
    errno = 4711;
    cal__line_write(&line, -1);
    assert_int_equal(errno, 4711);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static int full_pipe[2];
static char last[4096];

/* Reads until it gets less than a page, which is the line. */
static void *empty_pipe(void *argument)
{
    ssize_t got;
    usleep(200000);
    while ((got = read(full_pipe[0], last, sizeof last)) == sizeof last) {}
    return (void *)(uintptr_t)got;
}

/* A write that waits and is interrupted before it wrote anything. */
static void an_interrupted_line_is_written(void **state)
{
    char page[4096] = {0};
    struct cal__line line = {.length = 0};
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    const struct itimerval soon = {.it_value = {.tv_usec = 50000}};
    assert_int_equal(pipe(full_pipe), 0);
    fcntl(full_pipe[1], F_SETFL, O_NONBLOCK);
    while (write(full_pipe[1], page, sizeof page) > 0) {}
    fcntl(full_pipe[1], F_SETFL, 0);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    /* The signal is for the thread that writes. */
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, empty_pipe, NULL), 0);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    cal__line_string(&line, "it takes its time");
    cal__line_write(&line, full_pipe[1]);
    void *got;
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_int_equal(alarms, 1);
    assert_int_equal((uintptr_t)got, strlen("it takes its time\n"));
    assert_memory_equal(last, "it takes its time\n", (uintptr_t)got);
    close(full_pipe[0]);
    close(full_pipe[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_formatted),
        cmocka_unit_test(foreign_text_is_harmless),
        cmocka_unit_test(what_does_not_fit_is_cut),
        cmocka_unit_test(errors_are_ignored),
        cmocka_unit_test(an_interrupted_line_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
