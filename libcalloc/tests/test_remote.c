/* Frees of other threads' blocks: what is gathered on its way home, and what the owner hears of it. */
#include "support.h"

#include <calloc/hooks.h>
#include <semaphore.h>
#include <sys/wait.h>

#include "gather.h"

/* More than a thread frees singly before it gathers, and no multiple of a chain. */
enum { BLOCKS = 345, SIZE = 64 };
static void *blocks[BLOCKS];

/* Nothing is gathered then, as for observers. */
static bool annotated;

/* A thread that does one thing at a time and stays, so that what it gathered stays too. */
static sem_t asked, done;
static void (*task)(void);

static void *work(void *argument)
{
    for (;;) {
        sem_wait(&asked);
        if (task == NULL)
            return argument;
        task();
        sem_post(&done);
    }
}

static void in_helper(void (*function)(void))
{
    task = function;
    sem_post(&asked);
    sem_wait(&done);
}

static void get_heap(void)
{
    free(opaque(malloc(1)));
}

static int start_helper(void **state)
{
    static pthread_t helper;
    *state = &helper;
    sem_init(&asked, 0, 0);
    sem_init(&done, 0, 0);
    start_thread(&helper, work, NULL);
    in_helper(get_heap);
    return 0;
}

static int stop_helper(void **state)
{
    task = NULL;
    sem_post(&asked);
    join_thread(*(pthread_t *)*state);
    return 0;
}

static void allocate_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(SIZE);
        require(blocks[i] != NULL);
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

/* What the calling thread has gathered and not sent. */
static size_t gathered(void)
{
    size_t count = 0;
    for (size_t i = 0; i < CAL_GATHER_CHAINS; i++) {
        void *block = cal__thread_gather->chain[i].first;
        for (; block != NULL; block = cal__block_next(block))
            count++;
    }
    return count;
}

static _Atomic size_t in_chains;

static void count_gathered(void)
{
    in_chains = gathered();
}

static void free_all_and_count(void)
{
    free_all();
    count_gathered();
}

static bool count_known(void *block, size_t usable, void *argument)
{
    (void)usable;
    for (size_t i = 0; i < BLOCKS; i++)
        *(size_t *)argument += blocks[i] == block;
    return true;
}

static void what_is_gathered_counts_as_free(void **state)
{
    struct cal_statistics before = statistics();
    allocate_all();
    in_helper(free_all_and_count);
    assert_true(annotated || in_chains > 0);
    struct cal_statistics after = statistics();
    assert_int_equal(after.active_allocations, before.active_allocations);
    assert_int_equal(after.active_bytes, before.active_bytes);
    assert_int_equal(after.allocations - before.allocations, BLOCKS);
    assert_int_equal(after.deallocations - before.deallocations, BLOCKS);
    size_t known = 0;
    assert_true(cal_walk_blocks(count_known, &known));
    assert_int_equal(known, 0);
}

static void trim(void)
{
    cal_trim();
    count_gathered();
}

static void refill(void)
{
    static void *held[2000];
    for (size_t i = 0; i < 2000; i++)
        held[i] = malloc(48);
    count_gathered();
    for (size_t i = 0; i < 2000; i++)
        free(held[i]);
}

static void trimming_and_refilling_send_it_home(void **state)
{
    static void (*const ways[])(void) = {trim, refill};
    for (size_t i = 0; i < 2; i++) {
        allocate_all();
        in_helper(free_all_and_count);
        assert_true(annotated || in_chains > 0);
        in_helper(ways[i]);
        assert_int_equal(in_chains, 0);
    }
}

/* Slabs of blocks of SIZE bytes. */
static bool count_slab(const struct cal_region *region, void *argument)
{
    *(size_t *)argument +=
        region->kind == CAL_REGION_SLAB && region->block_size == charged_for(SIZE);
    return true;
}

static size_t slabs(void)
{
    size_t count = 0;
    require(cal_walk_regions(count_slab, &count));
    return count;
}

enum { MANY = 20000 };
static void *many[MANY];
static size_t share;

/* One block of `share`. */
static void free_share(void)
{
    for (size_t i = 0; i < MANY; i += share)
        free(many[i]);
}

static void free_others(void)
{
    for (size_t i = 0; i < MANY; i++)
        if (i % share != 0)
            free(many[i]);
}

static void refill_and_trim(void)
{
    refill();
    cal_trim();
    count_gathered();
}

