/* What the tests share: children that end in an expected way, and the filter of a program that does
 * no more than these tests.
 *
 * A cmocka assertion leaves the test by longjmp, which only the test's own thread may do: code that
 * runs in other threads or in children uses require(). */
#ifndef CAL_SANDBOX_TEST_SUPPORT_H
#define CAL_SANDBOX_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <calloc/sandbox.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

/* Prints the condition and aborts when it does not hold. For any thread and any process. */
#define require(condition) ((condition) ? (void)0 : test_failed(#condition, __FILE__, __LINE__))
_Noreturn void test_failed(const char *condition, const char *file, int line);

/* Runs FUNCTION in a child: its exit status, or minus the signal that ended it. A child that hangs is
 * ended by SIGALRM. */
int status_of(void (*function)(void));
/* The same for a program, whose environment gets VARIABLE, unless it is NULL. */
int status_of_program(char *const arguments[], char *variable);

/* One write and nothing else, which a filter lets pass that lets write. */
void say(const char *text);
/* Waits without a system call. */
void wait_until(_Atomic int *value, int wanted);

/* Allows what these tests need besides the allocator's calls: writing, reading at a place, signal
 * masks, the end of threads and of the process. */
bool allow_own(scmp_filter_ctx filter);
/* Loads a filter for the calling thread that answers CALL with ERROR where its first argument is FIRST,
 * or ANY. no_new_privs is set only in a process without CAP_SYS_ADMIN. */
enum { ANY = -1 };
bool answer(int call, int first, int error);

/* The filter as the kernel would get it: its length in bytes, or a negative errno. */
enum { PROGRAM_MAX = 32768 };
long program_of(scmp_filter_ctx filter, char program[PROGRAM_MAX]);

/* The number in the line NAME of /proc/self/task/THREAD/status. */
long status_number(pid_t thread, const char *name);

#endif
