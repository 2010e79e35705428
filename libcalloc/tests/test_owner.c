/* The role owner: an add-on that serves every tenth request and all of 4096 bytes from ranges of its own. */
#include "support.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <calloc/hooks.h>

/* The owner: ranges of slots of one kernel page. */

enum { SLOT = 4096, SLOTS = 256, RANGES = 16 };
struct range {
    char *start; /* NULL: not mapped */
    size_t requested[SLOTS];
    _Atomic size_t live, live_bytes, allocations, allocated_bytes;
};
static struct range ranges[RANGES];
static atomic_flag lock = ATOMIC_FLAG_INIT;
static _Atomic bool claims = true, claims_all, says_empty;
static _Atomic size_t asked, claimed, freed, mapped, unmapped;
static struct cal_call last_claimed, last_freed;

static void acquire(void)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        sched_yield();
}

static void release(void)
{
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

static const struct cal_owner owner;

static void *take_slot(struct range *range, size_t bytes)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (range->requested[i] != 0)
            continue;
        range->requested[i] = bytes;
        range->live++;
        range->live_bytes += bytes;
        range->allocations++;
        range->allocated_bytes += bytes;
        return range->start + i * SLOT;
    }
    return NULL;
}

static void *take(size_t bytes)
{
    for (size_t i = 0; i < RANGES; i++) {
        if (ranges[i].start == NULL) {
            ranges[i].start = cal_range_map(&owner, SLOT * SLOTS, 1, &ranges[i]);
            if (ranges[i].start == NULL)
                return NULL;
            mapped++;
        }
        void *block = take_slot(&ranges[i], bytes);
        if (block != NULL)
            return block;
    }
    return NULL;
}

static void *owner_claim(const struct cal_call *call)
{
    require(call->size == sizeof *call && call->kind != 0 && call->alignment >= 16);
    size_t number = asked++;
    bool wanted = claims_all || number % 10 == 0 || call->bytes == SLOT;
    if (!claims || !wanted || call->bytes > SLOT || call->alignment > SLOT)
        return NULL;
    acquire();
    last_claimed = *call;
    void *block = take(call->bytes == 0 ? 1 : call->bytes);
    release();
    if (block == NULL)
        return NULL;
    claimed++;
    memset(block, call->zero ? 0 : 0xee, SLOT);
    return block;
}

/* Where what was asked for a block is kept, or NULL. */
static size_t *find(struct range *range, const void *block)
{
    size_t offset = (size_t)((const char *)block - range->start);
    require(offset < SLOT * SLOTS);
    bool live = offset % SLOT == 0 && range->requested[offset / SLOT] != 0;
    return live ? &range->requested[offset / SLOT] : NULL;
}

static bool owner_free(void *state, void *block, const struct cal_call *call)
{
    struct range *range = state;
    acquire();
    size_t *requested = find(range, block);
    if (requested != NULL) {
        last_freed = *call;
        freed++;
        range->live--;
        range->live_bytes -= *requested;
        *requested = 0;
        if (range->live == 0) {
            require(cal_range_unmap(&owner, range->start) == 0);
            memset(range, 0, sizeof *range);
            unmapped++;
        }
    }
    release();
    return requested != NULL;
}

static size_t owner_usable(void *state, const void *block)
{
    acquire();
    const size_t *requested = find(state, block);
    size_t usable = requested == NULL               ? 0
                    : says_empty && *requested == 1 ? CAL_RANGE_EMPTY
                                                    : *requested;
    release();
    return usable;
}

static bool owner_resize(void *state, void *block, size_t bytes)
{
    struct range *range = state;
    if (bytes > SLOT)
        return false;
    acquire();
    size_t *requested = find(range, block);
    range->live_bytes += bytes - *requested;
    if (bytes > *requested)
        range->allocated_bytes += bytes - *requested;
    *requested = bytes;
    release();
    return true;
}

static void owner_count(void *state, struct cal_range_counts *counts)
{
    const struct range *range = state;
    require(counts->size == sizeof *counts && counts->live == 0);
    counts->live = range->live;
    counts->live_bytes = range->live_bytes;
    counts->allocations = range->allocations;
    counts->allocated_bytes = range->allocated_bytes;
}

