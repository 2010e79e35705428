/* Blocks with pages of their own between guard pages, registered with the core. Each test runs in a child with
 * settings of its own, and by both kinds of guards. */
#include "pages_support.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <calloc/calloc.h>

#include "guard.h"

static void passes_by_all(void (*function)(void))
{
    passes_with(OWN, function);
    passes_with(PROTECTED, function);
    passes_with(FIRST, function);
}

static uintptr_t end_of(const void *block)
{
    return (uintptr_t)block + malloc_usable_size(opaque((void *)block));
}

static void ends_at_guard(size_t size)
{
    char *block = malloc(size);
    size_t slack = -size % 16;
    require(block != NULL && (uintptr_t)block % 16 == 0);
    require(malloc_usable_size(block) == size);
    require(is_zero(block, size));
    require(((uintptr_t)block + size + slack) % page == 0);
    require(!can_touch(block + size + slack));
    require(can_touch(block) && can_touch(block + size - 1));
    char *start = block - (uintptr_t)block % page;
    require(!can_touch(start - 1));
    memset(block, 0x5a, size);
    free(block);
    require(!can_touch(block) && !can_touch(block + size - 1));
}

static void blocks_end_at_guards_here(void)
{
    for (size_t size = 1; size < 3 * page; size += 1 + size / 16)
        ends_at_guard(size);
    for (size_t size = 16; size <= 131072; size *= 2)
        for (size_t more = 0; more < 3; more++)
            ends_at_guard(size - more);
    /* Larger ones are the core's. */
    char *large = malloc(131073);
    require(cal__pages_find(large, NULL) == CAL_PAGES_FOREIGN);
    free(large);
}

static void blocks_end_at_guards(void **state)
{
    passes_by_all(blocks_end_at_guards_here);
}

static void blocks_are_zero_here(void)
{
    for (size_t i = 0; i < 3000; i++) {
        size_t size = 1 + i * 37 % 9000;
        char *block = i % 2 == 0 ? malloc(size) : calloc(1, size);
        require(is_zero(block, size));
        memset(block, 0xff, size);
        free(block);
    }
}

static void blocks_are_zero(void **state)
{
    passes_by_all(blocks_are_zero_here);
}

static void aligned_blocks_here(void)
{
    for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
        for (size_t size = 1; size <= 131072; size = size * 3 + 7) {
            char *block = aligned_alloc(alignment, size);
            require((uintptr_t)block % alignment == 0);
            require(cal__pages_find(block + size - 1, NULL) == CAL_PAGES_LIVE);
            require(malloc_usable_size(block) == size);
            /* Up to the end of its last page there is its canary, and then the guard. */
            char *end = block + size + -(uintptr_t)(block + size) % page;
            require(can_touch(end - 1) && !can_touch(end));
            require(alignment >= page || (size_t)(end - block) - size < alignment);
            memset(block, 1, size);
            free(block);
            require(!can_touch(block) && !can_touch(end - 1));
        }
    }
    char *block = aligned_alloc(1 << 20, 10);
    require((uintptr_t)block % (1 << 20) == 0);
    free(block);
}

static void aligned_blocks(void **state)
{
    passes_by_all(aligned_blocks_here);
}

static void write_behind(void)
{
    char *block = malloc(48);
    block[47] = 1;
    *(volatile char *)opaque(block + 48) = 1;
}

static void read_freed(void)
{
    char *block = malloc(5000);
    memset(block, 1, 5000);
    free(block);
    *(volatile char *)opaque(block + 4000);
}

static void write_far_before(void)
{
    char *block = malloc(48);
    *(volatile char *)opaque(block - page) = 1;
}

static void faults(void **state)
{
    static const char *const options[] = {OWN, PROTECTED, FIRST};
    for (size_t i = 0; i < 3; i++) {
        dies_with(options[i], write_behind, SIGSEGV);
        dies_with(options[i], read_freed, SIGSEGV);
        dies_with(options[i], write_far_before, SIGSEGV);
    }
}

/* How many others are freed before an address comes back. */
static size_t distance_of_reuse(size_t size)
{
    char *first = malloc(size);
    free(first);
    for (size_t i = 1; i < 100000; i++) {
        char *block = malloc(size);
        free(block);
        if (block == first)
            return i;
    }
    return SIZE_MAX;
}

