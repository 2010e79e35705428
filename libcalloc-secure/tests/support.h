/* What the tests share: children that end in an expected way, and system calls that are refused.
 *
 * A cmocka assertion leaves the test by longjmp, which only the test's own thread may do: code that
 * runs in other threads or in children uses require(). */
#ifndef CAL_SECURE_TEST_SUPPORT_H
#define CAL_SECURE_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

/* Ends the test as one that could not be run here. */
#define skip_because(reason)                      \
    do {                                          \
        print_message("skipped: %s\n", (reason)); \
        skip();                                   \
    } while (0)

/* Prints the condition and aborts when it does not hold. For any thread and any process. */
#define require(condition) ((condition) ? (void)0 : test_failed(#condition, __FILE__, __LINE__))
_Noreturn void test_failed(const char *condition, const char *file, int line);

/* Runs FUNCTION in a child. What the child wrote to standard error is stored in TEXT, ended with '\0'. Its
 * exit status, or minus the signal that ended it. A child that hangs is ended by SIGALRM. */
int watch_child(void (*function)(void), char *text, size_t size);
/* The same; what it wrote is printed where the status is not the expected one, and asserted to be
 * nothing otherwise. */
void assert_child_passes(void (*function)(void));
void assert_child_dies(void (*function)(void), int signal);

/* Zeroed memory that children write for their parent. */
void *shared_memory(size_t size);
void unshare_memory(void *memory, size_t size);

/* From now on every getrandom(2) of the process is answered with ERROR, or, with COUNT_ONLY, trapped
 * and given 32 bytes 0x55. False where that cannot be done. trapped() tells how many there were. */
enum { COUNT_ONLY = 0 };
bool answer_getrandom(int error);
unsigned trapped(void);

/* Lines of /proc/self/maps. */
size_t mappings(void);
/* How many there may be, vm.max_map_count; 0: that cannot be read. */
size_t max_map_count(void);

#endif