static bool owner_walk(void *state, bool (*visit)(void *block, size_t usable, void *argument),
                       void *argument)
{
    const struct range *range = state;
    for (size_t i = 0; i < SLOTS; i++)
        if (range->requested[i] != 0 &&
            !visit(range->start + i * SLOT, range->requested[i], argument))
            return false;
    return true;
}

static const struct cal_owner owner = {.size = sizeof owner,
                                       .claim = owner_claim,
                                       .deallocate = owner_free,
                                       .usable = owner_usable,
                                       .resize = owner_resize,
                                       .count = owner_count,
                                       .walk = owner_walk};
static const struct cal_lifecycle lifecycle = {.size = sizeof lifecycle,
                                               .fork_prepare = acquire,
                                               .fork_parent = release,
                                               .fork_child = release};
static const struct cal_hooks hooks = {.size = sizeof hooks,
                                       .version = CAL_HOOKS_VERSION,
                                       .name = "owner",
                                       .component_version = "1",
                                       .owner = &owner,
                                       .lifecycle = &lifecycle};

static int start_claiming(void **state)
{
    claims_all = false;
    return cal_hooks_register(&hooks);
}

static int stop_claiming(void **state)
{
    return cal_hooks_unregister(&hooks);
}

/* Claiming. */

enum { BLOCKS = 5000 };
static char *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static void every_tenth_request_is_claimed(void **state)
{
    size_t before[3] = {asked, claimed, freed};
    for (size_t i = 0; i < 1000; i++) {
        sizes[i] = 1 + i * 3;
        blocks[i] = malloc(sizes[i]);
        fill(blocks[i], sizes[i], i);
    }
    assert_int_equal(asked - before[0], 1000);
    assert_in_range(claimed - before[1], 100, 101);
    for (size_t i = 0; i < 1000; i++) {
        assert_true(is_filled(blocks[i], sizes[i], i));
        assert_true(malloc_usable_size(blocks[i]) >= sizes[i]);
        free(blocks[i]);
    }
    assert_int_equal(freed - before[2], claimed - before[1]);
}

static void all_of_a_size_are_claimed(void **state)
{
    size_t before = claimed;
    for (size_t i = 0; i < 500; i++) {
        blocks[i] = malloc(SLOT);
        assert_int_equal(malloc_usable_size(blocks[i]), SLOT);
        assert_int_equal((uintptr_t)blocks[i] % SLOT, 0);
    }
    assert_int_equal(claimed - before, 500);
    size_t gone = unmapped;
    for (size_t i = 0; i < 500; i++)
        free(blocks[i]);
    assert_true(unmapped > gone);
}

static void the_owner_knows_what_is_asked(void **state)
{
    claims_all = true;
    char *block = calloc(10, 20);
    assert_true(is_zero(block, 200));
    assert_true(last_claimed.zero);
    assert_int_equal(last_claimed.bytes, 200);
    assert_int_equal(last_claimed.kind, CAL_CALL_MALLOC);
    free_sized(block, 200);
    assert_int_equal(last_freed.bytes, 200);
    block = aligned_alloc(2048, 10);
    assert_int_equal((uintptr_t)block % 2048, 0);
    assert_int_equal(last_claimed.alignment, 2048);
    free_aligned_sized(block, 2048, 10);
    assert_int_equal(last_freed.alignment, 2048);
    cal_deallocate(cal_allocate(10));
    assert_int_equal(last_claimed.kind, CAL_CALL_NATIVE);
    assert_int_equal(last_freed.kind, CAL_CALL_NATIVE);
    assert_true(last_freed.bytes == CAL_CALL_UNKNOWN);
    free(malloc(0));
    assert_int_equal(last_claimed.bytes, 0);
    void *pointer;
    assert_int_equal(posix_memalign(&pointer, 64, 100), 0);
    assert_int_equal(last_claimed.alignment, 64);
    free(pointer);
}

