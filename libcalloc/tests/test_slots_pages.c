/* The role slots: pages that fill, empty, and go from thread to thread and from parent to child; and memory
 * that runs out. */
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "slots_addon.h"

/* Pages. */

enum { MANY = 20000 };
static void *many[MANY];

static void allocate_many(size_t size)
{
    for (size_t i = 0; i < MANY; i++) {
        many[i] = malloc(size);
        require(many[i] != NULL);
        fill(many[i], 8, i);
    }
}

static void *free_many(void *argument)
{
    for (size_t i = 0; i < MANY; i++) {
        require(is_filled(many[i], 8, i));
        free(many[i]);
    }
    return argument;
}

static void full_pages_come_back(void **state)
{
    pthread_t thread;
    warm_up_threads(1);
    allocate_many(56);
    size_t opened = slots_addon.opened;
    for (size_t round = 0; round < 10; round++) {
        if (round % 2 == 0) {
            start_thread(&thread, free_many, NULL);
            join_thread(thread);
        } else {
            free_many(NULL);
        }
        slots_release_kept();
        size_t closed = slots_addon.closed;
        allocate_many(56);
        assert_true(slots_addon.opened - opened <= 3 * (size_t)MANY / 1000);
        opened = slots_addon.opened;
        assert_true(slots_addon.opened >= closed);
    }
    free_many(NULL);
}

static void empty_slabs_are_closed(void **state)
{
    allocate_many(500);
    free_many(NULL);
    slots_release_kept();
    size_t closed = slots_addon.closed;
    assert_true(closed > 0);
    malloc_trim(0);
    /* What other tests and libc hold is little. */
    assert_true(slots_addon.opened - slots_addon.closed < 60);
    size_t mapped = statistics().os_memory_mapped;
    for (size_t round = 0; round < 5; round++) {
        allocate_many(500);
        free_many(NULL);
        slots_release_kept();
        malloc_trim(0);
    }
    assert_true(statistics().os_memory_mapped <= mapped + ((size_t)32 << 20));
}

static void *use_slabs(void *argument)
{
    void *blocks[20];
    for (size_t i = 0; i < 20; i++)
        require((blocks[i] = malloc(100 + 100 * i)) != NULL);
    for (size_t i = 0; i < 20; i++)
        free(blocks[i]);
    slots_release_kept();
    return argument;
}

/* Slabs that a thread has left are closed also by who has none of his own. */
static void *trim_without_a_heap(void *argument)
{
    size_t *closed = argument;
    *closed = slots_addon.closed;
    cal_trim();
    *closed = slots_addon.closed - *closed;
    return NULL;
}

static void slabs_of_ended_threads_are_closed(void **state)
{
    pthread_t thread;
    size_t closed = 0;
    malloc_trim(0);
    start_thread(&thread, use_slabs, NULL);
    join_thread(thread);
    size_t open = slots_addon.opened - slots_addon.closed;
    start_thread(&thread, trim_without_a_heap, &closed);
    join_thread(thread);
    assert_true(closed >= 5);
    malloc_trim(0);
    assert_true(slots_addon.opened - slots_addon.closed < open);
}

static void slots_may_be_withheld(void **state)
{
    slots_addon.withhold = true;
    allocate_many(300);
    slots_addon.withhold = false;
    size_t first = 0, newer = 0;
    for (size_t i = 0; i < MANY; i++) {
        uint32_t slot;
        struct cal_slab *slab = cal_slot_find(many[i], &slot);
        require(slab != NULL);
        first += slot == 0;
        newer += slot == 1;
    }
    assert_true(first < newer / 4);
    size_t closed = slots_addon.closed;
    free_many(NULL);
    slots_release_kept();
    malloc_trim(0);
    assert_true(slots_addon.closed > closed + 50);
}

static void a_free_slot_may_be_held(void **state)
{
    free(malloc(700));
    slots_addon.hold = true;
    void *block = malloc(700);
    assert_false(slots_addon.hold);
    assert_ptr_not_equal(slots_addon.held, block);
    allocate_many(700);
    for (size_t i = 0; i < MANY; i++)
        require(many[i] != slots_addon.held);
    assert_int_equal(cal_slot_release(slots_addon.held), 0);
    assert_int_equal(cal_slot_release(slots_addon.held), -EINVAL);
    assert_int_equal(cal_slot_release(block), -EINVAL); /* it is live */
    free_many(NULL);
    free(block);
}

/* Threads. */

enum { THREADS = 4, PLACES = 512 };
static void *_Atomic places[PLACES];

static void *exchange(void *argument)
{
    struct random random = {(uintptr_t)argument + 1};
    for (size_t i = 0; i < test_repeat(100000); i++) {
        size_t size = random_size(&random, i % 1000 == 0 ? 18 : 10) + sizeof(size_t);
        size_t *block = i % 3 == 0 ? calloc(1, size) : malloc(size);
        require(block != NULL);
        *block = size;
        fill(block + 1, (size - sizeof size) % 100, size);
        block = atomic_exchange(&places[random_below(&random, PLACES)], block);
        if (block == NULL)
            continue;
        require(is_filled(block + 1, (*block - sizeof *block) % 100, *block));
        require(malloc_usable_size(block) == *block);
        free(block);
    }
    return NULL;
}