/* In whatever order the owner and the other thread free, no page stays that is empty. */
static void empty_pages_are_found(void **state)
{
    cal_trim();
    size_t before = slabs();
    for (share = 2; share <= MANY; share *= 10) {
        for (size_t order = 0; order < 4; order++) {
            for (size_t i = 0; i < MANY; i++)
                many[i] = malloc(SIZE);
            if (order == 0)
                in_helper(free_share);
            if (order < 2)
                free_others();
            if (order == 1)
                in_helper(free_share);
            if (order == 2)
                in_helper(free_others);
            if (order >= 2)
                free_share();
            if (order == 3)
                in_helper(free_others);
            in_helper(refill_and_trim);
            refill();
            /* The current one and one that waits. */
            assert_in_range(slabs(), 0, before + 2);
        }
    }
}

static void free_one_twice(void)
{
    for (size_t i = 0; i < 100; i++)
        free(blocks[i]);
    require(annotated || gathered() > 0);
    free(blame(blocks[99]));
}

static void free_inside(void)
{
    for (size_t i = 0; i < 100; i++)
        free(blocks[i]);
    free(blame((char *)blocks[100] + 16));
}

static void (*wrong)(void);

static void *do_wrong(void *argument)
{
    get_heap();
    wrong();
    return argument;
}

static void wrong_in_another_thread(void)
{
    pthread_t thread;
    allocate_all();
    start_thread(&thread, do_wrong, NULL);
    join_thread(thread);
}

static void errors_are_found_while_gathering(void **state)
{
    wrong = free_one_twice;
    assert_dies_with("double free", wrong_in_another_thread);
    wrong = free_inside;
    assert_dies_with("invalid free", wrong_in_another_thread);
}

static void *allocate_and_end(void *argument)
{
    allocate_all();
    in_helper(free_all_and_count);
    return argument;
}

/* The chains' pages lose their owner first. */
static void the_owner_may_end_first(void **state)
{
    warm_up_threads(2);
    struct cal_statistics before = statistics();
    pthread_t owner;
    start_thread(&owner, allocate_and_end, NULL);
    join_thread(owner);
    assert_true(annotated || in_chains > 0);
    assert_int_equal(statistics().active_allocations, before.active_allocations);
    in_helper(refill_and_trim);
    assert_int_equal(in_chains, 0);
    assert_int_equal(statistics().active_allocations, before.active_allocations);
}

static void *free_and_end(void *argument)
{
    get_heap();
    free_all_and_count();
    return argument;
}

static void *use_again(void *argument)
{
    get_heap();
    require(gathered() == 0);
    return argument;
}

/* Its heap goes to the next thread, with nothing in it. */
static void the_freeing_thread_may_end_first(void **state)
{
    warm_up_threads(2);
    struct cal_statistics before = statistics();
    for (size_t i = 0; i < 10; i++) {
        pthread_t thread;
        allocate_all();
        start_thread(&thread, free_and_end, NULL);
        join_thread(thread);
        start_thread(&thread, use_again, NULL);
        join_thread(thread);
    }
    assert_int_equal(statistics().active_allocations, before.active_allocations);
}

/* A thread that never allocated has no table. */
static void *free_without_heap(void *argument)
{
    free_all();
    require(gathered() == 0);
    return argument;
}

static void threads_without_heap_free_singly(void **state)
{
    size_t before = statistics().active_allocations;
    pthread_t thread;
    allocate_all();
    start_thread(&thread, free_without_heap, NULL);
    join_thread(thread);
    assert_in_range(statistics().active_allocations, 0, before + 1);
}

/* The child has the chains of threads that it does not have. */
static void a_forked_child_has_what_others_gathered(void **state)
{
    allocate_all();
    in_helper(free_all_and_count);
    assert_true(annotated || in_chains > 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        size_t known = 0;
        require(cal_walk_blocks(count_known, &known) && known == 0);
        allocate_all();
        free_all();
        cal_trim();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Pages that share a place in the table turn each other out; nothing is lost. */
static void free_in_turns(void)
{
    for (size_t i = 0; i < MANY; i++)
        free(many[i * 7919 % MANY]);
}

static void many_pages_at_a_time(void **state)
{
    struct cal_statistics before = statistics();
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++)
            many[i] = malloc(1 + i % 1500);
        in_helper(free_in_turns);
        assert_int_equal(statistics().active_allocations, before.active_allocations);
    }
}

/* A block of several slots comes home with all of them. */
static void merged_blocks_count_all_their_slots(void **state)
{
    struct cal_statistics before = statistics();
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = realloc(malloc(500), 1500);
            require(blocks[i] != NULL);
        }
        in_helper(free_all);
        struct cal_statistics after = statistics();
        assert_int_equal(after.active_allocations, before.active_allocations);
        assert_int_equal(after.active_bytes, before.active_bytes);
        refill();
        cal_trim();
        after = statistics();
        assert_int_equal(after.active_allocations, before.active_allocations);
        assert_int_equal(after.active_bytes, before.active_bytes);
    }
}

