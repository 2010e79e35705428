/* What the unit tests share: the malloc family under the name it has in this build, random numbers,
 * patterns that show whose bytes a block holds, and deaths that are expected.
 *
 * A cmocka assertion leaves the test by longjmp, which only the test's own thread may do: code that
 * runs in other threads or in children uses require(). */
#ifndef CAL_TEST_SUPPORT_H
#define CAL_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <calloc/calloc.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

/* Named before family.h may rename the functions, and with them the tags. */
typedef struct mallinfo2 test_mallinfo2;
typedef struct mallinfo test_mallinfo;

#include "family.h"

#ifdef CAL_FAMILY_PREFIX
test_mallinfo2 mallinfo2(void);
test_mallinfo mallinfo(void);
int mallopt(int parameter, int value);
int malloc_trim(size_t pad);
void malloc_stats(void);
int malloc_info(int options, FILE *stream);
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define TEST_SANITIZED 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
        __has_feature(memory_sanitizer)
#        define TEST_SANITIZED 1
#    endif
#endif
#ifndef TEST_SANITIZED
#    define TEST_SANITIZED 0
#endif

/* True in the tests that an add-on with the role slots is bound to: blocks have room behind them, as where
 * a tool is told of them, and large ones also have it before them. */
#ifdef SLOTS_ADDON_BOUND
#    define TEST_SLOTS 1
#else
#    define TEST_SLOTS 0
#endif

/* Prints the condition and aborts when it does not hold. For any thread and any process. */
#define require(condition) ((condition) ? (void)0 : test_failed(#condition, __FILE__, __LINE__))
_Noreturn void test_failed(const char *condition, const char *file, int line);

/* True where every step costs ten times and more: loops that only repeat are shortened. */
bool test_is_slow(void);
/* Page faults of the process so far; where tests are slow a tool has some of its own. */
long faults(void);
/* Whether the kernel knows MADV_POPULATE_WRITE (Linux 5.14). */
bool can_populate(void);
/* COUNT, or a twentieth of it where tests are slow. */
size_t test_repeat(size_t count);

/* Hides from the compiler where a pointer comes from, so that it neither warns of what a test does
 * to it on purpose nor draws conclusions. */
void *opaque(void *pointer);

/* Numbers of xorshift64*, the same in every run. */
struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);
/* 0 to limit - 1. */
size_t random_below(struct random *random, size_t limit);
/* Sizes of 1 to 2^bits bytes, every doubling as often as every other. */
size_t random_size(struct random *random, unsigned bits);

/* Fills a block with bytes that depend on SEED and position; the check answers false on the first
 * byte that differs. */
void fill(void *block, size_t size, uint64_t seed);
bool is_filled(const void *block, size_t size, uint64_t seed);
bool is_zero(const void *block, size_t size);

struct cal_statistics statistics(void);

/* True when the library tells memcheck about blocks: it then adds a redzone to every request. The
 * first call allocates. */
bool test_is_annotated(void);
/* What malloc_usable_size() and the statistics say of a request of SIZE bytes, up to the largest
 * slab block. */
size_t usable_for(size_t size);
size_t charged_for(size_t size);
/* A request that a block by itself of SIZE bytes serves exactly, redzone included; without one and without
 * the role slots it is 16 bytes less than it could be. */
size_t request_for(size_t size);

/* Runs FUNCTION in a child, which must end by abort() with exactly "libcalloc: WHAT of 0x...\n" on
 * standard error, the address being the one it gave to blame() last. */
void assert_dies_with(const char *what, void (*function)(void));
/* The pointer that the message must name; opaque. */
void *blame(void *pointer);

/* Runs FUNCTION in a child, which must return from it; what the child wrote to standard error is
 * stored in TEXT, ended with '\0'. */
void run_in_child(void (*function)(void), char *text, size_t size);

/* Zeroed memory that children write for their parent. */
void *test_shared_memory(size_t size);
void test_unshare_memory(void *memory, size_t size);

void start_thread(pthread_t *thread, void *(*function)(void *argument), void *argument);
void *join_thread(pthread_t thread);
/* Lets libc allocate now what it will need for COUNT threads at a time, at most 64. */
void warm_up_threads(size_t count);

#endif
