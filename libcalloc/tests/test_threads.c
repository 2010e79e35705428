/* Threads: blocks that are freed elsewhere, and what becomes of a thread's pages at its end. */
#include "support.h"

#include <semaphore.h>

/* A queue of one slot per block between one producer and one consumer. */
enum { QUEUE = 256 };
struct queue {
    sem_t room;
    sem_t filled;
    void *blocks[QUEUE];
    size_t count;
    size_t size;
};

static size_t size_of_item(const struct queue *queue, size_t i)
{
    return queue->size != 0 ? queue->size : 1 + i * 37 % 3000;
}

static void *produce(void *argument)
{
    struct queue *queue = argument;
    for (size_t i = 0; i < queue->count; i++) {
        size_t size = size_of_item(queue, i);
        void *block = malloc(size);
        require(block != NULL);
        fill(block, size, i);
        while (sem_wait(&queue->room) != 0) {}
        queue->blocks[i % QUEUE] = block;
        sem_post(&queue->filled);
    }
    return NULL;
}

static void *consume(void *argument)
{
    struct queue *queue = argument;
    for (size_t i = 0; i < queue->count; i++) {
        while (sem_wait(&queue->filled) != 0) {}
        void *block = queue->blocks[i % QUEUE];
        require(is_filled(block, size_of_item(queue, i), i));
        free(block);
        sem_post(&queue->room);
    }
    return NULL;
}

static void pass_blocks(size_t count, size_t size)
{
    static struct queue queue;
    queue.count = count;
    queue.size = size;
    sem_init(&queue.room, 0, QUEUE);
    sem_init(&queue.filled, 0, 0);
    pthread_t producer, consumer;
    start_thread(&producer, produce, &queue);
    start_thread(&consumer, consume, &queue);
    join_thread(producer);
    join_thread(consumer);
    sem_destroy(&queue.room);
    sem_destroy(&queue.filled);
}

static void producer_and_consumer(void **state)
{
    warm_up_threads(2);
    size_t before = statistics().active_allocations;
    pass_blocks(test_repeat(200000), 64);
    pass_blocks(test_repeat(100000), 0);
    assert_int_equal(statistics().active_allocations, before);
}

/* The producer must re-use what the consumer returns: memory does not grow with the count. */
static void remote_frees_are_used_again(void **state)
{
    pass_blocks(test_repeat(20000), 500);
    size_t before = statistics().os_memory_mapped;
    for (int i = 0; i < 10; i++)
        pass_blocks(test_repeat(20000), 500);
    assert_true(statistics().os_memory_mapped <= before + (4 << 20));
}

/* One thread's blocks are freed by many, and many threads' blocks by one. */
enum { THREADS = 6, EACH = 2000 };
static void *rows[THREADS][EACH];

static void *allocate_row(void *argument)
{
    void **row = argument;
    for (size_t i = 0; i < EACH; i++) {
        row[i] = malloc(1 + i % 500);
        require(row[i] != NULL);
        fill(row[i], 1 + i % 500, i);
    }
    return NULL;
}

static void *free_row(void *argument)
{
    void **row = argument;
    for (size_t i = 0; i < EACH; i++) {
        require(is_filled(row[i], 1 + i % 500, i));
        free(row[i]);
    }
    return NULL;
}

static void in_threads(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], function, rows[i]);
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
}

static void many_threads_blocks_freed_by_one(void **state)
{
    warm_up_threads(THREADS);
    size_t before = statistics().active_allocations;
    in_threads(allocate_row);
    assert_int_equal(statistics().active_allocations, before + THREADS * EACH);
    for (size_t i = 0; i < THREADS; i++)
        free_row(rows[i]);
    assert_int_equal(statistics().active_allocations, before);
}

static void one_threads_blocks_freed_by_many(void **state)
{
    warm_up_threads(THREADS);
    struct cal_statistics before = statistics();
    for (size_t i = 0; i < THREADS; i++)
        allocate_row(rows[i]);
    assert_int_equal(statistics().active_allocations, before.active_allocations + THREADS * EACH);
    in_threads(free_row);
    struct cal_statistics after = statistics();
    assert_int_equal(after.active_allocations, before.active_allocations);
    assert_int_equal(after.active_bytes, before.active_bytes);
}

static void threads_blocks_freed_by_other_threads(void **state)
{
    warm_up_threads(THREADS);
    size_t before = statistics().active_allocations;
    in_threads(allocate_row);
    in_threads(free_row);
    assert_int_equal(statistics().active_allocations, before);
}

