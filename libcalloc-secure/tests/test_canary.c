/* Canaries: every byte of the slack is one, whatever its length and alignment, and nothing else is
 * touched; and the requested size, kept as the length of the slack. */
#include "support.h"

#include "canary.h"

enum { MARGIN = 64, ROOM = 4096 };

static struct cal__canary_key key;
static _Alignas(16) unsigned char memory[MARGIN + ROOM + MARGIN];
static unsigned char *const block = memory + MARGIN;

static int make_key(void **state)
{
    struct cal__random random = {.left = 0};
    cal__canary_make_key(&key, &random);
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
    cal__canary_write(&key, at, requested, capacity, bound);
    assert_true(is_prepared(0, start + requested));
    assert_true(is_prepared(start + capacity, sizeof memory));
    assert_true(cal__canary_verify(&key, at, requested, capacity, bound));
    assert_int_equal(cal__canary_damage(&key, at, requested, capacity, bound), capacity);
    uint64_t word = cal__canary_word(&key, at);
    for (size_t i = 0; i < capacity - requested; i++) {
        size_t slack = capacity - requested;
        bool covered = slack <= 16 || bound >= slack - 16 || i < (bound & ~(size_t)7) || i < 8 ||
                       slack - i <= 16;
        if (!covered) {
            assert_true(is_prepared(start + requested + i, start + requested + i + 1));
            continue;
        }
        assert_int_equal(at[requested + i], word >> 8 * (i % 8) & 0xff);
        /* Each bit of it is looked at. */
        for (int bit = 0; bit < 8; bit++) {
            at[requested + i] ^= (unsigned char)(1 << bit);
            assert_false(cal__canary_verify(&key, at, requested, capacity, bound));
            assert_int_equal(cal__canary_damage(&key, at, requested, capacity, bound),
                             requested + i);
            at[requested + i] ^= (unsigned char)(1 << bit);
        }
    }
    assert_true(cal__canary_verify(&key, at, requested, capacity, bound));
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
    cal__canary_write(&key, block, 100, 1000, 64);
    block[100 + 64] ^= 1;
    block[1000 - 17] ^= 1;
    assert_true(cal__canary_verify(&key, block, 100, 1000, 64));
    assert_int_equal(cal__canary_damage(&key, block, 100, 1000, 64), 1000);
    block[1000 - 16] ^= 1;
    assert_false(cal__canary_verify(&key, block, 100, 1000, 64));
    assert_int_equal(cal__canary_damage(&key, block, 100, 1000, 64), 984);
}

static void what_the_block_holds_does_not_matter(void **state)
{
    for (size_t slack = 1; slack <= 30; slack++) {
        cal__canary_write(&key, block, 64 - slack + slack / 2, 64, SIZE_MAX);
        memset(block, 0, 64 - slack + slack / 2);
        assert_true(cal__canary_verify(&key, block, 64 - slack + slack / 2, 64, SIZE_MAX));
        memset(block, 0xff, 64 - slack + slack / 2);
        assert_true(cal__canary_verify(&key, block, 64 - slack + slack / 2, 64, SIZE_MAX));
    }
}

/* A string that is a byte too long writes its final zero there. */
static void the_first_byte_is_never_zero(void **state)
{
    struct cal__canary_key zeros = {{0, 0}, {0, 0}};
    assert_int_equal(cal__canary_word(&zeros, block), 1);
    size_t seen[256] = {0};
    for (size_t i = 0; i < 100000; i++)
        seen[cal__canary_word(&key, (void *)(uintptr_t)(i * 16)) & 0xff]++;
    assert_int_equal(seen[0], 0);
    /* 391 each, standard deviation 20; 1 has the share of 0, too. Over addresses in a row the values are
     * even more regular. */
    for (size_t value = 1; value < 256; value++)
        assert_in_range(seen[value], 100, 1200);
    for (size_t slack = 1; slack < 40; slack++) {
        memset(block, 'x', 64);
        cal__canary_write(&key, block, 64 - slack, 64, SIZE_MAX);
        strcpy((char *)block + 60 - slack, "four");
        assert_false(cal__canary_verify(&key, block, 64 - slack, 64, SIZE_MAX));
        assert_int_equal(cal__canary_damage(&key, block, 64 - slack, 64, SIZE_MAX), 64 - slack);
    }
}

/* A string that is not ended shows one byte. */
static void the_second_byte_is_zero(void **state)
{
    for (size_t slack = 2; slack < 40; slack++) {
        memset(block, 'x', 64);
        cal__canary_write(&key, block, 64 - slack, 64, SIZE_MAX);
        assert_int_equal(strnlen((char *)block, 64), 64 - slack + 1);
    }
}

