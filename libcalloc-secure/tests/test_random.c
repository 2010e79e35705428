/* Streams: what they give, what they leave behind, and that no two are alike. Bounds of statistical
 * tests are six and more standard deviations away. */
#include "support.h"

#include "random.h"

static void a_zeroed_stream_is_filled_when_it_is_used(void **state)
{
    struct cal__random random = {.left = 0};
    uint64_t first = cal__random_64(&random);
    uint64_t second = cal__random_64(&random);
    assert_int_not_equal(first, second);
    assert_int_equal(random.left, CAL_RANDOM_SPAN - 16);
    assert_int_not_equal(random.generation, 0);
}

static void streams_differ(void **state)
{
    struct cal__random a = {.left = 0}, b = {.left = 0};
    for (int i = 0; i < 100; i++)
        assert_int_not_equal(cal__random_64(&a), cal__random_64(&b));
}

static bool holds(const struct cal__random *random, uint64_t word)
{
    for (size_t i = 0; i + sizeof word <= sizeof random->bytes; i++)
        if (memcmp(random->bytes + i, &word, sizeof word) == 0)
            return true;
    return false;
}

static void what_was_handed_out_is_erased(void **state)
{
    struct cal__random random = {.left = 0};
    uint64_t words[CAL_RANDOM_SPAN / 8];
    for (size_t i = 0; i < CAL_RANDOM_SPAN / 8; i++) {
        /* The only place is the one that is drawn next. */
        if (i != 0) {
            uint64_t next;
            memcpy(&next, random.bytes + CAL_CHACHA_KEY + random.left - 8, 8);
            words[i] = cal__random_64(&random);
            assert_int_equal(words[i], next);
        } else {
            words[i] = cal__random_64(&random);
        }
        for (size_t j = 0; j <= i; j++)
            assert_false(holds(&random, words[j]));
    }
    assert_int_equal(random.left, 0);
}

static void the_key_is_replaced_at_each_refill(void **state)
{
    struct cal__random random = {.left = 0};
    unsigned char before[CAL_CHACHA_KEY], right[CAL_CHACHA_OUTPUT];
    const unsigned char no_nonce[CAL_CHACHA_NONCE] = {0};
    cal__random_refill(&random);
    memcpy(before, random.bytes, sizeof before);
    cal__chacha(before, 0, no_nonce, CAL_RANDOM_ROUNDS, right);
    cal__random_refill(&random);
    assert_memory_equal(random.bytes, right, sizeof right);
    assert_memory_not_equal(random.bytes, before, sizeof before);
    /* And the key is no part of what is handed out. */
    unsigned char drawn[CAL_RANDOM_SPAN];
    cal__random_bytes(&random, drawn, sizeof drawn);
    assert_memory_equal(random.bytes, right, CAL_CHACHA_KEY);
}

static void numbers_too_long_for_the_rest_do_not_cross_it(void **state)
{
    struct cal__random random = {.left = 0};
    cal__random_16(&random);
    for (size_t i = 0; i < 27; i++)
        cal__random_64(&random);
    assert_int_equal(random.left, CAL_RANDOM_SPAN - 2 - 27 * 8);
    unsigned char key[CAL_CHACHA_KEY];
    memcpy(key, random.bytes, sizeof key);
    cal__random_64(&random);
    assert_int_equal(random.left, CAL_RANDOM_SPAN - 8);
    assert_memory_not_equal(random.bytes, key, sizeof key);
}

static void bytes_of_every_length(void **state)
{
    struct cal__random random = {.left = 0};
    for (size_t size = 0; size <= 600; size += size < 20 ? 1 : 97) {
        unsigned char bytes[2][640];
        memset(bytes, 0xee, sizeof bytes);
        cal__random_bytes(&random, bytes[0] + 8, size);
        cal__random_bytes(&random, bytes[1] + 8, size);
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(bytes[0][i], 0xee);
        for (size_t i = 8 + size; i < sizeof bytes[0]; i++)
            assert_int_equal(bytes[0][i], 0xee);
        if (size >= 8)
            assert_memory_not_equal(bytes[0] + 8, bytes[1] + 8, size);
        /* The last bytes are drawn, too: 16 equal pairs in a row are no chance. */
        if (size >= 3) {
            bool same = true;
            for (int i = 0; i < 16 && same; i++) {
                cal__random_bytes(&random, bytes[1] + 8, size);
                same = bytes[1][8 + size - 1] == bytes[0][8 + size - 1];
            }
            assert_false(same);
        }
    }
}

/* Chi-square of COUNT draws below LIMIT, which has LIMIT - 1 degrees of freedom. */
static double chi_square(uint32_t (*draw)(struct cal__random *, uint32_t), uint32_t limit,
                         size_t count)
{
    static size_t seen[4096];
    struct cal__random random = {.left = 0};
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < count; i++) {
        uint32_t value = draw(&random, limit);
        require(value < limit);
        seen[value]++;
    }
    double expected = (double)count / limit, sum = 0;
    for (uint32_t i = 0; i < limit; i++)
        sum += ((double)seen[i] - expected) * ((double)seen[i] - expected) / expected;
    return sum;
}

static uint32_t draw_below(struct cal__random *random, uint32_t limit)
{
    return cal__random_below(random, limit);
}

static uint32_t draw_below_small(struct cal__random *random, uint32_t limit)
{
    return cal__random_below_small(random, limit);
}

static void numbers_below_a_limit_are_uniform(void **state)
{
    static const uint32_t limits[] = {2, 3, 7, 10, 64, 100, 1000, 4095};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        double freedom = limits[i] - 1;
        /* Mean FREEDOM, variance twice that. */
        double bound = freedom + freedom / 4 + 60;
        assert_true(chi_square(draw_below, limits[i], 40000) < bound);
        assert_true(chi_square(draw_below_small, limits[i], 40000) < bound);
    }
}