static void reuse_is_late_here(void)
{
    require(distance_of_reuse(0) >= 2048);
    require(distance_of_reuse(100) >= 256);
    require(distance_of_reuse(100000) >= 256);
    struct cal__pages_totals totals;
    cal__pages_totals(&totals);
    /* And it does come back. */
    require(totals.own.ranges < 40);
}

static void freed_addresses_rest(void **state)
{
    passes_with(OWN, reuse_is_late_here);
}

/* Resizing. */

static void resized_here(void)
{
    char *block = malloc(33);
    memset(block, 1, 33);
    for (size_t size = 33; size <= 48; size++) {
        require(realloc(block, size) == block && malloc_usable_size(block) == size);
        /* The canary is not shown. */
        require(is_zero(block + 33, size - 33));
    }
    for (size_t size = 48; size >= 33; size--)
        require(realloc(block, size) == block && malloc_usable_size(block) == size);
    char *grown = realloc(block, 49);
    require(grown != block && !can_touch(block) && grown[32] == 1 &&
            end_of(grown) % page == page - 15);
    char *shrunk = realloc(grown, 32);
    require(shrunk != grown && !can_touch(grown) && shrunk[31] == 1);
    char *large = realloc(shrunk, 300000);
    require(!can_touch(shrunk) && large[31] == 1);
    char *back = realloc(large, 100);
    require(cal__pages_find(back, NULL) == CAL_PAGES_LIVE && back[31] == 1);
    struct cal__pages_totals totals;
    cal__pages_totals(&totals);
    require(totals.own.live == 1 && totals.own.live_bytes == 100);
    require(realloc(back, 0) == NULL && !can_touch(back));
    require(cal__pages_validate() == 0);
}

static void blocks_are_resized(void **state)
{
    passes_by_all(resized_here);
}

/* Many. */

enum { MANY = 200000 };

static void many_here(void)
{
    size_t many = is_slow() ? MANY / 10 : MANY;
    /* With protected guards the core serves most of them, see the_budget_is_kept. */
    if (!cal__guard_can_mark())
        return;
    char **blocks = malloc(many * sizeof *blocks);
    size_t before = mappings();
    for (size_t i = 0; i < many; i++) {
        /* Without slack most of them take no memory. */
        blocks[i] = malloc(16 + i % 64 * 16);
        require(cal__pages_find(blocks[i], NULL) == CAL_PAGES_LIVE);
        if (i % 64 == 0)
            memset(blocks[i], (int)(i / 64), 16);
    }
    require(mappings() < before + 300);
    for (size_t i = 0; i < many; i += 64)
        require(blocks[i][0] == (char)(i / 64) && blocks[i][15] == (char)(i / 64));
    struct cal__pages_totals totals;
    cal__pages_totals(&totals);
    require(totals.own.live == many);
    for (size_t i = 0; i < many; i++)
        free(blocks[i]);
    size_t reserved = totals.own.reserved;
    /* The same again needs no more room. */
    for (size_t i = 0; i < many; i++)
        blocks[i] = malloc(16 + i % 64 * 16);
    for (size_t i = many; i-- > 0;)
        free(blocks[i]);
    cal__pages_totals(&totals);
    require(totals.own.live == 0 && totals.own.reserved <= reserved + (8 << 20));
    free(blocks);
}

static void many_blocks(void **state)
{
    passes_with(OWN, many_here);
}

static void budget_is_kept_here(void)
{
    size_t budget = cal__guard_counts().budget;
    size_t count = budget + 2000;
    size_t before = mappings();
    char **blocks = mmap(NULL, count * sizeof *blocks, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 3; round++) {
        size_t own = 0;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = malloc(16 + i % 16 * 300);
            require(blocks[i] != NULL);
            memset(blocks[i], 1, 16 + i % 16 * 300);
            own += cal__pages_find(blocks[i], NULL) == CAL_PAGES_LIVE;
        }
        require(own > budget / 2 && own <= budget);
        require(mappings() <= before + 2 * budget + 200);
        for (size_t i = 0; i < count; i++)
            free(blocks[i]);
    }
    require(cal__guard_counts().protected <= budget);
}

static void the_budget_is_kept(void **state)
{
    passes_with(PROTECTED ",secure.guard_percent=1", budget_is_kept_here);
    passes_with(PROTECTED ",secure.guard_percent=2", budget_is_kept_here);
}

