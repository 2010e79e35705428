/* Random work against a model that knows what each block must hold: contents, alignment, sizes, no
 * overlap, exact counts. With blocks handed from thread to thread, too. */
#include "support.h"

#include <stdatomic.h>

enum { SLOTS = 600, MAX_BITS = 23 };
/* So that random sizes of up to 8 MiB do not add up to a machine's memory. */
#define LIVE_MAX ((size_t)192 << 20)
/* Of large blocks the ends are watched, where neighbours and resizing touch. */
#define EDGE ((size_t)2048)

struct item {
    unsigned char *block;
    size_t size;
    uint64_t seed;
};

static void stamp(struct item *item)
{
    if (item->size <= 2 * EDGE) {
        fill(item->block, item->size, item->seed);
    } else {
        fill(item->block, EDGE, item->seed);
        fill(item->block + item->size - EDGE, EDGE, item->seed + 1);
    }
}

/* The first KEPT bytes hold what stamp() wrote when the block had its size. */
static bool is_stamped(const struct item *item, const unsigned char *block, size_t kept)
{
    if (item->size <= 2 * EDGE)
        return is_filled(block, kept, item->seed);
    return is_filled(block, kept < EDGE ? kept : EDGE, item->seed) &&
           (kept < item->size || is_filled(block + kept - EDGE, EDGE, item->seed + 1));
}

struct model {
    struct random random;
    struct item items[SLOTS];
    size_t live, bytes;
};

static void add(struct model *model, struct item *item, void *block, size_t size)
{
    require(block != NULL);
    require((uintptr_t)block % 16 == 0);
    require(malloc_usable_size(block) >= size);
    *item = (struct item){block, size, random_next(&model->random)};
    stamp(item);
    model->live++;
    model->bytes += size;
}

static void allocate(struct model *model, struct item *item)
{
    size_t size = random_size(&model->random, MAX_BITS);
    if (model->bytes + size > LIVE_MAX)
        size = 1 + size % 1000;
    size_t alignment = (size_t)16 << random_below(&model->random, 13);
    void *block = NULL;
    switch (random_below(&model->random, 8)) {
    case 0:
        block = calloc(1, size);
        require(block != NULL);
        require(size <= 2 * EDGE
                    ? is_zero(block, size)
                    : is_zero(block, EDGE) && is_zero((char *)block + size - EDGE, EDGE));
        break;
    case 1:
        block = aligned_alloc(alignment, size);
        require((uintptr_t)block % alignment == 0);
        break;
    case 2:
        require(posix_memalign(&block, alignment, size) == 0);
        require((uintptr_t)block % alignment == 0);
        break;
    case 3:
        block = cal_allocate(size);
        break;
    default:
        block = malloc(size);
    }
    add(model, item, block, size);
}

static void release(struct model *model, struct item *item)
{
    require(is_stamped(item, item->block, item->size));
    free(item->block);
    model->live--;
    model->bytes -= item->size;
    item->block = NULL;
}

static void resized(struct model *model, struct item *item, unsigned char *block, size_t size)
{
    require(malloc_usable_size(block) >= size);
    require(is_stamped(item, block, size < item->size ? size : item->size));
    model->bytes += size - item->size;
    item->block = block;
    item->size = size;
    stamp(item);
}

static void resize(struct model *model, struct item *item)
{
    size_t size = random_below(&model->random, 2)
                      ? random_size(&model->random, MAX_BITS)
                      : 1 + item->size / 2 + random_below(&model->random, item->size + 1);
    if (model->bytes + size > LIVE_MAX)
        return;
    if (random_below(&model->random, 2)) {
        unsigned char *block = realloc(item->block, size);
        require(block != NULL);
        resized(model, item, block, size);
    } else if (cal_try_reallocate_in_place(item->block, size) != NULL) {
        resized(model, item, item->block, size);
    } else {
        require(is_stamped(item, item->block, item->size));
    }
}

static void step(struct model *model)
{
    struct item *item = &model->items[random_below(&model->random, SLOTS)];
    if (item->block == NULL)
        allocate(model, item);
    else if (random_below(&model->random, 3) == 0)
        resize(model, item);
    else
        release(model, item);
}

static int by_address(const void *a, const void *b)
{
    const struct item *first = a;
    const struct item *second = b;
    return first->block < second->block ? -1 : first->block > second->block;
}

static void assert_no_overlap(const struct model *model)
{
    static struct item sorted[SLOTS];
    size_t count = 0;
    for (size_t i = 0; i < SLOTS; i++)
        if (model->items[i].block != NULL)
            sorted[count++] = model->items[i];
    qsort(sorted, count, sizeof sorted[0], by_address);
    for (size_t i = 0; i + 1 < count; i++)
        assert_true(sorted[i].block + malloc_usable_size(sorted[i].block) <= sorted[i + 1].block);
}

