/* Canaries and zeros of short blocks by vectors: as the functions for any length have them, for each length. */
#include <hardened.h>
#include <overlap.h>
#include <zeros.h>

#include "support.h"

enum { LONGEST = 1024, ALIGNMENT = 16, BESIDE = 64 };

static _Alignas(64) unsigned char memory[BESIDE + LONGEST + BESIDE];
static unsigned char *const block = memory + BESIDE;
static struct cal__canary_key key;

/* What is beside it must not matter, nor change. */
static void surround(size_t room)
{
    memset(memory, 0xa5, sizeof memory);
    memset(block, 0, room);
}

static void assert_surrounded(size_t room)
{
    for (size_t i = 0; i < BESIDE; i++)
        if (memory[i] != 0xa5 || block[room + i] != 0xa5)
            fail_msg("byte %zu beside %zu was changed", i, room);
}

static void assert_canary(size_t room, size_t length)
{
    uint64_t word = cal__canary_word(&key, room + length);
    size_t requested = room - length;
    surround(room);
    cal__overlap_write(word, (char *)block, room, length);
    assert_surrounded(room);
    assert_int_equal(cal__canary_damage(word, block, requested, room, VECTOR), room);
    assert_true(cal__zeros_all(block, requested & ~(size_t)(ALIGNMENT - 1)));
    /* What the program holds does not matter. */
    memset(block, 0x5a, requested);
    if (!cal__overlap_verify(word, (char *)block, room, length))
        fail_msg("%zu of %zu", length, room);
    for (size_t i = 0; i < room; i++) {
        block[i] ^= 1;
        if (cal__overlap_verify(word, (char *)block, room, length) !=
            cal__canary_verify(word, block, requested, room, VECTOR))
            fail_msg("byte %zu, slack %zu of %zu", i, length, room);
        block[i] ^= 1;
    }
    /* Nor what is beside it. */
    memset(memory, 0x5a, BESIDE);
    memset(block + room, 0x5a, BESIDE);
    if (!cal__overlap_verify(word, (char *)block, room, length))
        fail_msg("%zu of %zu, with other neighbours", length, room);
}

static void canaries_are_those_of_any_length(void **state)
{
    (void)state;
    static const uint64_t secret[2] = {0x123456789abcdef1, 0xfedcba9876543210};
    key = (struct cal__canary_key){secret[0], secret[1]};
    for (size_t room = ALIGNMENT; room <= LONGEST; room += room < 320 ? ALIGNMENT : 64)
        for (size_t length = CAL_CANARY_WORD; length <= room; length += length < 100 ? 1 : 13)
            assert_canary(room, length);
}

static void each_byte_that_is_not_zero_is_seen(void **state)
{
    (void)state;
    for (size_t size = ALIGNMENT; size <= LONGEST; size += ALIGNMENT) {
        surround(size);
        assert_true(cal__overlap_are_zeros(block, size));
        for (size_t i = 0; i < size; i++) {
            block[i] = 0x80;
            if (cal__overlap_are_zeros(block, size))
                fail_msg("byte %zu of %zu", i, size);
            block[i] = 0;
        }
    }
}

static void all_is_made_zero_and_nothing_else(void **state)
{
    (void)state;
    for (size_t size = ALIGNMENT; size <= LONGEST; size += ALIGNMENT) {
        surround(size);
        memset(block, 0x77, size);
        cal__overlap_clear(block, size);
        assert_true(cal__zeros_all(block, size));
        assert_surrounded(size);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(canaries_are_those_of_any_length),
        cmocka_unit_test(each_byte_that_is_not_zero_is_seen),
        cmocka_unit_test(all_is_made_zero_and_nothing_else),
    };
#ifdef __AVX2__
    if (!__builtin_cpu_supports("avx2")) {
        printf("skipped: this processor has no AVX2\n");
        return 77;
    }
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
