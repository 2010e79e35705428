/* What /proc says: of ourselves, of a child that is known, and of none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <common/process.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void own_process_is_read(void **state)
{
    struct process process;
    char own[PROCESS_PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    assert_true(length > 0);
    own[length] = '\0';
    assert_int_equal(process_read(getpid(), &process), 0);
    assert_int_equal(process.id, getpid());
    assert_true(process.is_readable);
    assert_false(process.is_kernel || process.is_ending || process.is_secure);
    assert_false(process.other_root || process.other_container);
    assert_string_equal(process.program, own);
    assert_true(llabs((long long)time(NULL) - (long long)process.started) < 3600);
    unsigned libc = 0, program = 0;
    struct piece file;
    bool deleted;
    for (size_t from = 0; process_next_file(&process, &from, &file, &deleted);) {
        assert_false(deleted);
        libc += piece_begins(piece_base(file), "libc.so.6");
        program += piece_is(file, own);
    }
    assert_int_equal(libc, 1);
    assert_int_equal(program, 1);
    process_free(&process);
}

/* A command with what would lead a reader of /proc/PID/stat astray. */
static void names_are_made_harmless(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_NAME, ") R 1\n\033");
        char byte = 'x';
        if (write(ends[1], &byte, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    struct process process;
    assert_int_equal(process_read(child, &process), 0);
    assert_string_equal(process.command, ") R 1??");
    assert_false(process.is_ending);
    process_free(&process);
    kill(child, SIGKILL);
    siginfo_t information;
    assert_int_equal(waitid(P_PID, (id_t)child, &information, WEXITED | WNOWAIT), 0);
    assert_int_equal(process_read(child, &process), 0);
    assert_true(process.is_ending);
    process_free(&process);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(process_read(child, &process), -ESRCH);
    process_free(&process);
    close(ends[0]);
    close(ends[1]);
}

static void variables_are_read(void **state)
{
    char *entries[] = {(char[]){"CALLOC_OPTIONS_NOT=1"}, (char[]){"CALLOC_OPTIONS=a=b"}, NULL};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execle("/bin/sh", "sh", "-c", "echo; kill -STOP $$", (char *)NULL, entries);
        _exit(1);
    }
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    struct text value = {.length = 0};
    assert_true(process_variable(child, "CALLOC_OPTIONS", &value));
    assert_string_equal(text_get(&value), "a=b");
    assert_false(process_variable(child, "CALLOC", &value));
    assert_string_equal(text_get(&value), "");
    text_free(&value);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
}

static void see(pid_t id, void *data)
{
    pid_t *last = data;
    assert_true(id > *last);
    *last = id;
}

static void all_are_visited_in_order(void **state)
{
    pid_t last = 0;
    assert_int_equal(process_each(see, &last), 0);
    assert_true(last >= getpid());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_process_is_read),
        cmocka_unit_test(names_are_made_harmless),
        cmocka_unit_test(variables_are_read),
        cmocka_unit_test(all_are_visited_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
