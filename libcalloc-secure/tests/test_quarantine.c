/* The quarantine: nothing is lost or doubled, the bytes are exact, and the delay is what the two stages
 * say. */
#include "support.h"

#include "quarantine.h"

enum { PLACES = 4096, BLOCKS = 100000 };

static uint64_t entries[2 * PLACES];
static struct cal__random random_numbers;
static struct cal__quarantine quarantine;

static void *block_at(size_t number)
{
    return (void *)(uintptr_t)(0x7f0000000000 + number * 65536);
}

static size_t number_of(const void *block)
{
    return ((uintptr_t)block - 0x7f0000000000) / 65536;
}

static void initialize(uint32_t random, uint32_t queue, size_t limit)
{
    memset(entries, 0xee, sizeof entries);
    assert_true(random + queue <= 2 * PLACES);
    assert_int_equal(cal__quarantine_memory(random, queue), 8 * (random + queue));
    assert_true(cal__quarantine_initialize(&quarantine, entries, random, queue, limit));
}

static bool push(size_t number, size_t size)
{
    return cal__quarantine_push(&quarantine, &random_numbers, block_at(number), size);
}

static bool pop(struct cal__quarantined *out)
{
    return cal__quarantine_pop(&quarantine, &random_numbers, out);
}

static void malformed_ones_are_refused(void **state)
{
    struct cal__quarantine before = quarantine;
    assert_false(cal__quarantine_initialize(&quarantine, entries, 0, 16, 1000));
    assert_false(cal__quarantine_initialize(&quarantine, entries, 65537, 16, 1000));
    assert_false(cal__quarantine_initialize(&quarantine, entries, 16, 0, 1000));
    assert_false(cal__quarantine_initialize(&quarantine, entries, 16, 24, 1000));
    assert_false(cal__quarantine_initialize(&quarantine, entries, 16, 131072, 1000));
    assert_memory_equal(&before, &quarantine, sizeof before);
}

static void entries_come_back_as_they_were(void **state)
{
    static const size_t sizes[] = {16, 32, 4096, 131072, CAL_QUARANTINE_BLOCK_MAX};
    static const uintptr_t addresses[] = {16, 0x7ffffffffff0, 0xfffffffffff0, 0x5555deadbee0};
    initialize(4, 4, (size_t)1 << 40);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t j = 0; j < sizeof addresses / sizeof addresses[0]; j++) {
            struct cal__quarantined out;
            void *block = (void *)addresses[j];
            assert_true(cal__quarantine_push(&quarantine, &random_numbers, block, sizes[i]));
            assert_int_equal(quarantine.bytes, sizes[i]);
            assert_true(cal__quarantine_drain(&quarantine, &out));
            assert_ptr_equal(out.block, block);
            assert_int_equal(out.size, sizes[i]);
            assert_int_equal(quarantine.bytes, 0);
        }
    }
    assert_false(cal__quarantine_push(&quarantine, &random_numbers, block_at(1),
                                      CAL_QUARANTINE_BLOCK_MAX + 16));
}

static void what_is_too_large_is_not_taken(void **state)
{
    struct cal__quarantined out;
    initialize(4, 4, 8000);
    assert_false(push(1, 1008));
    assert_int_equal(quarantine.bytes, 0);
    assert_false(cal__quarantine_drain(&quarantine, &out));
    assert_true(push(1, 992));
    initialize(4, 4, 0);
    assert_false(push(1, 16));
}

/* A model beside it: where each block is, and its size. */
static uint32_t size_in[BLOCKS];
static bool was_pushed[BLOCKS], was_popped[BLOCKS];

static size_t took_out(const struct cal__quarantined *out)
{
    size_t number = number_of(out->block);
    require(number < BLOCKS && was_pushed[number] && !was_popped[number]);
    require(out->size == size_in[number]);
    was_popped[number] = true;
    return out->size;
}

static void nothing_is_lost(uint32_t random, uint32_t queue, size_t limit, size_t largest)
{
    struct cal__random sizes = {.left = 0};
    memset(was_pushed, 0, sizeof was_pushed);
    memset(was_popped, 0, sizeof was_popped);
    initialize(random, queue, limit);
    size_t bytes = 0, inside = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = 16 * (1 + cal__random_below(&sizes, (uint32_t)(largest / 16)));
        size_in[i] = (uint32_t)size;
        if (!push(i, size)) {
            require(size > limit / 8);
            continue;
        }
        require(size <= limit / 8);
        was_pushed[i] = true;
        bytes += size, inside++;
        require(quarantine.bytes == bytes);
        struct cal__quarantined out;
        while (pop(&out))
            bytes -= took_out(&out), inside--;
        require(quarantine.bytes == bytes && bytes <= limit);
        require(quarantine.queued < queue && quarantine.waiting <= random);
        require(quarantine.queued + quarantine.waiting == inside);
    }
    struct cal__quarantined out;
    while (cal__quarantine_drain(&quarantine, &out))
        bytes -= took_out(&out), inside--;
    assert_int_equal(bytes, 0);
    assert_int_equal(inside, 0);
    assert_int_equal(quarantine.bytes, 0);
    assert_memory_equal(was_pushed, was_popped, sizeof was_pushed);
    assert_false(pop(&out));
}

