/* The lock, and the memory of the allocator's own structures. */
#include "support.h"

#include "lock.h"
#include "metadata.h"

static struct cal__lock lock;
static volatile size_t counter;
enum { THREADS = 4 };

static void an_uncontended_lock_is_one_word(void **state)
{
    assert_int_equal(sizeof(struct cal__lock), 4);
    cal__lock_acquire(&lock);
    assert_int_equal(lock.state, 1);
    cal__lock_release(&lock);
    assert_int_equal(lock.state, 0);
}

static void *count_up(void *argument)
{
    size_t rounds = test_repeat(100000);
    for (size_t i = 0; i < rounds; i++) {
        cal__lock_acquire(&lock);
        counter = counter + 1;
        cal__lock_release(&lock);
    }
    return argument;
}

static void only_one_thread_is_inside(void **state)
{
    pthread_t threads[THREADS];
    counter = 0;
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], count_up, NULL);
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    assert_int_equal(counter, THREADS * test_repeat(100000));
    assert_int_equal(lock.state, 0);
}

static _Atomic bool inside;

static void *enter(void *argument)
{
    cal__lock_acquire(&lock);
    inside = true;
    cal__lock_release(&lock);
    return argument;
}

static void who_waits_is_woken(void **state)
{
    pthread_t thread;
    inside = false;
    cal__lock_acquire(&lock);
    start_thread(&thread, enter, NULL);
    /* Long enough for the waiter to have said so and, most likely, to sleep. */
    while (lock.state != 2)
        usleep(100);
    usleep(1000);
    assert_false(inside);
    cal__lock_release(&lock);
    join_thread(thread);
    assert_true(inside);
    assert_int_equal(lock.state, 0);
}

static void *enter_with_errno(void *argument)
{
    errno = 4711;
    cal__lock_acquire(&lock);
    cal__lock_release(&lock);
    require(errno == 4711);
    return argument;
}

static void waiting_preserves_errno(void **state)
{
    pthread_t threads[2];
    cal__lock_acquire(&lock);
    for (size_t i = 0; i < 2; i++)
        start_thread(&threads[i], enter_with_errno, NULL);
    while (lock.state != 2)
        usleep(100);
    errno = 4712;
    cal__lock_release(&lock);
    assert_int_equal(errno, 4712);
    for (size_t i = 0; i < 2; i++)
        join_thread(threads[i]);
}

static void a_reset_lock_is_free(void **state)
{
    cal__lock_acquire(&lock);
    cal__lock_release_after_fork(&lock, true);
    assert_int_equal(lock.state, 0);
    cal__lock_acquire(&lock);
    cal__lock_release(&lock);
}

static void metadata_is_aligned_and_zero(void **state)
{
    for (size_t size = 1; size <= 10000; size = size * 2 + 1) {
        unsigned char *memory = cal__metadata_allocate(size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 128, 0);
        assert_true(is_zero(memory, size));
        memset(memory, 0xff, size);
    }
}

static void metadata_pieces_do_not_overlap(void **state)
{
    enum { COUNT = 400 };
    static unsigned char *pieces[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = cal__metadata_allocate(1 + i * 17);
        assert_non_null(pieces[i]);
        fill(pieces[i], 1 + i * 17, i);
    }
    for (size_t i = 0; i < COUNT; i++)
        assert_true(is_filled(pieces[i], 1 + i * 17, i));
}

static void metadata_is_counted(void **state)
{
    size_t before = cal__metadata_bytes();
    assert_non_null(cal__metadata_allocate(1));
    assert_int_equal(cal__metadata_bytes(), before + 128);
    assert_non_null(cal__metadata_allocate(128));
    assert_int_equal(cal__metadata_bytes(), before + 256);
    assert_non_null(cal__metadata_allocate(129));
    assert_int_equal(cal__metadata_bytes(), before + 512);
    assert_int_equal(statistics().metadata_bytes, before + 512);
}

static void a_piece_may_exceed_a_chunk(void **state)
{
    size_t size = (size_t)3 << 20;
    unsigned char *memory = cal__metadata_allocate(size);
    assert_non_null(memory);
    assert_true(is_zero(memory, size));
    memset(memory, 1, size);
    assert_true(is_zero(cal__metadata_allocate(128), 128));
}

static void *allocate_metadata(void *argument)
{
    for (size_t i = 0; i < 500; i++) {
        size_t *memory = cal__metadata_allocate(128);
        require(memory != NULL && memory[0] == 0 && memory[15] == 0);
        memory[0] = memory[15] = (size_t)(uintptr_t)&i;
        require(memory[0] == memory[15]);
    }
    return argument;
}

static void metadata_is_thread_safe(void **state)
{
    pthread_t threads[THREADS];
    size_t before = cal__metadata_bytes();
    warm_up_threads(THREADS);
    size_t warm = cal__metadata_bytes();
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], allocate_metadata, NULL);
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    assert_true(warm >= before);
    assert_int_equal(cal__metadata_bytes() - warm, THREADS * 500 * 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_uncontended_lock_is_one_word),
        cmocka_unit_test(only_one_thread_is_inside),
        cmocka_unit_test(who_waits_is_woken),
        cmocka_unit_test(waiting_preserves_errno),
        cmocka_unit_test(a_reset_lock_is_free),
        cmocka_unit_test(metadata_is_aligned_and_zero),
        cmocka_unit_test(metadata_pieces_do_not_overlap),
        cmocka_unit_test(metadata_is_counted),
        cmocka_unit_test(a_piece_may_exceed_a_chunk),
        cmocka_unit_test(metadata_is_thread_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
