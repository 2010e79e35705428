/* Canaries: every byte of the slack is one, whatever its length and alignment, and nothing else is
 * touched. */
#include "support.h"

#include "canary.h"

enum { MARGIN = 64, ROOM = 4096 };

static struct cal__canary_key key;
static uint64_t word;
static _Alignas(16) unsigned char memory[MARGIN + ROOM + MARGIN];
static unsigned char *const block = memory + MARGIN;

static int make_key(void **state)
{
    struct cal__random random = {.left = 0};
    cal__canary_make_key(&key, &random);
    word = cal__canary_word(&key, 1);
    return 0;
}

/* What the bytes before and behind the slack are. */
static void prepare(void)
{
    for (size_t i = 0; i < sizeof memory; i++)
        memory[i] = (unsigned char)(i * 37 + 11);
}

static bool is_prepared(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (memory[i] != (unsigned char)(i * 37 + 11))
            return false;
    return true;
}

static void assert_slack(unsigned char *at, size_t requested, size_t capacity, size_t bound)
{
    size_t start = (size_t)(at - memory);
    prepare();
    cal__canary_write(word, at, requested, capacity, bound);
    assert_true(is_prepared(0, start + requested));
    assert_true(is_prepared(start + capacity, sizeof memory));
    assert_true(cal__canary_verify(word, at, requested, capacity, bound));
    assert_int_equal(cal__canary_damage(word, at, requested, capacity, bound), capacity);
    for (size_t i = 0; i < capacity - requested; i++) {
        size_t slack = capacity - requested;
        bool covered = slack <= 32 || bound >= slack - 32 || i < (bound & ~(size_t)7) || i < 8 ||
                       slack - i <= 32;
        if (!covered) {
            assert_true(is_prepared(start + requested + i, start + requested + i + 1));
            continue;
        }
        assert_int_equal(at[requested + i], word >> 8 * (i % 8) & 0xff);
        /* Each bit of it is looked at. */
        for (int bit = 0; bit < 8; bit++) {
            at[requested + i] ^= (unsigned char)(1 << bit);
            assert_false(cal__canary_verify(word, at, requested, capacity, bound));
            assert_int_equal(cal__canary_damage(word, at, requested, capacity, bound),
                             requested + i);
            at[requested + i] ^= (unsigned char)(1 << bit);
        }
    }
    assert_true(cal__canary_verify(word, at, requested, capacity, bound));
}

static void all_slack_is_covered(void **state)
{
    for (size_t capacity = 8; capacity <= 80; capacity++)
        for (size_t requested = 0; requested <= capacity; requested++)
            assert_slack(block, requested, capacity, SIZE_MAX);
}

static void no_alignment_is_needed(void **state)
{
    for (size_t offset = 1; offset < 16; offset++)
        for (size_t slack = 0; slack <= 40; slack++)
            assert_slack(block + offset, 41, 41 + slack, SIZE_MAX);
}

static void long_slack_is_covered_at_both_ends(void **state)
{
    static const size_t bounds[] = {0, 1, 8, 15, 16, 64, 100, 101, 128, 1024};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        for (size_t slack = 15; slack <= 150; slack++)
            assert_slack(block, 48, 48 + slack, bounds[i]);
        assert_slack(block, 1000, ROOM, bounds[i]);
        assert_slack(block, 1001, ROOM, bounds[i]);
    }
}

static void damage_in_what_is_not_covered_is_not_seen(void **state)
{
    prepare();
    cal__canary_write(word, block, 100, 1000, 64);
    block[100 + 64] ^= 1;
    block[1000 - 33] ^= 1;
    assert_true(cal__canary_verify(word, block, 100, 1000, 64));
    assert_int_equal(cal__canary_damage(word, block, 100, 1000, 64), 1000);
    block[1000 - 32] ^= 1;
    assert_false(cal__canary_verify(word, block, 100, 1000, 64));
    assert_int_equal(cal__canary_damage(word, block, 100, 1000, 64), 968);
}

static void what_the_block_holds_does_not_matter(void **state)
{
    for (size_t slack = 1; slack <= 30; slack++) {
        cal__canary_write(word, block, 64 - slack + slack / 2, 64, SIZE_MAX);
        memset(block, 0, 64 - slack + slack / 2);
        assert_true(cal__canary_verify(word, block, 64 - slack + slack / 2, 64, SIZE_MAX));
        memset(block, 0xff, 64 - slack + slack / 2);
        assert_true(cal__canary_verify(word, block, 64 - slack + slack / 2, 64, SIZE_MAX));
    }
}