static void *use_some_memory(void *argument)
{
    static const size_t sizes[] = {16, 100, 1000, 5000, 50000, 200000};
    void *blocks[6][20];
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 20; j++)
            require((blocks[i][j] = malloc(sizes[i])) != NULL);
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 20; j++)
            free(blocks[i][j]);
    return argument;
}

static void ended_threads_memory_is_used_again(void **state)
{
    pthread_t thread;
    for (int i = 0; i < 5; i++) {
        start_thread(&thread, use_some_memory, NULL);
        join_thread(thread);
    }
    struct cal_statistics before = statistics();
    for (size_t i = 0; i < test_repeat(2000); i++) {
        start_thread(&thread, use_some_memory, NULL);
        join_thread(thread);
    }
    struct cal_statistics after = statistics();
    /* Less when a purge delay ended meanwhile. */
    assert_true(after.os_memory_mapped <= before.os_memory_mapped);
    assert_int_equal(after.metadata_bytes, before.metadata_bytes);
    assert_int_equal(after.active_bytes, before.active_bytes);
}

/* Each thread leaves one block behind, so that its pages stay and must find heirs. */
static void *leave_a_block(void *argument)
{
    for (size_t size = 16; size <= 1024; size *= 2)
        for (int i = 0; i < 8; i++)
            free(malloc(size));
    return malloc((size_t)(uintptr_t)argument);
}

static void pages_of_ended_threads_are_adopted(void **state)
{
    enum { COUNT = 500 };
    static void *left[COUNT];
    pthread_t thread;
    start_thread(&thread, leave_a_block, (void *)200);
    free(join_thread(thread));
    size_t before = statistics().os_memory_mapped;
    for (size_t i = 0; i < COUNT; i++) {
        start_thread(&thread, leave_a_block, (void *)200);
        left[i] = join_thread(thread);
        assert_non_null(left[i]);
        fill(left[i], 200, i);
    }
    /* 500 blocks of 208 bytes are two slabs; a slab for each thread would be 31 MiB. */
    assert_true(statistics().os_memory_mapped <= before + (4 << 20));
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(is_filled(left[i], 200, i));
        free(left[i]);
    }
}

static void *allocate_all_kinds(void *argument)
{
    void **blocks = argument;
    static const size_t sizes[] = {1, 100, 1024, 3000, 8192, 60000, 131072, 300000, 5000000};
    for (size_t i = 0; i < 9; i++) {
        blocks[i] = malloc(sizes[i]);
        require(blocks[i] != NULL);
        fill(blocks[i], sizes[i], i);
    }
    return NULL;
}

static void blocks_outlive_their_thread(void **state)
{
    static const size_t sizes[] = {1, 100, 1024, 3000, 8192, 60000, 131072, 300000, 5000000};
    warm_up_threads(1);
    struct cal_statistics before = statistics();
    for (int round = 0; round < 20; round++) {
        void *blocks[9];
        pthread_t thread;
        start_thread(&thread, allocate_all_kinds, blocks);
        join_thread(thread);
        assert_int_equal(statistics().active_allocations, before.active_allocations + 9);
        for (size_t i = 0; i < 9; i++) {
            assert_true(is_filled(blocks[i], sizes[i], i));
            free(blocks[i]);
        }
    }
    struct cal_statistics after = statistics();
    assert_int_equal(after.active_allocations, before.active_allocations);
    assert_int_equal(after.active_bytes, before.active_bytes);
}

/* Destructors of thread-local data run in rounds; ours is one of them, at no certain place. */
static pthread_key_t keys[3];
static _Atomic int destructions;

static void destroy(void *value)
{
    size_t round = (size_t)(uintptr_t)value;
    void *blocks[100];
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = malloc(1 + i * 20);
        require(blocks[i] != NULL);
        fill(blocks[i], 1 + i * 20, i);
    }
    for (size_t i = 0; i < 100; i++) {
        require(is_filled(blocks[i], 1 + i * 20, i));
        free(blocks[i]);
    }
    destructions++;
    /* PTHREAD_DESTRUCTOR_ITERATIONS is four: use them all. */
    if (round < 4)
        pthread_setspecific(keys[round % 3], (void *)(uintptr_t)(round + 1));
}

static void *set_keys(void *argument)
{
    for (int i = 0; i < 3; i++)
        pthread_setspecific(keys[i], (void *)1);
    free(malloc(100));
    return argument;
}