static void release_all(struct model *model)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (model->items[i].block != NULL)
            release(model, &model->items[i]);
}

static void run_model(uint64_t seed)
{
    static struct model model;
    memset(&model, 0, sizeof model);
    model.random.state = seed;
    size_t before = statistics().active_allocations;
    size_t steps = test_repeat(30000);
    for (size_t i = 0; i < steps; i++) {
        step(&model);
        if (i % 3000 == 0) {
            assert_int_equal(statistics().active_allocations, before + model.live);
            assert_no_overlap(&model);
        }
        if (i % 10000 == 0)
            malloc_trim(0);
    }
    release_all(&model);
    assert_int_equal(statistics().active_allocations, before);
}

static void random_work_with_seed_1(void **state)
{
    run_model(1);
}

static void random_work_with_seed_2(void **state)
{
    run_model(UINT64_C(0x123456789abcdef));
}

static void random_work_with_seed_3(void **state)
{
    run_model(UINT64_C(0xfedcba9876543210));
}

/* Threads: each has a model, and now and then changes a block for one in a mailbox. */

enum { THREADS = 4, BOXES = 64 };
static struct item *_Atomic mailbox[BOXES];
static struct item envelopes[THREADS * SLOTS * 4];
static _Atomic size_t envelope_count;

static void exchange(struct model *model)
{
    struct item *own = &model->items[random_below(&model->random, SLOTS)];
    size_t number = envelope_count;
    if (own->block == NULL || number + THREADS >= sizeof envelopes / sizeof envelopes[0])
        return;
    struct item *envelope = &envelopes[envelope_count++];
    *envelope = *own;
    struct item *received =
        atomic_exchange(&mailbox[random_below(&model->random, BOXES)], envelope);
    model->bytes -= own->size;
    own->block = NULL;
    if (received == NULL) {
        model->live--;
    } else {
        *own = *received;
        model->bytes += own->size;
        require(is_stamped(own, own->block, own->size));
    }
}

static void *run_thread_model(void *argument)
{
    static struct model models[THREADS];
    struct model *model = &models[(uintptr_t)argument];
    memset(model, 0, sizeof *model);
    model->random.state = 1000 + (uintptr_t)argument;
    size_t steps = test_repeat(15000);
    for (size_t i = 0; i < steps; i++) {
        step(model);
        if (i % 8 == 0)
            exchange(model);
    }
    release_all(model);
    return NULL;
}

static void random_work_in_threads_that_exchange_blocks(void **state)
{
    warm_up_threads(THREADS);
    size_t before = statistics().active_allocations;
    for (int round = 0; round < 2; round++) {
        pthread_t threads[THREADS];
        envelope_count = 0;
        for (uintptr_t i = 0; i < THREADS; i++)
            start_thread(&threads[i], run_thread_model, (void *)i);
        for (size_t i = 0; i < THREADS; i++)
            join_thread(threads[i]);
        /* What lies in the boxes is nobody's: its threads have ended. */
        for (size_t i = 0; i < BOXES; i++) {
            struct item *left = atomic_exchange(&mailbox[i], NULL);
            if (left != NULL) {
                assert_true(is_stamped(left, left->block, left->size));
                free(left->block);
            }
        }
        assert_true(envelope_count > 300 || test_is_slow());
        assert_int_equal(statistics().active_allocations, before);
    }
}

/* Small blocks only, where slots are re-used at once and a wrong one shows at once. */
static void small_blocks_change_hands_quickly(void **state)
{
    enum { COUNT = 5000 };
    static unsigned char *blocks[COUNT];
    static unsigned char sizes[COUNT];
    struct random random = {31};
    size_t before = statistics().active_allocations;
    for (size_t i = 0; i < test_repeat(1000000); i++) {
        size_t j = random_below(&random, COUNT);
        if (blocks[j] != NULL) {
            assert_true(is_filled(blocks[j], sizes[j], j));
            free(blocks[j]);
            blocks[j] = NULL;
        } else {
            sizes[j] = (unsigned char)(1 + random_below(&random, 200));
            blocks[j] = malloc(sizes[j]);
            fill(blocks[j], sizes[j], j);
        }
    }
    for (size_t j = 0; j < COUNT; j++) {
        free(blocks[j]);
        blocks[j] = NULL;
    }
    assert_int_equal(statistics().active_allocations, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_work_with_seed_1),
        cmocka_unit_test(random_work_with_seed_2),
        cmocka_unit_test(random_work_with_seed_3),
        cmocka_unit_test(random_work_in_threads_that_exchange_blocks),
        cmocka_unit_test(small_blocks_change_hands_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