/* A string that is a byte too long writes its final zero there, a longer one a letter. */
static void the_first_byte_is_neither_zero_nor_ascii(void **state)
{
    struct cal__canary_key zeros = {0, 0};
    assert_int_equal(cal__canary_word(&zeros, 0), 0x80);
    size_t seen[256] = {0};
    for (size_t i = 0; i < 65536; i++)
        seen[cal__canary_word(&key, i) & 0xff]++;
    for (size_t value = 0; value < 128; value++)
        assert_int_equal(seen[value], 0);
    /* 512 each, if all bits of the sum come up: over numbers in a row they do. */
    for (size_t value = 128; value < 256; value++)
        assert_in_range(seen[value], 100, 1200);
    for (size_t slack = 1; slack < 40; slack++) {
        memset(block, 'x', 64);
        cal__canary_write(word, block, 64 - slack, 64, SIZE_MAX);
        strcpy((char *)block + 60 - slack, "four");
        assert_false(cal__canary_verify(word, block, 64 - slack, 64, SIZE_MAX));
        assert_int_equal(cal__canary_damage(word, block, 64 - slack, 64, SIZE_MAX), 64 - slack);
    }
}

/* A string that is not ended shows one byte. */
static void the_second_byte_is_zero(void **state)
{
    for (size_t slack = 2; slack < 40; slack++) {
        memset(block, 'x', 64);
        cal__canary_write(word, block, 64 - slack, 64, SIZE_MAX);
        assert_int_equal(strnlen((char *)block, 64), 64 - slack + 1);
    }
}

static void canaries_depend_on_number_and_key(void **state)
{
    struct cal__random random = {.left = 0};
    struct cal__canary_key other;
    cal__canary_make_key(&other, &random);
    assert_memory_not_equal(&other, &key, sizeof key);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_not_equal(cal__canary_word(&key, i), cal__canary_word(&other, i));
        assert_int_not_equal(cal__canary_word(&key, i), cal__canary_word(&key, i + 1));
        assert_int_equal(cal__canary_word(&key, i + 1),
                         cal__canary_of_sum(cal__canary_sum(&key, i) + key.multiplier));
    }
    /* Each part of the key counts, but for the bits of the bytes that are fixed. */
    uint64_t parts[2], before = cal__canary_word(&key, 4711);
    memcpy(parts, &key, sizeof parts);
    for (size_t i = 0; i < 2; i++) {
        unsigned changed = 0;
        for (int bit = 0; bit < 64; bit++) {
            parts[i] ^= UINT64_C(1) << bit;
            memcpy(&other, parts, sizeof other);
            changed += cal__canary_word(&other, 4711) != before;
            parts[i] ^= UINT64_C(1) << bit;
        }
        assert_true(changed >= 55);
    }
}

/* With keys at random, the difference between the canaries of two numbers takes no value more often
 * than any other in the bytes that are independent, which is what pairwise independence comes to. */
static void assert_independent(uint64_t one, uint64_t another)
{
    struct cal__random random = {.left = 0};
    struct cal__canary_key fresh;
    static size_t seen[256];
    for (int byte = 2; byte < 8; byte++) {
        memset(seen, 0, sizeof seen);
        for (size_t i = 0; i < 25600; i++) {
            cal__canary_make_key(&fresh, &random);
            uint64_t difference = cal__canary_word(&fresh, one) ^ cal__canary_word(&fresh, another);
            seen[difference >> 8 * byte & 0xff]++;
        }
        /* 100 each, standard deviation 10. */
        for (size_t value = 0; value < 256; value++)
            assert_in_range(seen[value], 30, 190);
    }
}

static void one_canary_tells_nothing_of_another(void **state)
{
    assert_independent(7, 8);
    assert_independent(0, 4095);
    assert_independent(1, 32769);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_slack_is_covered),
        cmocka_unit_test(no_alignment_is_needed),
        cmocka_unit_test(long_slack_is_covered_at_both_ends),
        cmocka_unit_test(damage_in_what_is_not_covered_is_not_seen),
        cmocka_unit_test(what_the_block_holds_does_not_matter),
        cmocka_unit_test(the_first_byte_is_neither_zero_nor_ascii),
        cmocka_unit_test(the_second_byte_is_zero),
        cmocka_unit_test(canaries_depend_on_number_and_key),
        cmocka_unit_test(one_canary_tells_nothing_of_another),
    };
    return cmocka_run_group_tests(tests, make_key, NULL);
}
