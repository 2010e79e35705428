#include <pthread.h>

#include "blocks.h"
#include "support.h"
#include "thread.h"

/* Addresses that nothing is at: none is looked at. */
#define BASE UINT64_C(0x123400000000)

static bool take(const void *address, struct cal__block *block)
{
    struct cal__entry entry = cal__blocks_take(address);
    *block = cal__entry_block(entry);
    return entry.facts != 0;
}

static void *at(uint64_t offset)
{
    return (void *)(uintptr_t)(BASE + offset);
}

static enum cal__put put(uint64_t offset, size_t usable, uint64_t size, uint32_t site)
{
    struct cal__block block = {.size = size, .site = site, .time = size, .counted = true}, old;
    return cal__blocks_put(at(offset), usable, &block, &old);
}

static void assert_there(uint64_t offset, uint64_t size, uint32_t site)
{
    struct cal__block block;
    assert_true(cal__blocks_get(at(offset), &block));
    assert_int_equal(block.size, size);
    assert_int_equal(block.site, site);
    assert_int_equal(block.time, size);
    assert_true(block.counted);
    assert_false(block.watched);
}

static void take_all(uint64_t from, uint64_t step, size_t count)
{
    struct cal__block block;
    for (size_t i = 0; i < count; i++)
        assert_true(take(at(from + i * step), &block));
}

static void what_is_put_is_found(void **state)
{
    (void)state;
    struct cal__block block;
    assert_false(cal__blocks_get(at(0), &block));
    assert_false(take(at(0), &block));
    for (uint32_t i = 0; i < 682; i++)
        assert_int_equal(put(i * 96, 96, i + 1, i), CAL_PUT_NEW);
    for (uint32_t i = 0; i < 682; i++)
        assert_there(i * 96, i + 1, i);
    /* Addresses in between are no blocks. */
    assert_false(cal__blocks_get(at(16), &block));
    assert_false(cal__blocks_get(at(96 * 5 + 80), &block));
    take_all(0, 96, 682);
    assert_false(cal__blocks_get(at(96), &block));
}

/* A granule that comes to have blocks of another size, smaller ones too, while others are there. */
static void sizes_change(void **state)
{
    (void)state;
    const uint64_t granule = 1 << 20;
    assert_int_equal(put(granule, 32768, 30000, 1), CAL_PUT_NEW);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(put(granule + 32768 + i * 32, 32, 20, i), CAL_PUT_NEW);
    for (uint32_t i = 0; i < 30; i++)
        assert_int_equal(put(granule + 32768 + 32000 + i * 16, 16, 10, i), CAL_PUT_NEW);
    assert_there(granule, 30000, 1);
    for (uint32_t i = 0; i < 1000; i++)
        assert_there(granule + 32768 + i * 32, 20, i);
    assert_int_equal(put(granule + 32768, 32, 31, 7), CAL_PUT_OVER);
    assert_there(granule + 32768, 31, 7);
    take_all(granule, 1, 1);
    take_all(granule + 32768, 32, 1000);
    take_all(granule + 32768 + 32000, 16, 30);
    assert_int_equal(put(granule, 1 << 20, UINT64_C(1) << 46, CAL_SITES_MAX - 1), CAL_PUT_NEW);
    assert_true(cal__blocks_resize(at(granule), 5));
    struct cal__block block;
    assert_true(take(at(granule), &block));
    assert_int_equal(block.size, 5);
    assert_int_equal(block.site, CAL_SITES_MAX - 1);
}

static void watched(void **state)
{
    (void)state;
    const uint64_t granule = 2 << 20;
    struct cal__block block;
    assert_int_equal(put(granule, 64, 50, 3), CAL_PUT_NEW);
    cal__blocks_watch(at(granule));
    cal__blocks_watch(at(granule + 128));
    cal__blocks_watch(at(granule + 7));
    assert_true(take(at(granule), &block));
    assert_true(block.watched && block.counted && block.site == 3);
    assert_true(take(at(granule + 128), &block));
    assert_true(block.watched && !block.counted);
    assert_false(take(at(granule + 7), &block));
}

struct visits {
    uintptr_t last;
    size_t count;
    size_t most;
};

static bool visit(void *address, const struct cal__block *block, void *argument)
{
    struct visits *visits = argument;
    (void)block;
    assert_true((uintptr_t)address > visits->last);
    visits->last = (uintptr_t)address;
    return ++visits->count < visits->most;
}

static void visits_are_in_order(void **state)
{
    (void)state;
    const uint64_t granule = 3 << 20;
    for (uint32_t i = 0; i < 3000; i++)
        assert_int_equal(put(granule + i * 128, 128, 1, 1), CAL_PUT_NEW);
    struct visits visits = {.most = SIZE_MAX};
    cal__blocks_each(visit, &visits);
    assert_int_equal(visits.count, 3000);
    visits = (struct visits){.most = 10};
    cal__blocks_each(visit, &visits);
    assert_int_equal(visits.count, 10);
    take_all(granule, 128, 3000);
}

enum { THREADS = 4, ROUNDS = 2000 };

static void *use_in_turns(void *argument)
{
    /* Neighbours of other threads' blocks, in granules that all make tables for. */
    uint64_t number = (uint64_t)(uintptr_t)argument;
    struct cal__block block;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t offset = (8 << 20) + (i * THREADS + number) * 48;
        require(put(offset, 48, i, (uint32_t)number) == CAL_PUT_NEW);
        require(take(at(offset), &block) && block.size == i && block.site == number);
        require(put(offset, 48, i, (uint32_t)number) == CAL_PUT_NEW);
    }
    return NULL;
}

static void threads_do_not_meet(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_in_turns, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    take_all(8 << 20, 48, THREADS * ROUNDS);
}

/* One by one and by a lot, each for itself. */
static void minor_counters_hold_more_than_they_have_bits(void **state)
{
    (void)state;
    static struct cal__cell cell;
    for (unsigned i = 0; i < 200000; i++)
        assert_true(cal__cell_add_minor(&cell, 3, 1));
    assert_true(cal__cell_add_minor(&cell, CAL_MINOR_TEMPORARIES, UINT64_C(1) << 40));
    assert_true(cal__cell_add_minor(&cell, CAL_MINOR_TEMPORARIES, 7));
    assert_true(cal__cell_add_minor(&cell, 0, UINT16_MAX));
    assert_int_equal(cal__cell_minor(&cell, 3), 200000);
    assert_int_equal(cal__cell_minor(&cell, CAL_MINOR_TEMPORARIES), (UINT64_C(1) << 40) + 7);
    assert_int_equal(cal__cell_minor(&cell, 0), UINT16_MAX);
    assert_int_equal(cal__cell_minor(&cell, 15), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minor_counters_hold_more_than_they_have_bits),
        cmocka_unit_test(what_is_put_is_found),
        cmocka_unit_test(sizes_change),
        cmocka_unit_test(watched),
        cmocka_unit_test(visits_are_in_order),
        cmocka_unit_test(threads_do_not_meet),
    };
    return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