static void nothing_is_lost_whatever_is_the_limit(void **state)
{
    /* The bytes, the queue, and the bytes already of those that wait; largest above what is taken. */
    nothing_is_lost(64, 1024, 20000, 512);
    nothing_is_lost(64, 16, 1 << 30, 512);
    nothing_is_lost(1024, 64, 20000, 512);
    nothing_is_lost(1, 1, 20000, 512);
    nothing_is_lost(100, 256, 20000, 5000);
}

static void the_limit_is_used(void **state)
{
    struct cal__quarantined out;
    initialize(16, 1024, 16000);
    for (size_t i = 0; i < 5000; i++) {
        assert_true(push(i, 16));
        unsigned popped = 0;
        while (pop(&out))
            popped++;
        assert_int_equal(popped, i >= 1000);
    }
    assert_int_equal(quarantine.bytes, 16000);
}

static void a_full_queue_makes_room(void **state)
{
    struct cal__quarantined out;
    initialize(16, 64, 1 << 30);
    for (size_t i = 0; i < 1000; i++) {
        assert_true(push(i, 16));
        while (pop(&out)) {}
        assert_true(quarantine.queued < 64);
    }
    assert_int_equal(quarantine.bytes, 16 * (16 + 63));
}

/* The delay in pushes: as long as the queue at least, with a geometric distribution on top. */
static void the_delay_is_random(void **state)
{
    enum { RANDOM = 256, QUEUE = 512, MEASURED = 60000 };
    struct cal__quarantined out;
    initialize(RANDOM, QUEUE, 1 << 30);
    double sum = 0, squares = 0;
    size_t count = 0, shortest = SIZE_MAX, longest = 0, quick = 0;
    for (size_t i = 0; i < MEASURED + 5000; i++) {
        assert_true(push(i, 16));
        while (pop(&out)) {
            size_t number = number_of(out.block);
            size_t delay = i - number;
            if (number < RANDOM)
                continue;
            sum += (double)delay, squares += (double)delay * (double)delay, count++;
            shortest = delay < shortest ? delay : shortest;
            longest = delay > longest ? delay : longest;
            quick += delay - QUEUE < RANDOM / 2;
        }
    }
    double mean = sum / (double)count, variance = squares / (double)count - mean * mean;
    /* Geometric: mean 256, standard deviation 255.5, so 1.04 for the mean of 60,000, which depend on
     * each other only a little. Those that are still inside make it shorter by some. */
    assert_true(mean > QUEUE - 1 + RANDOM - 15 && mean < QUEUE - 1 + RANDOM + 15);
    assert_true(variance > 0.85 * RANDOM * RANDOM && variance < 1.15 * RANDOM * RANDOM);
    assert_in_range(shortest, QUEUE - 1, QUEUE + 10);
    assert_true(longest > QUEUE + 5 * RANDOM);
    /* 1 - e^-0.5 of them, 39.3 %. */
    assert_true((double)quick > 0.37 * (double)count && (double)quick < 0.42 * (double)count);
}

/* Two blocks freed one after the other do not come back so. */
static void the_order_is_random(void **state)
{
    struct cal__quarantined out;
    initialize(64, 64, 1 << 30);
    size_t last = 0, in_order = 0, count = 0;
    for (size_t i = 0; i < 20000; i++) {
        assert_true(push(i, 16));
        while (pop(&out)) {
            in_order += number_of(out.block) == last + 1;
            last = number_of(out.block);
            count++;
        }
    }
    assert_true(count > 19000);
    /* About one in 128. */
    assert_true(in_order < count / 50);
}

/* While the bytes do not suffice for a queue, what leaves is drawn from those that wait: not what was pushed just now. */
static void a_small_limit_is_random_too(void **state)
{
    struct cal__quarantined out;
    initialize(1024, 64, 64 * 16);
    size_t same = 0, count = 0, oldest = 0;
    for (size_t i = 0; i < 20000; i++) {
        assert_true(push(i, 16));
        while (pop(&out)) {
            same += number_of(out.block) == i;
            oldest += i - number_of(out.block) > 200;
            count++;
        }
    }
    assert_int_equal(quarantine.queued, 0);
    assert_int_equal(count, 20000 - 64);
    assert_int_equal(same, 0);
    /* (63/64)^200, 4.3 %, stay longer than 200. */
    assert_in_range(oldest, 500, 1400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_ones_are_refused),
        cmocka_unit_test(entries_come_back_as_they_were),
        cmocka_unit_test(what_is_too_large_is_not_taken),
        cmocka_unit_test(nothing_is_lost_whatever_is_the_limit),
        cmocka_unit_test(the_limit_is_used),
        cmocka_unit_test(a_full_queue_makes_room),
        cmocka_unit_test(the_delay_is_random),
        cmocka_unit_test(the_order_is_random),
        cmocka_unit_test(a_small_limit_is_random_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