static void claimed_blocks_are_resized(void **state)
{
    claims_all = true;
    char *block = malloc(100);
    fill(block, 100, 1);
    assert_ptr_equal(realloc(block, 3000), block);
    assert_int_equal(malloc_usable_size(block), 3000);
    assert_ptr_equal(cal_try_reallocate_in_place(block, 200), block);
    assert_null(cal_try_reallocate_in_place(block, 5000));
    char *moved = realloc(block, 10000);
    assert_ptr_not_equal(moved, block);
    assert_true(is_filled(moved, 100, 1));
    size_t before = claimed;
    char *back = realloc(moved, 100);
    assert_int_equal(claimed, before + 1);
    assert_true(is_filled(back, 100, 1));
    assert_null(realloc(back, SIZE_MAX / 2));
    assert_int_equal(errno, ENOMEM);
    assert_null(realloc(back, 0));
}

static void a_block_may_be_empty(void **state)
{
    claims_all = true;
    says_empty = true;
    char *block = malloc(0);
    assert_int_equal(malloc_usable_size(block), 0);
    assert_int_equal(cal_allocation_size(block), 0);
    char *moved = realloc(block, 5000);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    free(moved);
    block = malloc(0);
    assert_ptr_equal(realloc(block, 2), block);
    free(block);
    free(malloc(0));
    says_empty = false;
}

static void *second_claim(const struct cal_call *call)
{
    require(!claims || (call->bytes != SLOT && !claims_all));
    return NULL;
}

static void owners_are_asked_in_order(void **state)
{
    static struct cal_owner second;
    static struct cal_hooks second_hooks;
    second = owner;
    second.claim = second_claim;
    second_hooks = hooks;
    second_hooks.owner = &second;
    second_hooks.lifecycle = NULL;
    second_hooks.name = "second";
    assert_int_equal(cal_hooks_register(&second_hooks), 0);
    size_t before = claimed;
    for (size_t i = 0; i < 100; i++)
        free(malloc(SLOT));
    assert_int_equal(claimed, before + 100);
    assert_int_equal(cal_hooks_unregister(&second_hooks), 0);
}

static void what_was_claimed_stays_the_owners(void **state)
{
    claims_all = true;
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = malloc(300);
        fill(blocks[i], 300, i);
    }
    assert_int_equal(cal_hooks_unregister(&hooks), 0);
    size_t before[2] = {freed, asked};
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(malloc_usable_size(blocks[i]), 300);
        blocks[i] = realloc(blocks[i], i % 2 == 0 ? 200 : 20000);
        assert_true(is_filled(blocks[i], 200, i));
        free(blocks[i]);
    }
    assert_int_equal(freed - before[0], 100);
    assert_int_equal(asked, before[1]);
    assert_int_equal(cal_hooks_register(&hooks), 0);
}

static void without_memory_the_core_serves(void **state)
{
    claims_all = true;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(64);
        assert_non_null(blocks[i]);
    }
    size_t before = freed;
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    assert_int_equal(freed - before, SLOTS * RANGES);
}

/* Errors. */

static void *claim_one(void)
{
    claims_all = true;
    return opaque(malloc(100));
}

static void free_twice(void)
{
    void *keep = claim_one();
    void *block = claim_one();
    free(block);
    free(blame(block));
    free(keep);
}

static void free_inside(void)
{
    free(blame((char *)claim_one() + 16));
}

static void resize_inside(void)
{
    void *block = realloc(blame((char *)claim_one() + 16), 10);
    free(block);
}

static void ask_inside(void)
{
    size_t usable = malloc_usable_size(blame((char *)claim_one() + 16));
    free(malloc(usable));
}

static void wrong_pointers_end_the_process(void **state)
{
    assert_dies_with("invalid free", free_twice);
    assert_dies_with("invalid free", free_inside);
    assert_dies_with("invalid realloc", resize_inside);
    assert_dies_with("invalid malloc_usable_size", ask_inside);
}

/* Looking at it from outside. */

static bool add(void *block, size_t usable, void *argument)
{
    size_t *sum = argument;
    sum[0]++;
    sum[1] += usable;
    return true;
}

static bool add_range(const struct cal_region *region, void *argument)
{
    size_t *sum = argument;
    if (region->kind == CAL_REGION_RANGE) {
        sum[0]++;
        sum[1] += region->live;
        require(region->length == SLOT * SLOTS && region->block_size == 0);
        require(region->blocks >= region->live);
    }
    return true;
}

