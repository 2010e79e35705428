/* Memory runs out under RLIMIT_AS and RLIMIT_DATA: NULL with ENOMEM, what is live stays good, and
 * everything is there again once it is freed. */
#include <calloc/calloc.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
/* After the headers that it needs. */
#include <cmocka.h>

#define ROOM    ((size_t)128 << 20) /* what a test may take until it is refused */
#define THREADS 4

static int resource;
static struct rlimit unlimited;

/* What the kernel counts against the limit now, in bytes. */
static size_t usage(void)
{
    size_t size = 0;
    size_t data = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %*u %*u %*u %*u %zu", &size, &data), 2);
    fclose(file);
    return (resource == RLIMIT_AS ? size : data) * (size_t)sysconf(_SC_PAGESIZE);
}

static int limit_to_room(int which)
{
    resource = which;
    if (getrlimit(which, &unlimited) != 0)
        return -1;
    malloc_trim(0);
    struct rlimit limited = {usage() + ROOM, unlimited.rlim_max};
    return setrlimit(which, &limited);
}

static int limit_address_space(void **state)
{
    (void)state;
    return limit_to_room(RLIMIT_AS);
}

static int limit_data(void **state)
{
    (void)state;
    return limit_to_room(RLIMIT_DATA);
}

static int lift(void **state)
{
    (void)state;
    return setrlimit(resource, &unlimited);
}

static size_t live(void)
{
    struct cal_statistics now = {.size = sizeof now};
    assert_int_equal(cal_stats(&now), 0);
    return now.active_allocations;
}

/* Blocks are linked through their first word; the second one says which they are. */
struct block {
    struct block *next;
    size_t number;
};

/* Allocates until NULL. With ENOMEM in errno it returns how many, else 0. */
static size_t fill(struct block **list, size_t size)
{
    size_t count = 0;
    *list = NULL;
    errno = 0;
    for (struct block *block; (block = malloc(size)) != NULL; count++) {
        block->next = *list;
        block->number = count;
        *list = block;
    }
    return errno == ENOMEM ? count : 0;
}

/* Frees all, or every second one; true when each was as it was left. */
static bool drain(struct block **list, size_t count, size_t every)
{
    bool good = true;
    struct block *kept = NULL;
    struct block **last = &kept;
    for (struct block *block = *list; block != NULL;) {
        struct block *next = block->next;
        good = good && block->number == --count;
        if (count % every == 0) {
            free(block);
        } else {
            *last = block;
            last = &block->next;
        }
        block = next;
    }
    *last = NULL;
    *list = kept;
    return good && count == 0;
}

static const size_t sizes[] = {16,     24,     64,      100,     512,     1000,
                               4096,   8192,   10000,   40000,   65536,   131072,
                               131073, 400000, 1 << 20, 1200000, 5000000, 32 << 20};
#define SIZES (sizeof sizes / sizeof *sizes)

static void every_size_is_refused_and_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        struct block *list;
        size_t before = live();
        size_t first = fill(&list, sizes[i]);
        size_t usable = malloc_usable_size(list);
        if ((first + 1) * usable < ROOM / 10 * 9)
            fail_msg("only %zu blocks of %zu bytes", first, sizes[i]);
        assert_int_equal(live(), before + first);
        assert_true(drain(&list, first, 1));
        assert_int_equal(live(), before);
        size_t second = fill(&list, sizes[i]);
        assert_true(drain(&list, second, 1));
        if (second < first - first / 50)
            fail_msg("%zu bytes: %zu blocks, and %zu the second time", sizes[i], first, second);
    }
}

/* What is free in one shape serves any other. */
static void memory_changes_its_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        struct block *list;
        size_t count = fill(&list, sizes[(i * 7) % SIZES]);
        assert_true(count != 0 && drain(&list, count, 1));
        void *large = malloc(ROOM / 2);
        assert_non_null(large);
        free(large);
    }
}

static void half_freed_serves_half(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        struct block *list;
        struct block *again;
        size_t before = live();
        size_t count = fill(&list, sizes[i]);
        assert_true(count != 0 && drain(&list, count, 2));
        size_t second = fill(&again, sizes[i]);
        if (second + 1 < count / 2 - count / 100)
            fail_msg("%zu bytes: %zu blocks, half freed, %zu again", sizes[i], count, second);
        assert_true(drain(&again, second, 1));
        for (struct block *next; list != NULL; list = next) {
            next = list->next;
            free(list);
        }
        assert_int_equal(live(), before);
    }
}