/* Locked memory: no marks. */
static void locked_here(void)
{
    char *early = malloc(100);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return;
    memset(early, 1, 100);
    free(early);
    for (size_t i = 0; i < 1000; i++) {
        size_t size = 1 + i * 37 % 9000;
        char *block = malloc(size);
        require(block != NULL);
        if (cal__pages_find(block, NULL) == CAL_PAGES_LIVE)
            require(is_zero(block, size));
        memset(block, 1, size);
        free(block);
    }
    require(cal__pages_validate() == 0);
    munlockall();
}

static void locked_memory(void **state)
{
    passes_by_all(locked_here);
}

/* Threads. */

enum { THREADS = 4, KEPT = 64 };
static _Atomic(void *) exchange[KEPT];

/* Its size stands at the start of each block that is not empty, and a mark at its end. */
static void mark_block(char *block, size_t size)
{
    if (size == 0)
        return;
    memcpy(block, &size, sizeof size);
    block[size - 1] = 7;
}

static size_t marked_size(char *block)
{
    size_t size = 0, usable = malloc_usable_size(block);
    if (usable != 0)
        memcpy(&size, block, sizeof size);
    require(size <= usable && (size == 0 || block[size - 1] == 7));
    return size;
}

static void *run_thread(void *argument)
{
    uint64_t random = (uintptr_t)argument + 1;
    size_t rounds = is_slow() ? 2000 : 20000;
    for (size_t i = 0; i < rounds; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        size_t size = (random >> 33) % 3 == 0 ? 0 : 16 + (random >> 40) % 10000;
        char *block = malloc(size);
        require(block != NULL);
        mark_block(block, size);
        /* Which reads up to seven bytes before the end of a block, and ignores them. */
        if (!is_race_detector() && i % 500 == 0)
            require(cal__pages_validate() == 0);
        block = atomic_exchange(&exchange[random >> 58], block);
        if (block == NULL)
            continue;
        size = marked_size(block);
        if (size != 0 && i % 5 == 0) {
            block = realloc(block, size + i % 40);
            require(block != NULL);
            mark_block(block, size + i % 40);
        }
        free(block);
    }
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, run_thread, (void *)(uintptr_t)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < KEPT; i++)
        free(exchange[i]);
    require(cal__pages_validate() == 0);
    struct cal__pages_totals totals;
    cal__pages_totals(&totals);
    require(totals.own.allocations + totals.sampled.allocations > 0);
    require(totals.empty.live == 0);
}

static void threads(void **state)
{
    passes_by_all(run_threads);
    passes_with("secure.own_pages=0,secure.sample=3", run_threads);
}

/* Who frees a block twice from two threads is found once. */
static _Atomic bool go;
static void *contended;

static void *free_contended(void *argument)
{
    while (!go)
        sched_yield();
    free(contended);
    return NULL;
}

static void two_threads_free_here(void)
{
    contended = malloc(100);
    pthread_t thread;
    require(pthread_create(&thread, NULL, free_contended, NULL) == 0);
    go = true;
    free(blame(contended));
    require(pthread_join(thread, NULL) == 0);
}

static void two_threads_free_one_block(void **state)
{
    reports_with(OWN ",secure.on_double_free=log", two_threads_free_here, "double free", true,
                 NULL);
}

/* Forking, while others are at work. */

static _Atomic bool stop;

static void *churn(void *argument)
{
    while (!stop) {
        char *block = malloc((uintptr_t)argument);
        free(block);
        cal__pages_validate();
    }
    return NULL;
}

static void fork_here(void)
{
    pthread_t others[2];
    char *kept = malloc(1000);
    memset(kept, 3, 1000);
    for (size_t i = 0; i < 2; i++)
        require(pthread_create(&others[i], NULL, churn, (void *)(100 * i)) == 0);
    for (size_t round = 0; round < 30; round++) {
        pid_t child = fork();
        require(child >= 0);
        if (child == 0) {
            require(kept[999] == 3 && !can_touch(kept + 1008));
            for (size_t i = 0; i < 600; i++) {
                free(malloc(100));
                free(malloc(0));
            }
            require(realloc(kept, 999) == kept);
            require(cal__pages_validate() == 0);
            free(kept);
            require(!can_touch(kept));
            _exit(0);
        }
        int status;
        require(waitpid(child, &status, 0) == child && status == 0);
    }
    stop = true;
    for (size_t i = 0; i < 2; i++)
        require(pthread_join(others[i], NULL) == 0);
    require(kept[999] == 3);
    free(kept);
}

