/* Tests of the assembled library, each in a process of its own: the settings of a process are those that
 * it was started with, and many of these tests end theirs. The test program starts itself again for each
 * case; there is no cmocka in the new process, so cases use require().
 *
 * A case says on standard output, by expect(), what is to be on standard error. */
#ifndef CAL_SECURE_TEST_CASES_H
#define CAL_SECURE_TEST_CASES_H

#include "support.h"

#include <calloc/calloc.h>
#include <calloc/hooks.h>
#include <calloc/secure.h>
#include <malloc.h>
#include <signal.h>

#include "family.h"

struct test_case {
    const char *name;
    const char *options; /* CALLOC_OPTIONS */
    void (*function)(void);
    int ending;  /* exit status, or minus the signal */
    bool silent; /* nothing is to be on standard error, whatever the case expects */
    int refused; /* the error that getrandom(2) answers, or 0 */
};

/* To be called by main() and returned by it. */
int run_cases(int count, char **arguments, const struct test_case *cases, size_t length);

/* A line that is to come on standard error. Where an error was found, which is said behind it, is left out of what
 * is compared, and so is not to be expected; what was found by a call of the program has to say so. */
__attribute__((format(printf, 1, 2))) void expect(const char *format, ...);
/* The usual end of a line about BLOCK of which REQUESTED bytes were asked for (SIZE_MAX: not said), and which is wrong
 * DAMAGE bytes behind its start (SIZE_MAX: not said; -2, -3 and so on: before it). */
void expect_of(const char *what, const void *block, size_t damage, size_t requested);

struct cal_secure_state state_now(void);

/* Hides from the compiler where a pointer comes from. */
void *opaque(void *pointer);
/* The slab of a block that lives or is kept. */
const struct cal_slab *slab_of(const void *block);
size_t room_of(const void *block);
/* The block below and the one above are in use too, and all are of SIZE bytes. */
unsigned char *block_between(size_t size, unsigned char **below, unsigned char **above);

void fill(void *block, size_t size, unsigned seed);
bool is_filled(const void *block, size_t size, unsigned seed);
bool is_zero(const void *block, size_t size);
/* xorshift64*. */
uint64_t next_number(uint64_t *state);
/* COUNT, or a twentieth of it where every step costs ten times and more. */
size_t repeated(size_t count);

#endif
