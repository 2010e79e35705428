/* Whether memory is zero: each length, and each byte that is not. */
#include <hardened.h>
#include <zeros.h>

#include "support.h"

enum { LONGEST = 2100, ALIGNMENT = 16 };

static _Alignas(ALIGNMENT) unsigned char bytes[LONGEST + 2 * ALIGNMENT];

/* What is beside it is not zero and does not matter. */
static void check_length(size_t length)
{
    unsigned char *start = bytes + ALIGNMENT;
    memset(bytes, 0xff, sizeof bytes);
    memset(start, 0, length);
    assert_true(cal__zeros_all(start, length));
    assert_int_equal(cal__zeros_length(start, length), length);
    for (size_t i = 0; i < length; i++) {
        start[i] = 1;
        if (cal__zeros_all(start, length) || cal__zeros_length(start, length) != i)
            fail_msg("byte %zu of %zu", i, length);
        start[i] = 0;
    }
}

static void check_all(void)
{
    for (size_t length = 0; length <= 130; length++)
        check_length(length);
    for (size_t length = 144; length <= LONGEST; length += length < 1200 ? ALIGNMENT : 128)
        check_length(length);
}

static void by_small_vectors(void **state)
{
    (void)state;
    cal__hardened.wide_vectors = false;
    check_all();
}

static void by_wide_vectors(void **state)
{
    (void)state;
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2")) {
        print_message("skipped: this processor has no AVX2\n");
        skip();
    }
    cal__hardened.wide_vectors = true;
    check_all();
#else
    print_message("skipped: there are none on this processor\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_small_vectors),
        cmocka_unit_test(by_wide_vectors),
    };
    return cmocka_run_group_tests_name("secure, zeros", tests, NULL, NULL);
}