static void canaries_depend_on_address_and_key(void **state)
{
    struct cal__random random = {.left = 0};
    struct cal__canary_key other;
    cal__canary_make_key(&other, &random);
    assert_memory_not_equal(&other, &key, sizeof key);
    for (size_t i = 0; i < 1000; i++) {
        const void *address = block + 16 * i;
        uint64_t word = cal__canary_word(&key, address);
        assert_int_not_equal(word, cal__canary_word(&other, address));
        assert_int_not_equal(word, cal__canary_word(&key, block + 16 * (i + 1)));
    }
    /* Each part of the key counts; the lower half of the addend is there for its carry. */
    const void *address = (const void *)(uintptr_t)0x7f1234567890;
    uint64_t parts[4], word = cal__canary_word(&key, address);
    memcpy(parts, &key, sizeof parts);
    for (size_t i = 0; i < 4; i++) {
        unsigned changed = 0;
        for (int bit = 0; bit < 64; bit++) {
            parts[i] ^= UINT64_C(1) << bit;
            memcpy(&other, parts, sizeof other);
            changed += cal__canary_word(&other, address) != word;
            parts[i] ^= UINT64_C(1) << bit;
        }
        assert_true(changed >= (i == 2 ? 0 : 40));
    }
}

/* With keys at random, the difference between the canaries of two addresses takes no value more often
 * than any other, which is what pairwise independence comes to. */
static void one_canary_tells_nothing_of_another(void **state)
{
    struct cal__random random = {.left = 0};
    struct cal__canary_key fresh;
    static size_t seen[256];
    for (int byte = 2; byte < 8; byte++) {
        memset(seen, 0, sizeof seen);
        for (size_t i = 0; i < 25600; i++) {
            cal__canary_make_key(&fresh, &random);
            uint64_t difference =
                cal__canary_word(&fresh, block) ^ cal__canary_word(&fresh, block + 16);
            seen[difference >> 8 * byte & 0xff]++;
        }
        /* 100 each, standard deviation 10. */
        for (size_t value = 0; value < 256; value++)
            assert_in_range(seen[value], 30, 190);
    }
}

static void widths(void **state)
{
    assert_int_equal(cal__slack_width(16), 1);
    assert_int_equal(cal__slack_width(255), 1);
    assert_int_equal(cal__slack_width(256), 2);
    assert_int_equal(cal__slack_width(65535), 2);
    assert_int_equal(cal__slack_width(65536), 4);
    assert_int_equal(cal__slack_width(131072), 4);
}

static void every_requested_size_is_kept(void **state)
{
    static const size_t capacities[] = {16, 240, 255, 256, 1024, 65535, 65536, 131072};
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        size_t capacity = capacities[i];
        size_t width = cal__slack_width(capacity);
        unsigned char table[8 * 4 + 1];
        for (size_t requested = 0; requested <= capacity; requested++) {
            memset(table, 0xa5, sizeof table);
            cal__slack_set(table + 1, 2, capacity, requested);
            assert_int_equal(cal__slack_requested(table + 1, 2, capacity), requested);
            for (size_t j = 0; j < sizeof table; j++)
                if (j < 1 + 2 * width || j >= 1 + 3 * width)
                    assert_int_equal(table[j], 0xa5);
        }
    }
}

static void slots_do_not_share_bytes(void **state)
{
    static const size_t capacities[] = {48, 512, 131072};
    for (size_t i = 0; i < 3; i++) {
        unsigned char table[4 * 16];
        for (size_t slot = 0; slot < 16; slot++)
            cal__slack_set(table, slot, capacities[i], slot);
        for (size_t slot = 0; slot < 16; slot++)
            assert_int_equal(cal__slack_requested(table, slot, capacities[i]), slot);
    }
}

static void an_overwritten_table_is_noticed(void **state)
{
    unsigned char table[8];
    memset(table, 0xff, sizeof table);
    assert_true(cal__slack_requested(table, 0, 16) == SIZE_MAX);
    assert_true(cal__slack_requested(table, 0, 254) == SIZE_MAX);
    assert_true(cal__slack_requested(table, 0, 255) == 0);
    assert_true(cal__slack_requested(table, 0, 256) == SIZE_MAX);
    assert_true(cal__slack_requested(table, 0, 131072) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_slack_is_covered),
        cmocka_unit_test(no_alignment_is_needed),
        cmocka_unit_test(long_slack_is_covered_at_both_ends),
        cmocka_unit_test(damage_in_what_is_not_covered_is_not_seen),
        cmocka_unit_test(what_the_block_holds_does_not_matter),
        cmocka_unit_test(the_first_byte_is_never_zero),
        cmocka_unit_test(the_second_byte_is_zero),
        cmocka_unit_test(canaries_depend_on_address_and_key),
        cmocka_unit_test(one_canary_tells_nothing_of_another),
        cmocka_unit_test(widths),
        cmocka_unit_test(every_requested_size_is_kept),
        cmocka_unit_test(slots_do_not_share_bytes),
        cmocka_unit_test(an_overwritten_table_is_noticed),
    };
    return cmocka_run_group_tests(tests, make_key, NULL);
}