static void threads_free_each_others_blocks(void **state)
{
    pthread_t threads[THREADS];
    struct cal_statistics then = statistics();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < THREADS; i++)
            start_thread(&threads[i], exchange, (void *)i);
        for (size_t i = 0; i < THREADS; i++)
            join_thread(threads[i]);
    }
    for (size_t i = 0; i < PLACES; i++)
        free(atomic_exchange(&places[i], NULL));
    struct cal_statistics now = statistics();
    assert_true(now.active_allocations <= then.active_allocations + 20);
}

static void *allocate_and_leave(void *argument)
{
    allocate_many(120);
    for (size_t i = 0; i < MANY; i += 2)
        free(many[i]);
    return NULL;
}

static void pages_of_ended_threads_are_adopted(void **state)
{
    pthread_t thread;
    slots_release_kept();
    malloc_trim(0);
    start_thread(&thread, allocate_and_leave, NULL);
    join_thread(thread);
    slots_release_kept();
    size_t opened = slots_addon.opened;
    for (size_t i = 0; i < MANY; i += 2) {
        many[i] = malloc(120);
        fill(many[i], 8, i);
    }
    assert_true(slots_addon.opened - opened < 5);
    free_many(NULL);
    slots_release_kept();
}

static void *leave_all(void *argument)
{
    allocate_many(120);
    return NULL;
}

static void what_ended_threads_left_is_given_back(void **state)
{
    pthread_t thread;
    start_thread(&thread, leave_all, NULL);
    join_thread(thread);
    size_t closed = slots_addon.closed;
    free_many(NULL);
    slots_release_kept();
    malloc_trim(0);
    assert_true(slots_addon.closed - closed > MANY / 500 - 5);
}

static void *use_sizes(void *argument)
{
    static void *blocks[64];
    for (size_t i = 0; i < 64; i++)
        fill(blocks[i] = malloc(i * 32 + 1), 1, 1);
    for (size_t i = 0; i < 64; i++)
        free(blocks[i]);
    return NULL;
}

/* Slabs that an ended thread left empty are not closed and opened again for the next. */
static void empty_slabs_wait_for_the_next_thread(void **state)
{
    pthread_t thread;
    slots_addon.keep_max = 0;
    start_thread(&thread, use_sizes, NULL);
    join_thread(thread);
    size_t opened = slots_addon.opened, closed = slots_addon.closed;
    for (int i = 0; i < 10; i++) {
        start_thread(&thread, use_sizes, NULL);
        join_thread(thread);
    }
    assert_int_equal(slots_addon.opened, opened);
    assert_int_equal(slots_addon.closed, closed);
    malloc_trim(0);
    assert_true(slots_addon.closed - closed >= 5);
    slots_addon.keep_max = 4096;
}

/* Two threads free the same blocks at the same moments: each is freed once, and found once. */
static void *_Atomic both;
static atomic_size_t round_of_both, done_by_other;

static void *free_too(void *argument)
{
    size_t rounds = *(size_t *)argument;
    for (size_t i = 1; i <= rounds; i++) {
        while (atomic_load(&round_of_both) != i)
            sched_yield();
        free(atomic_load(&both));
        atomic_store(&done_by_other, i);
    }
    return NULL;
}

static void of_two_frees_at_once_one_is_found(void **state)
{
    size_t rounds = test_is_slow() ? 300 : 20000;
    pthread_t thread;
    slots_addon.tolerate = true;
    slots_addon.keep_max = 0;
    slots_addon.errors[CAL_ERROR_DOUBLE_FREE] = slots_addon.errors[CAL_ERROR_FREE_OF_KEPT] = 0;
    size_t freed = slots_addon.freed;
    start_thread(&thread, free_too, &rounds);
    for (size_t i = 1; i <= rounds; i++) {
        void *block = malloc(100 + i % 700);
        atomic_store(&both, block);
        atomic_store(&round_of_both, i);
        free(block);
        while (atomic_load(&done_by_other) != i)
            sched_yield();
    }
    join_thread(thread);
    assert_int_equal(slots_addon.freed - freed, rounds);
    assert_int_equal(slots_addon.errors[CAL_ERROR_DOUBLE_FREE] +
                         slots_addon.errors[CAL_ERROR_FREE_OF_KEPT],
                     rounds);
    slots_addon.tolerate = false;
    slots_addon.keep_max = 4096;
}

static pthread_key_t late_key;
static void *late_block;

static void use_late(void *argument)
{
    static _Thread_local int rounds;
    if (++rounds < 3) {
        pthread_setspecific(late_key, argument);
        return;
    }
    void *block = malloc(100);
    require(block != NULL && malloc_usable_size(block) == 100);
    free(block);
    late_block = malloc(3000);
    require(late_block != NULL);
    void *large = malloc(3000000);
    require(large != NULL);
    free(large);
}

