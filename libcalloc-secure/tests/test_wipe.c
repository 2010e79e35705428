/* Wiping that the optimiser cannot take out. A function puts a secret on its stack, wipes it in some way
 * and returns; the stack, which is that of a context made for it, is searched afterwards. The way that is
 * memset() shows that the test finds a secret which was left behind. */
#include "support.h"

#include <ucontext.h>

#include <calloc/secure.h>

#include "wipe.h"

enum { SECRET = 64, STACK = 65536 };

static char stack[STACK] __attribute__((aligned(4096)));
static ucontext_t here, there;
static unsigned char secret[SECRET];

/* Uses the bytes, so that they have to be in memory, and shows them to nobody. */
static void fill(unsigned char *bytes)
{
    memcpy(bytes, secret, SECRET);
    __asm__ volatile("" : : "r"(bytes) : "memory");
}

static void by_memset(void)
{
    unsigned char bytes[SECRET];
    fill(bytes);
    memset(bytes, 0, sizeof bytes);
}

static void inlined(void)
{
    unsigned char bytes[SECRET];
    fill(bytes);
    cal__wipe(bytes, sizeof bytes);
}

static void exported(void)
{
    unsigned char bytes[SECRET];
    fill(bytes);
    cal_secure_wipe(bytes, sizeof bytes);
}

static void the_first_half(void)
{
    unsigned char bytes[SECRET];
    fill(bytes);
    cal_secure_wipe(bytes, sizeof bytes / 2);
    __asm__ volatile("" : : "r"(bytes) : "memory");
}

/* Bytes of the secret that are left, wherever they begin. */
static size_t left_after(void (*function)(void))
{
    memset(stack, 0, sizeof stack);
    /* No byte of it is likely to be anywhere else. */
    for (size_t i = 0; i < SECRET; i++)
        secret[i] = (unsigned char)(0x80 + i);
    require(getcontext(&there) == 0);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof stack;
    there.uc_link = &here;
    makecontext(&there, function, 0);
    require(swapcontext(&here, &there) == 0);
    size_t most = 0;
    for (size_t i = 0; i + SECRET <= sizeof stack; i++) {
        size_t same = 0;
        for (size_t j = 0; j < SECRET; j++)
            same += (unsigned char)stack[i + j] == secret[j];
        most = same > most ? same : most;
    }
    return most;
}

static void what_the_optimiser_takes_out_is_found(void **state)
{
#ifndef __OPTIMIZE__
    skip_because("nothing is taken out without optimisation");
#endif
    assert_int_equal(left_after(by_memset), SECRET);
}

static void nothing_is_left(void **state)
{
    /* At the first call of a function the dynamic linker saves all registers on the stack, and what the
     * compiler has in them of the secret. */
    cal_secure_wipe(NULL, 0);
    assert_true(left_after(inlined) < 4);
    assert_true(left_after(exported) < 4);
}

static void lengths_are_exact(void **state)
{
    assert_in_range(left_after(the_first_half), SECRET / 2, SECRET / 2 + 3);
    unsigned char bytes[300];
    for (size_t size = 0; size <= 200; size++) {
        for (size_t offset = 1; offset < 20; offset += 6) {
            memset(bytes, 0xee, sizeof bytes);
            errno = 4711;
            cal_secure_wipe(bytes + offset, size);
            assert_int_equal(errno, 4711);
            for (size_t i = 0; i < sizeof bytes; i++)
                assert_int_equal(bytes[i], i >= offset && i < offset + size ? 0 : 0xee);
        }
    }
    cal_secure_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_optimiser_takes_out_is_found),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(lengths_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