/* Pages of two owners can have the same origin: their keys differ by as much as their starts. Twelve
 * threads in turn leave some such pages that also share a chain of the table. */
enum { OWNERS = 12, ROUNDS = 20, ROUND = 8192 };
static void **owned[OWNERS];
static pthread_barrier_t turn;

static void *own(void *argument)
{
    size_t self = (size_t)argument;
    get_heap();
    for (size_t i = 0; i < OWNERS * ROUNDS; i++) {
        for (size_t j = 0; i % OWNERS == self && j < ROUND; j++)
            owned[self][i / OWNERS * ROUND + j] = malloc(SIZE);
        pthread_barrier_wait(&turn);
    }
    pthread_barrier_wait(&turn);
    return NULL;
}

static struct cal__page *page_of(const void *block)
{
    struct cal__page *page = cal__map_find(cal__granule_of(block));
    require(page != NULL);
    return page;
}

/* Frees blocks of two such pages in turn; true when there were some. */
static bool free_where_origins_meet(void **first, void **second)
{
    for (size_t i = 2000; i + 4 < ROUNDS * ROUND; i += 512) {
        if (first[i] == NULL || first[i + 3] == NULL)
            continue;
        const struct cal__page *one = page_of(first[i]);
        if (page_of(first[i + 3]) != one)
            continue;
        for (size_t j = 2000; j < ROUNDS * ROUND; j += 512) {
            if (second[j] == NULL)
                continue;
            const struct cal__page *other = page_of(second[j]);
            if (other->origin != one->origin || other == one ||
                cal__gather_place(cal__page_first(other)) !=
                    cal__gather_place(cal__page_first(one)))
                continue;
            for (size_t k = 0; k < 3; k++)
                free(first[i + k]);
            free(second[j]);
            free(first[i + 3]);
            /* The links of what is gathered stay in the page. */
            for (void *block = cal__gather_first(cal__thread_heap, one); block != NULL;
                 block = cal__block_next(block))
                assert_ptr_equal(page_of(block), one);
            memset(&first[i], 0, 4 * sizeof *first);
            second[j] = NULL;
            return true;
        }
    }
    return false;
}

static void a_chain_is_of_one_page_though_origins_meet(void **state)
{
    if (annotated)
        return;
    pthread_t threads[OWNERS];
    pthread_barrier_init(&turn, NULL, OWNERS + 1);
    for (size_t i = 0; i < OWNERS; i++) {
        owned[i] = calloc(ROUNDS * ROUND, sizeof(void *));
        assert_non_null(owned[i]);
        start_thread(&threads[i], own, (void *)i);
    }
    for (size_t i = 0; i < OWNERS * ROUNDS; i++)
        pthread_barrier_wait(&turn);
    /* So that this thread gathers. */
    for (size_t i = 0; i < 100; i++) {
        free(owned[5][i]);
        owned[5][i] = NULL;
    }
    bool met = false;
    for (size_t i = 0; i < OWNERS; i++)
        for (size_t j = 0; j < OWNERS; j++)
            met |= i != j && free_where_origins_meet(owned[i], owned[j]);
    if (!met)
        print_message("no two pages met: nothing was tried\n");
    pthread_barrier_wait(&turn);
    for (size_t i = 0; i < OWNERS; i++) {
        join_thread(threads[i]);
        for (size_t j = 0; j < ROUNDS * ROUND; j++)
            free(owned[i][j]);
        free(owned[i]);
    }
    pthread_barrier_destroy(&turn);
}

int main(void)
{
#define helped(test) cmocka_unit_test_setup_teardown(test, start_helper, stop_helper)
    const struct CMUnitTest tests[] = {
        helped(what_is_gathered_counts_as_free),
        helped(trimming_and_refilling_send_it_home),
        helped(empty_pages_are_found),
        cmocka_unit_test(errors_are_found_while_gathering),
        helped(the_owner_may_end_first),
        cmocka_unit_test(the_freeing_thread_may_end_first),
        cmocka_unit_test(threads_without_heap_free_singly),
        helped(a_forked_child_has_what_others_gathered),
        helped(many_pages_at_a_time),
        helped(merged_blocks_count_all_their_slots),
        cmocka_unit_test(a_chain_is_of_one_page_though_origins_meet),
    };
    annotated = test_is_annotated();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