static void *end_late(void *argument)
{
    free(malloc(10));
    pthread_setspecific(late_key, &late_key);
    return NULL;
}

static void ended_threads_allocate(void **state)
{
    pthread_t thread;
    assert_int_equal(pthread_key_create(&late_key, use_late), 0);
    for (int round = 0; round < 3; round++) {
        start_thread(&thread, end_late, NULL);
        join_thread(thread);
        assert_int_equal(malloc_usable_size(late_block), 3000);
        free(late_block);
    }
    pthread_key_delete(late_key);
}

/* fork while other threads allocate and free. */

static _Atomic bool stop;

static void *churn(void *argument)
{
    struct random random = {(uintptr_t)argument + 1};
    void *blocks[100] = {NULL};
    while (!stop) {
        size_t i = random_below(&random, 100);
        void *block = atomic_exchange(&places[random_below(&random, PLACES)], blocks[i]);
        free(block);
        blocks[i] = malloc(random_size(&random, i == 0 ? 20 : 12));
        require(blocks[i] != NULL);
    }
    for (size_t i = 0; i < 100; i++)
        free(blocks[i]);
    return NULL;
}

static void be_the_child(void)
{
    alarm(60);
    for (size_t i = 0; i < 2000; i++) {
        many[i] = malloc(random_size(&(struct random){i + 1}, 17));
        require(many[i] != NULL);
    }
    for (size_t i = 0; i < PLACES; i++)
        free(atomic_exchange(&places[i], NULL));
    for (size_t i = 0; i < 2000; i++)
        free(many[i]);
    slots_release_kept();
    malloc_trim(0);
    require(statistics().threads == 1);
    _exit(0);
}

static void a_forked_child_goes_on(void **state)
{
    pthread_t threads[THREADS];
    stop = false;
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], churn, (void *)i);
    for (size_t round = 0; round < (test_is_slow() ? 5 : 60); round++) {
        fflush(NULL);
        pid_t child = fork();
        require(child >= 0);
        if (child == 0)
            be_the_child();
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    stop = true;
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    for (size_t i = 0; i < PLACES; i++)
        free(atomic_exchange(&places[i], NULL));
}

/* Out of memory. */

static void exhaust(void)
{
    static const size_t sizes[] = {1000, 5000, 30000, 100000, 131072, 300000, 5000000};
    struct rlimit limit = {(size_t)600 << 20, (size_t)600 << 20};
    require(setrlimit(RLIMIT_AS, &limit) == 0);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            void **list = NULL;
            size_t count = 0;
            for (;;) {
                errno = 0;
                void **block = malloc(sizes[i]);
                if (block == NULL)
                    break;
                *block = list;
                list = block;
                count++;
            }
            require(errno == ENOMEM && count > 20);
            while (list != NULL) {
                void **next = *list;
                free(list);
                list = next;
            }
        }
    }
}

static void memory_may_run_out(void **state)
{
    if (test_is_slow()) {
        print_message("tools need address space of their own\n");
        return;
    }
    char text[1000];
    run_in_child(exhaust, text, sizeof text);
}

static void a_slab_may_be_refused(void **state)
{
    struct cal_statistics then = statistics();
    slots_addon.refuse_open = true;
    errno = 0;
    assert_null(malloc(10000000));
    assert_int_equal(errno, ENOMEM);
    size_t count = 0;
    while (count < MANY && (many[count] = malloc(100001)) != NULL)
        count++;
    assert_true(count < 10);
    slots_addon.refuse_open = false;
    while (count > 0)
        free(many[--count]);
    struct cal_statistics now = statistics();
    assert_int_equal(now.active_allocations, then.active_allocations);
    void *block = malloc(10000000);
    assert_non_null(block);
    free(block);
}

/* In the middle of what others do. */
static void register_while_threads_run(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], churn, (void *)i);
    const struct timespec moment = {0, 50000000};
    nanosleep(&moment, NULL);
    require(cal_hooks_register(&slots_hooks) == 0);
    nanosleep(&moment, NULL);
    stop = true;
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    for (size_t i = 0; i < PLACES; i++)
        free(atomic_exchange(&places[i], NULL));
}

int main(void)
{
    test_is_annotated(); /* before it looks as if a tool were told of each block */
    warm_up_threads(THREADS);
    register_while_threads_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_pages_come_back),
        cmocka_unit_test(empty_slabs_are_closed),
        cmocka_unit_test(slabs_of_ended_threads_are_closed),
        cmocka_unit_test(slots_may_be_withheld),
        cmocka_unit_test(a_free_slot_may_be_held),
        cmocka_unit_test(threads_free_each_others_blocks),
        cmocka_unit_test(pages_of_ended_threads_are_adopted),
        cmocka_unit_test(what_ended_threads_left_is_given_back),
        cmocka_unit_test(empty_slabs_wait_for_the_next_thread),
        cmocka_unit_test(of_two_frees_at_once_one_is_found),
        cmocka_unit_test(ended_threads_allocate),
        cmocka_unit_test(a_forked_child_goes_on),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(a_slab_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