static void forking(void **state)
{
    passes_by_all(fork_here);
}

/* Looking things up. */

static void find_here(void)
{
    char *block = malloc(100);
    struct cal__pages_block found;
    for (size_t i = 0; i < 100; i++) {
        require(cal__pages_find(block + i, &found) == CAL_PAGES_LIVE);
        require(found.block == block && found.requested == 100);
    }
    require(cal__pages_find(block + 100, &found) == CAL_PAGES_NO_BLOCK);
    require(cal__pages_find(block - 1, &found) == CAL_PAGES_NO_BLOCK);
    require(cal__pages_find(block + 112, &found) == CAL_PAGES_NO_BLOCK);
    require(cal__pages_find(block + 100 * page, &found) == CAL_PAGES_NO_BLOCK);
    require(cal__pages_find(&found, &found) == CAL_PAGES_FOREIGN);
    require(cal__pages_find(NULL, &found) == CAL_PAGES_FOREIGN);
    require(cal__pages_find((void *)UINTPTR_MAX, &found) == CAL_PAGES_FOREIGN);
    free(block);
    require(cal__pages_find(block, &found) == CAL_PAGES_NO_BLOCK);
    char *empty = malloc(0);
    require(cal__pages_find(empty, &found) == CAL_PAGES_LIVE && found.block == empty);
    require(found.requested == 0);
    require(cal__pages_find(empty + 1, &found) == CAL_PAGES_NO_BLOCK);
    require(cal__pages_find(empty + 16, &found) == CAL_PAGES_NO_BLOCK);
    free(empty);
    require(cal__pages_find(empty, &found) == CAL_PAGES_NO_BLOCK);
}

static void addresses_are_found(void **state)
{
    passes_by_all(find_here);
}

static bool visit_block(void *block, size_t usable, void *argument)
{
    size_t *sums = argument;
    if (cal__pages_find(block, NULL) == CAL_PAGES_LIVE) {
        sums[0]++;
        sums[1] += usable;
    }
    return true;
}

static void walk_here(void)
{
    char *blocks[100];
    for (size_t i = 0; i < 100; i++)
        blocks[i] = malloc(i);
    size_t sums[2] = {0, 0};
    require(cal_walk_blocks(visit_block, sums));
    require(sums[0] == 100 && sums[1] == 99 * 100 / 2);
    struct cal__pages_totals totals;
    cal__pages_totals(&totals);
    require(totals.empty.live == 1 && totals.own.live == 99 && totals.own.live_bytes == sums[1]);
    for (size_t i = 0; i < 100; i++)
        free(blocks[i]);
    sums[0] = 0;
    require(cal_walk_blocks(visit_block, sums) && sums[0] == 0);
}

static void blocks_are_walked(void **state)
{
    passes_with(OWN, walk_here);
}

static void validate_here(void)
{
    char *blocks[100];
    for (size_t i = 0; i < 100; i++)
        blocks[i] = malloc(33 + i);
    require(cal__pages_validate() == 0);
    for (size_t i = 0; i < 3; i++)
        ((char *)opaque(blocks[i * 20]))[33 + i * 20] ^= 1;
    require(cal__pages_validate() == 3);
    /* They live on, and are found again. */
    require(cal__pages_validate() == 3);
}

static void blocks_are_validated(void **state)
{
    passes_with(OWN ",secure.on_overflow=ignore", validate_here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_end_at_guards),
        cmocka_unit_test(blocks_are_zero),
        cmocka_unit_test(aligned_blocks),
        cmocka_unit_test(faults),
        cmocka_unit_test(freed_addresses_rest),
        cmocka_unit_test(blocks_are_resized),
        cmocka_unit_test(many_blocks),
        cmocka_unit_test(the_budget_is_kept),
        cmocka_unit_test(locked_memory),
        cmocka_unit_test(threads),
        cmocka_unit_test(two_threads_free_one_block),
        cmocka_unit_test(forking),
        cmocka_unit_test(addresses_are_found),
        cmocka_unit_test(blocks_are_walked),
        cmocka_unit_test(blocks_are_validated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