static void the_rest_of_the_family_says_so_too(void **state)
{
    (void)state;
    /* From large to small, so that no hole is left for the calls below. */
    struct block *lists[SIZES];
    size_t counts[SIZES];
    char *block = malloc(1000);
    assert_non_null(block);
    memset(block, 'x', 1000);
    for (size_t i = SIZES; i-- > 0;)
        counts[i] = fill(&lists[i], sizes[i]);

    void *result = (void *)&result;
    errno = 0;
    void *zeroed = calloc(1000, 1000);
    int calloc_error = errno;
    errno = 0;
    void *moved = realloc(block, 3 << 20);
    int realloc_error = errno;
    errno = 0;
    void *aligned = aligned_alloc(4096, 1 << 20);
    int aligned_error = errno;
    errno = EDOM;
    int posix_result = posix_memalign(&result, 4096, 1 << 20);
    int posix_errno = errno;
    errno = 0;
    void *native = cal_allocate(1 << 20);
    int native_error = errno;
    errno = EDOM;
    void *in_place = cal_try_reallocate_in_place(block, 3 << 20);
    int in_place_errno = errno;

    for (size_t i = 0; i < SIZES; i++)
        assert_true(drain(&lists[i], counts[i], 1));
    assert_null(zeroed);
    assert_int_equal(calloc_error, ENOMEM);
    assert_null(moved);
    assert_int_equal(realloc_error, ENOMEM);
    assert_null(aligned);
    assert_int_equal(aligned_error, ENOMEM);
    assert_int_equal(posix_result, ENOMEM);
    assert_int_equal(posix_errno, EDOM);
    assert_ptr_equal(result, &result);
    assert_null(native);
    assert_int_equal(native_error, ENOMEM);
    assert_null(in_place);
    assert_int_equal(in_place_errno, EDOM);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(block[i], 'x');
    block = realloc(block, 3 << 20);
    assert_non_null(block);
    free(block);
}

/* A thread that never had memory asks for its first when there is none. */
static pthread_barrier_t barrier;

static void *first_request(void *argument)
{
    (void)argument;
    pthread_barrier_wait(&barrier);
    errno = 0;
    void *block = malloc(100000);
    bool good = block != NULL || errno == ENOMEM;
    free(block);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    block = malloc(100000);
    good = good && block != NULL;
    free(block);
    return (void *)(uintptr_t)good;
}

static void first_request_of_a_thread(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct block *lists[SIZES];
    size_t counts[SIZES];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, first_request, NULL), 0);
    for (size_t i = SIZES; i-- > 0;)
        counts[i] = fill(&lists[i], sizes[i]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < SIZES; i++)
        drain(&lists[i], counts[i], 1);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < THREADS; i++) {
        void *good = NULL;
        pthread_join(threads[i], &good);
        assert_non_null(good);
    }
    pthread_barrier_destroy(&barrier);
}

/* All threads run into the limit at once, with different sizes, twice. */
struct filler {
    pthread_t thread;
    size_t size;
    bool good;
};

static void *fill_and_drain(void *argument)
{
    struct filler *filler = argument;
    filler->good = true;
    for (int i = 0; i < 2; i++) {
        struct block *list;
        errno = 0;
        size_t count = fill(&list, filler->size);
        int error = errno;
        filler->good = filler->good && error == ENOMEM && drain(&list, count, 1);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void threads_at_the_limit(void **state)
{
    (void)state;
    static const size_t thread_sizes[THREADS] = {32, 1000, 20000, 300000};
    struct filler fillers[THREADS];
    size_t before = live();
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        fillers[i].size = thread_sizes[i];
        assert_int_equal(pthread_create(&fillers[i].thread, NULL, fill_and_drain, &fillers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(fillers[i].thread, NULL);
        assert_true(fillers[i].good);
    }
    pthread_barrier_destroy(&barrier);
    assert_int_equal(live(), before);
    void *large = malloc(ROOM / 2);
    assert_non_null(large);
    free(large);
}

#define UNDER_BOTH(test)                                              \
    {"address space: " #test, test, limit_address_space, lift, NULL}, \
    {                                                                 \
        "data: " #test, test, limit_data, lift, NULL                  \
    }

/* An argument names tests that are left out. */
int main(int count, char **arguments)
{
    if (count > 1)
        cmocka_set_skip_filter(arguments[1]);
    const struct CMUnitTest tests[] = {
        UNDER_BOTH(every_size_is_refused_and_comes_back),
        UNDER_BOTH(memory_changes_its_shape),
        UNDER_BOTH(half_freed_serves_half),
        UNDER_BOTH(the_rest_of_the_family_says_so_too),
        UNDER_BOTH(first_request_of_a_thread),
        UNDER_BOTH(threads_at_the_limit),
    };
    return cmocka_run_group_tests_name("exhaustion", tests, NULL, NULL);
}