static void thread_local_destructors_may_allocate(void **state)
{
    pthread_t thread;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_key_create(&keys[i], destroy), 0);
    for (int i = 0; i < 50; i++) {
        start_thread(&thread, set_keys, NULL);
        join_thread(thread);
    }
    assert_true(destructions >= 3 * 50);
    /* How many pages of a class there are at a time is chance where blocks are kept and slots chosen at
     * random, and each has a record; the most of all classes are there after some hundred threads. If each
     * thread left the smallest piece of metadata behind, it would be twice as much. */
    size_t records = TEST_SLOTS ? (size_t)32 << 10 : 0;
    struct cal_statistics before = statistics();
    for (size_t i = 0; i < test_repeat(500); i++) {
        start_thread(&thread, set_keys, NULL);
        join_thread(thread);
    }
    struct cal_statistics after = statistics();
    assert_int_equal(after.active_allocations, before.active_allocations);
    /* Less when a purge delay ended meanwhile; records may need another piece of metadata, of 256 KiB. */
    size_t piece = records == 0 ? 0 : (size_t)256 << 10;
    assert_true(after.os_memory_mapped <= before.os_memory_mapped + piece);
    assert_in_range(after.metadata_bytes, before.metadata_bytes, before.metadata_bytes + records);
    for (int i = 0; i < 3; i++)
        pthread_key_delete(keys[i]);
}

/* A thread that never allocates has no heap to free into. */
static void *only_free(void *argument)
{
    free_row(argument);
    return NULL;
}

static void a_thread_may_free_without_ever_allocating(void **state)
{
    warm_up_threads(1);
    size_t before = statistics().active_allocations;
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        allocate_row(rows[0]);
        start_thread(&thread, only_free, rows[0]);
        join_thread(thread);
        assert_int_equal(statistics().active_allocations, before);
    }
}

/* TURN 1 of the first document, ThreadSafety: 8 threads of 100,000 blocks. */
static void *allocate_then_free(void *argument)
{
    size_t count = test_repeat(100000);
    void **blocks = cal_allocate(count * sizeof *blocks);
    require(blocks != NULL);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = cal_allocate(64);
        require(blocks[i] != NULL);
        *(size_t *)blocks[i] = i;
    }
    for (size_t i = 0; i < count; i++) {
        require(*(size_t *)blocks[i] == i);
        cal_deallocate(blocks[i]);
    }
    cal_deallocate(blocks);
    return argument;
}

static void thread_safety_of_the_document(void **state)
{
    warm_up_threads(8);
    size_t before = statistics().active_allocations;
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        start_thread(&threads[i], allocate_then_free, NULL);
    for (size_t i = 0; i < 8; i++)
        join_thread(threads[i]);
    assert_int_equal(statistics().active_allocations, before);
}

/* Growing blocks takes slots of their page and notes it there, while others free blocks of that page. */
enum { BESIDE = 2000, GROWN = 512 };
static char *beside[BESIDE];

static void *free_each_fourth(void *argument)
{
    for (size_t i = 0; i < BESIDE; i += 4) {
        require(is_filled(beside[i], GROWN, i));
        free(beside[i]);
    }
    return NULL;
}

static void blocks_grow_beside_those_that_others_free(void **state)
{
    warm_up_threads(1);
    size_t before = statistics().active_allocations;
    for (size_t i = 0; i < BESIDE; i++) {
        beside[i] = malloc(GROWN);
        require(beside[i] != NULL);
        fill(beside[i], GROWN, i);
    }
    /* The room. */
    for (size_t i = 2; i < BESIDE; i += 4)
        free(beside[i]);
    pthread_t thread;
    start_thread(&thread, free_each_fourth, NULL);
    for (size_t i = 1; i < BESIDE; i += 4) {
        beside[i] = realloc(beside[i], (size_t)2 * GROWN);
        require(beside[i] != NULL);
    }
    join_thread(thread);
    for (size_t i = 1; i < BESIDE; i += 2) {
        assert_true(is_filled(beside[i], GROWN, i));
        free(beside[i]);
    }
    assert_int_equal(statistics().active_allocations, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(producer_and_consumer),
        cmocka_unit_test(remote_frees_are_used_again),
        cmocka_unit_test(many_threads_blocks_freed_by_one),
        cmocka_unit_test(one_threads_blocks_freed_by_many),
        cmocka_unit_test(threads_blocks_freed_by_other_threads),
        cmocka_unit_test(ended_threads_memory_is_used_again),
        cmocka_unit_test(pages_of_ended_threads_are_adopted),
        cmocka_unit_test(blocks_outlive_their_thread),
        cmocka_unit_test(thread_local_destructors_may_allocate),
        cmocka_unit_test(a_thread_may_free_without_ever_allocating),
        cmocka_unit_test(blocks_grow_beside_those_that_others_free),
        cmocka_unit_test(thread_safety_of_the_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