/* Without drawing again, the numbers that are multiples of three would come twice as often as the others
 * where the limit is two thirds of the range. */
static void large_limits_are_uniform(void **state)
{
    struct cal__random random = {.left = 0};
    enum { COUNT = 60000 };
    size_t multiples[2] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        uint32_t value = cal__random_below(&random, 2863311531);
        assert_true(value < 2863311531);
        multiples[0] += value % 2 == 0;
        value = cal__random_below_small(&random, 43691);
        assert_true(value < 43691);
        multiples[1] += value % 2 == 0;
    }
    /* Half of them, standard deviation 122; 40,000 if biased. */
    assert_in_range(multiples[0], COUNT / 2 - 1000, COUNT / 2 + 1000);
    assert_in_range(multiples[1], COUNT / 2 - 1000, COUNT / 2 + 1000);
}

static void limits_at_the_ends(void **state)
{
    struct cal__random random = {.left = 0};
    uint32_t highest = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(cal__random_below(&random, 0), 0);
        assert_int_equal(cal__random_below(&random, 1), 0);
        assert_int_equal(cal__random_below_small(&random, 0), 0);
        assert_int_equal(cal__random_below_small(&random, 1), 0);
        assert_true(cal__random_below(&random, UINT32_MAX) < UINT32_MAX);
        uint32_t value = cal__random_below_small(&random, 65536);
        assert_true(value < 65536);
        highest = value > highest ? value : highest;
    }
    assert_true(highest > 60000);
}

static void a_stream_that_ended_knows_nothing(void **state)
{
    static const struct cal__random none;
    struct cal__random random = {.left = 0};
    cal__random_64(&random);
    cal__random_end(&random);
    assert_memory_equal(&random, &none, sizeof random);
    uint64_t one = cal__random_64(&random);
    assert_int_not_equal(one, cal__random_64(&random));
}

static struct cal__random inherited;
static struct cal__random *shown;
static bool tell_streams;

static void draw_in_child(void)
{
    if (tell_streams)
        cal__random_forked();
    *shown = inherited;
    cal__random_64(shown);
}

/* The parent's next number, and the child's. */
static void fork_and_draw(uint64_t *parent, uint64_t *child)
{
    shown = shared_memory(sizeof *shown);
    assert_child_passes(draw_in_child);
    struct cal__random of_child = *shown;
    unshare_memory(shown, sizeof *shown);
    *child = cal__random_64(&of_child);
    struct cal__random of_parent = inherited;
    cal__random_64(&of_parent);
    *parent = cal__random_64(&of_parent);
}

static void a_child_has_other_numbers(void **state)
{
    uint64_t parent, child, sibling;
    cal__random_64(&inherited);
    tell_streams = false;
    fork_and_draw(&parent, &child);
    assert_int_equal(parent, child);
    tell_streams = true;
    fork_and_draw(&parent, &child);
    fork_and_draw(&parent, &sibling);
    assert_int_not_equal(parent, child);
    assert_int_not_equal(parent, sibling);
    assert_int_not_equal(child, sibling);
}

static void errno_is_preserved(void **state)
{
    struct cal__random random = {.left = 0};
    errno = 4711;
    cal__random_start();
    cal__random_64(&random);
    assert_int_equal(errno, 4711);
}

enum { THREADS = 8, DRAWS = 2000 };

static void *draw_many(void *argument)
{
    uint64_t *numbers = argument;
    for (size_t i = 0; i < DRAWS; i++) {
        struct cal__random random = {.left = 0};
        numbers[i] = cal__random_64(&random);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void threads_get_keys_of_their_own(void **state)
{
    static uint64_t numbers[THREADS * DRAWS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, draw_many, numbers + i * DRAWS), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    qsort(numbers, THREADS * DRAWS, sizeof *numbers, compare);
    for (size_t i = 1; i < THREADS * DRAWS; i++)
        assert_int_not_equal(numbers[i - 1], numbers[i]);
}

static void every_bit_is_as_often_one_as_zero(void **state)
{
    struct cal__random random = {.left = 0};
    enum { COUNT = 20000 };
    size_t ones[64] = {0}, same[64] = {0};
    uint64_t last = 0;
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t word = cal__random_64(&random);
        for (unsigned bit = 0; bit < 64; bit++) {
            ones[bit] += word >> bit & 1;
            same[bit] += ~(word ^ last) >> bit & 1;
        }
        last = word;
    }
    /* Standard deviation 71. */
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_in_range(ones[bit], COUNT / 2 - 560, COUNT / 2 + 560);
        assert_in_range(same[bit], COUNT / 2 - 560, COUNT / 2 + 560);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_stream_is_filled_when_it_is_used),
        cmocka_unit_test(streams_differ),
        cmocka_unit_test(what_was_handed_out_is_erased),
        cmocka_unit_test(the_key_is_replaced_at_each_refill),
        cmocka_unit_test(numbers_too_long_for_the_rest_do_not_cross_it),
        cmocka_unit_test(bytes_of_every_length),
        cmocka_unit_test(numbers_below_a_limit_are_uniform),
        cmocka_unit_test(large_limits_are_uniform),
        cmocka_unit_test(limits_at_the_ends),
        cmocka_unit_test(a_stream_that_ended_knows_nothing),
        cmocka_unit_test(a_child_has_other_numbers),
        cmocka_unit_test(errno_is_preserved),
        cmocka_unit_test(threads_get_keys_of_their_own),
        cmocka_unit_test(every_bit_is_as_often_one_as_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