static void walks_and_statistics_are_exact(void **state)
{
    struct random random = {3};
    size_t claimed_before = claimed;
    struct cal_statistics then = statistics();
    for (size_t i = 0; i < 3000; i++)
        blocks[i] = malloc(random_size(&random, 13));
    for (size_t i = 0; i < 3000; i += 3)
        blocks[i] = realloc(blocks[i], random_size(&random, 12));
    for (size_t i = 1; i < 3000; i += 3)
        free(blocks[i]);
    struct cal_statistics now = statistics();
    assert_int_equal(now.active_allocations - then.active_allocations, 2000);
    assert_int_equal(now.allocations - now.deallocations, now.active_allocations);
    assert_int_equal(now.total_allocated - now.total_freed, now.active_bytes);
    size_t sum[2] = {0, 0}, in_ranges[2] = {0, 0};
    assert_true(cal_walk_blocks(add, sum));
    assert_int_equal(sum[0], now.active_allocations);
    if (!test_is_annotated())
        assert_int_equal(sum[1], now.active_bytes);
    assert_true(cal_walk_regions(add_range, in_ranges));
    assert_int_equal(in_ranges[0], mapped - unmapped);
    assert_int_equal(in_ranges[1], claimed - freed);
    assert_true(claimed > claimed_before + 100);
    for (size_t i = 0; i < 3000; i++)
        if (i % 3 != 1)
            free(blocks[i]);
    now = statistics();
    assert_int_equal(now.active_allocations, then.active_allocations);
    assert_int_equal(now.active_bytes, then.active_bytes);
    assert_true(now.allocations >= then.allocations + 3000);
}

static _Atomic size_t seen_allocated, seen_freed, seen_bytes;

static void see_allocated(void *block, size_t requested, size_t usable)
{
    require(usable >= requested);
    seen_allocated++;
    seen_bytes += usable;
}

static void see_freeing(void *block, size_t usable)
{
    seen_freed++;
    seen_bytes -= usable;
}

static void see_resized(void *block, size_t old_usable, size_t requested, size_t usable)
{
    require(usable >= requested);
    seen_bytes += usable - old_usable;
}

static void observers_see_it_too(void **state)
{
    static const struct cal_observer observer = {.size = sizeof observer,
                                                 .allocated = see_allocated,
                                                 .freeing = see_freeing,
                                                 .resized = see_resized};
    static struct cal_hooks observing;
    observing = hooks;
    observing.owner = NULL;
    observing.lifecycle = NULL;
    observing.observer = &observer;
    assert_int_equal(cal_hooks_register(&observing), 0);
    for (size_t i = 0; i < 500; i++)
        blocks[i] = malloc(i * 10);
    for (size_t i = 0; i < 500; i += 5)
        blocks[i] = realloc(blocks[i], i + 1);
    for (size_t i = 0; i < 500; i++)
        free(blocks[i]);
    assert_int_equal(seen_allocated, seen_freed);
    assert_int_equal(seen_bytes, 0);
    assert_int_equal(cal_hooks_unregister(&observing), 0);
}

/* Threads and processes. */

enum { THREADS = 4, PLACES = 256 };
static void *_Atomic places[PLACES];
static _Atomic bool stop;

static void *exchange(void *argument)
{
    struct random random = {(uintptr_t)argument + 1};
    for (size_t i = 0; !stop && i < test_repeat(100000); i++) {
        size_t size = random_size(&random, 12) + sizeof(size_t);
        size_t *block = i % 3 == 0 ? calloc(1, size) : malloc(size);
        require(block != NULL);
        *block = size;
        fill(block + 1, (size - sizeof size) % 100, size);
        block = atomic_exchange(&places[random_below(&random, PLACES)], block);
        if (block == NULL)
            continue;
        require(is_filled(block + 1, (*block - sizeof *block) % 100, *block));
        free(block);
    }
    return NULL;
}

static void free_places(void)
{
    for (size_t i = 0; i < PLACES; i++)
        free(atomic_exchange(&places[i], NULL));
}

static void threads_free_each_others_blocks(void **state)
{
    pthread_t threads[THREADS];
    stop = false;
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], exchange, (void *)i);
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    free_places();
    assert_int_equal(claimed, freed);
    assert_int_equal(mapped, unmapped);
}

static void a_forked_child_goes_on(void **state)
{
    pthread_t threads[THREADS];
    stop = false;
    for (size_t i = 0; i < THREADS; i++)
        start_thread(&threads[i], exchange, (void *)i);
    for (size_t round = 0; round < (test_is_slow() ? 3 : 40); round++) {
        fflush(NULL);
        pid_t child = fork();
        require(child >= 0);
        if (child == 0) {
            alarm(60);
            free_places();
            for (size_t i = 0; i < 500; i++)
                blocks[i] = malloc(i * 10);
            for (size_t i = 0; i < 500; i++)
                free(blocks[i]);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    stop = true;
    for (size_t i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    free_places();
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
    free(malloc(SLOT));
    late_block = malloc(SLOT);
}

static void *end_late(void *argument)
{
    pthread_setspecific(late_key, &late_key);
    free(malloc(10));
    return NULL;
}

static void ended_threads_are_served(void **state)
{
    pthread_t thread;
    assert_int_equal(pthread_key_create(&late_key, use_late), 0);
    start_thread(&thread, end_late, NULL);
    join_thread(thread);
    assert_int_equal(malloc_usable_size(late_block), SLOT);
    free(late_block);
    pthread_key_delete(late_key);
}

/* An owner that says up to which size it wants to be asked. */

static _Atomic size_t limited_asked, limited_largest;

static void *limited_claim(const struct cal_call *call)
{
    limited_asked++;
    limited_largest = call->bytes > limited_largest ? call->bytes : limited_largest;
    return NULL;
}

static void ask_for_sizes(size_t questions, size_t largest)
{
    limited_asked = limited_largest = 0;
    for (size_t size = 0; size < 3000; size++)
        free(size % 2 == 0 ? malloc(size) : calloc(size, 1));
    free(malloc(131072));
    free(malloc(5000000));
    assert_int_equal(limited_asked, questions);
    assert_int_equal(limited_largest, largest);
}

static void only_requests_of_a_size_are_asked_for(void **state)
{
    static struct cal_owner small, any;
    static struct cal_hooks small_hooks, any_hooks;
    small = any = owner;
    small.claim = any.claim = limited_claim;
    small.claims = 100;
    small_hooks = any_hooks = hooks;
    small_hooks.lifecycle = any_hooks.lifecycle = NULL;
    small_hooks.owner = &small;
    any_hooks.owner = &any;
    assert_int_equal(cal_hooks_register(&small_hooks), 0);
    ask_for_sizes(101, 100);
    assert_int_equal(cal_hooks_register(&any_hooks), 0);
    ask_for_sizes(101 + 3002, 5000000);
    assert_int_equal(cal_hooks_unregister(&any_hooks), 0);
    ask_for_sizes(101, 100);
    assert_int_equal(cal_hooks_unregister(&small_hooks), 0);
    ask_for_sizes(0, 0);
    /* One of an age that did not know the limit is asked for all. */
    small.size = offsetof(struct cal_owner, claims);
    assert_int_equal(cal_hooks_register(&small_hooks), 0);
    ask_for_sizes(3002, 5000000);
    assert_int_equal(cal_hooks_unregister(&small_hooks), 0);
    /* The smallest limit: requests for a byte, and for none. */
    small.size = sizeof small;
    small.claims = 1;
    assert_int_equal(cal_hooks_register(&small_hooks), 0);
    ask_for_sizes(2, 1);
    assert_int_equal(cal_hooks_unregister(&small_hooks), 0);
}

#define claiming(function) cmocka_unit_test_setup_teardown(function, start_claiming, stop_claiming)

int main(void)
{
    warm_up_threads(THREADS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_requests_of_a_size_are_asked_for),
        claiming(every_tenth_request_is_claimed),
        claiming(all_of_a_size_are_claimed),
        claiming(the_owner_knows_what_is_asked),
        claiming(claimed_blocks_are_resized),
        claiming(a_block_may_be_empty),
        claiming(owners_are_asked_in_order),
        claiming(what_was_claimed_stays_the_owners),
        claiming(without_memory_the_core_serves),
        claiming(wrong_pointers_end_the_process),
        claiming(walks_and_statistics_are_exact),
        claiming(observers_see_it_too),
        claiming(threads_free_each_others_blocks),
        claiming(a_forked_child_goes_on),
        claiming(ended_threads_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
