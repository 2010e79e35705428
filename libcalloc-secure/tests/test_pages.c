/* Blocks between guard pages, registered with the core: those of size 0 and those with pages of their own. Each
 * test runs in a child with settings of its own, and by both kinds of guards. */
#include "pages_support.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <calloc/calloc.h>

#include "guard.h"

#define EMPTY     "secure.zero_size_faults=1,secure.own_pages=0"
#define OWN       "secure.own_pages=1,secure.kinds=1,secure.guard_protect_first=0"
#define PROTECTED "secure.own_pages=1,secure.kinds=1,secure.guard_protect_only=1"
#define FIRST     "secure.own_pages=1,secure.guard_protect_first=64"

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

/* Size 0. */

enum { SOME = 1000 };

static void empty_blocks_here(void)
{
    char *blocks[SOME];
    for (size_t i = 0; i < SOME; i++) {
        blocks[i] = malloc(0);
        require(blocks[i] != NULL && (uintptr_t)blocks[i] % 16 == 0);
        require(malloc_usable_size(blocks[i]) == 0);
        require(!can_touch(blocks[i]) && !can_touch(blocks[i] - 1) && !can_touch(blocks[i] + 15));
        require(i == 0 || blocks[i] == blocks[i - 1] + 16);
    }
    for (size_t i = 0; i < SOME; i++) {
        free(blocks[i]);
        require(!can_touch(blocks[i]));
    }
    struct cal__pages_totals totals;
    cal__pages_totals(&totals);
    require(totals.empty.live == 0 && totals.empty.allocations == SOME && totals.empty.ranges == 1);
    /* Nothing else is served. */
    char *block = malloc(1);
    require(can_touch(block) && cal__pages_find(block, NULL) == CAL_PAGES_FOREIGN);
    free(block);
    char *zeroed = calloc(0, 7);
    require(zeroed != NULL && !can_touch(zeroed));
    free(zeroed);
}

static void empty_blocks_fault(void **state)
{
    passes_with(EMPTY, empty_blocks_here);
    passes_with(EMPTY ",secure.guard_protect_only=1", empty_blocks_here);
}

static void without_guards_the_core_serves_here(void)
{
    char *block = malloc(0);
    require(block != NULL && cal__pages_find(block, NULL) == CAL_PAGES_FOREIGN);
    free(block);
}

static void without_guards_the_core_serves(void **state)
{
    passes_with(EMPTY ",secure.guard_protect_only=1,secure.guard_percent=0",
                without_guards_the_core_serves_here);
    passes_with("secure.zero_size_faults=0", without_guards_the_core_serves_here);
    passes_with(PROTECTED ",secure.guard_percent=0", without_guards_the_core_serves_here);
}

static void read_empty(void)
{
    *(volatile char *)opaque(malloc(0));
}

static void write_empty_freed(void)
{
    char *block = malloc(0);
    free(block);
    *(volatile char *)opaque(block) = 1;
}

static void touching_empty_blocks_is_a_fault(void **state)
{
    dies_with(EMPTY, read_empty, SIGSEGV);
    dies_with(EMPTY, write_empty_freed, SIGSEGV);
    dies_with(EMPTY ",secure.guard_protect_only=1", read_empty, SIGSEGV);
}

static void empty_aligned_here(void)
{
    for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
        char *blocks[40];
        for (size_t i = 0; i < 40; i++) {
            blocks[i] = aligned_alloc(alignment, 0);
            require(blocks[i] != NULL && (uintptr_t)blocks[i] % alignment == 0);
            require(cal__pages_find(blocks[i], NULL) == CAL_PAGES_LIVE && !can_touch(blocks[i]));
            for (size_t j = 0; j < i; j++)
                require(blocks[i] != blocks[j]);
        }
        for (size_t i = 0; i < 40; i++)
            free(blocks[i]);
    }
    void *block = aligned_alloc(1 << 20, 0);
    require((uintptr_t)block % (1 << 20) == 0);
    free(block);
}

static void alignment_of_empty_blocks(void **state)
{
    passes_with(EMPTY, empty_aligned_here);
}

static void empty_resized_here(void)
{
    char *block = malloc(0);
    char *grown = realloc(block, 100);
    require(grown != NULL && grown != block && can_touch(grown));
    block = malloc(0);
    require(realloc(block, 0) == NULL);
    block = cal_allocate(1);
    cal_deallocate(block);
    free(grown);
}

static void empty_blocks_are_resized(void **state)
{
    passes_with(EMPTY, empty_resized_here);
    passes_with(OWN, empty_resized_here);
}

enum { MANY_EMPTY = 200000 };

static void many_empty_here(void)
{
    size_t many = is_slow() ? MANY_EMPTY / 20 : MANY_EMPTY;
    char **blocks = malloc(many * sizeof *blocks);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < many; i++) {
            blocks[i] = malloc(0);
            require(cal__pages_find(blocks[i], NULL) == CAL_PAGES_LIVE);
        }
        for (size_t i = 0; i < many; i++)
            free(blocks[i]);
    }
    struct cal__pages_totals totals;
    cal__pages_totals(&totals);
    require(totals.empty.live == 0 && totals.empty.allocations == 2 * many);
    require(totals.empty.ranges < 16);
    free(blocks);
}

static void many_empty_blocks(void **state)
{
    passes_with(EMPTY, many_empty_here);
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

static void empty_again(void)
{
    char *block = malloc(0);
    free(block);
    free(blame(block));
}

static void empty_inside(void)
{
    free(blame((char *)malloc(0) + 8));
}

static void empty_never(void)
{
    free(blame((char *)malloc(0) + 16));
}

static void errors_with_empty_blocks(void **state)
{
    reports_with(EMPTY, empty_again, "double free", false, NULL);
    reports_with(EMPTY, empty_inside, "invalid free", false, NULL);
    reports_with(EMPTY, empty_never, "invalid free", false, NULL);
    reports_with(EMPTY ",secure.on_double_free=log", empty_again, "double free", true, NULL);
}

/* Pages of their own. */

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

/* Errors. */

static void *twice;

static void free_twice(void)
{
    twice = malloc(100);
    free(twice);
    free(blame(twice));
    /* Where it goes on nothing has happened. */
    char *next = malloc(100);
    require(next != twice);
    memset(next, 1, 100);
    free(next);
}

static void free_inside(void)
{
    char *block = malloc(100);
    free(blame(block + 16));
    memset(block, 1, 100);
    require(malloc_usable_size(block) == 100);
    free(block);
}

static void free_unaligned(void)
{
    char *block = malloc(100);
    free(blame(block + 1));
}

static void free_guard(void)
{
    char *block = malloc(112);
    free(blame(block + 112));
}

static void free_never_used(void)
{
    char *block = malloc(112);
    free(blame(block + 64 * page));
}

static void free_inside_freed(void)
{
    char *block = malloc(112);
    free(block);
    free(blame(block + 16));
}

static void free_foreign(void)
{
    char byte[64];
    free(blame(byte + 16));
}

static void overflow(void)
{
    char *block = malloc(41);
    memset(opaque(block), 'x', 43);
    free(blame(block));
    require(!can_touch(block));
}

static void overflow_aligned(void)
{
    char *block = aligned_alloc(1024, 1000);
    ((char *)opaque(block))[1010] ^= 1;
    free(blame(block));
}

static void overflow_resized(void)
{
    char *block = malloc(41);
    memset(opaque(block), 'x', 42);
    blame(block);
    require(realloc(block, 44) == block);
}

static void underflow(void)
{
    char *block = malloc(48);
    ((char *)opaque(block))[-5] = 1;
    free(blame(block));
}

static void mismatched_size(void)
{
    char *block = malloc(48);
    free_sized(blame(block), 47);
    require(!can_touch(block));
}

static void *allocate_as(enum cal_call_kind kind, size_t bytes)
{
    const struct cal_call call = {
        .size = sizeof call, .kind = kind, .bytes = bytes, .alignment = 16};
    void *block = cal__pages_owner.claim(&call);
    require(block != NULL);
    return block;
}

static void mismatched_kind(void)
{
    char *block = blame(allocate_as(CAL_CALL_NEW, 48));
    free(block);
    require(!can_touch(block));
}

static void mismatched_kind_empty(void)
{
    free(blame(allocate_as(CAL_CALL_NEW_ARRAY, 0)));
}

static void no_mismatch(void)
{
    free_sized(malloc(48), 48);
    free_sized(malloc(0), 0);
    free(allocate_as(CAL_CALL_NATIVE, 48));
    cal_deallocate(allocate_as(CAL_CALL_NEW, 48));
    free(NULL);
}

static void wrong_size_and_kind(void)
{
    free_sized(malloc(48), 47);
    free(allocate_as(CAL_CALL_NEW, 48));
}

static void use_freed(void)
{
    char *block = malloc(100);
    free(block);
    require(malloc_usable_size(blame(block)) == 0);
}

static void realloc_inside(void)
{
    char *block = malloc(100);
    require(realloc(blame(block + 16), 200) == NULL);
}

static void errors_are_reported(void **state)
{
    static const struct {
        void (*function)(void);
        const char *what;
        const char *name;
        const char *has;
    } errors[] = {
        {free_twice, "double free", "double_free", ", requested 100"},
        {free_inside, "invalid free", "invalid_free", ", requested 100"},
        {overflow, "overflow", "overflow", ", byte 41, requested 41"},
        {overflow_aligned, "overflow", "overflow", ", byte 1010, requested 1000"},
        {overflow_resized, "overflow", "overflow", ", byte 41, requested 41"},
        {underflow, "overflow", "overflow", ", byte -5, requested 48"},
        {mismatched_size, "mismatched size", "size_mismatch", ", requested 48"},
        {mismatched_kind, "mismatched deallocation", "kind_mismatch", ", requested 48"},
        {mismatched_kind_empty, "mismatched deallocation", "kind_mismatch", ", requested 0"},
        {free_unaligned, "invalid free", "invalid_free", ""},
        {free_guard, "invalid free", "invalid_free", ""},
        {free_never_used, "invalid free", "invalid_free", ""},
        {free_inside_freed, "invalid free", "invalid_free", ""},
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        char options[200], text[LINE_MAX_TEST];
        reports_with(OWN, errors[i].function, errors[i].what, false, text);
        assert_non_null(strstr(text, errors[i].has));
        snprintf(options, sizeof options, OWN ",secure.on_%s=log", errors[i].name);
        reports_with(options, errors[i].function, errors[i].what, true, text);
        assert_non_null(strstr(text, ", found at 0x"));
        reports_with(PROTECTED, errors[i].function, errors[i].what, false, NULL);
    }
    passes_with(OWN, no_mismatch);
    passes_with(OWN ",secure.kinds=0,secure.sizes=0", wrong_size_and_kind);
}

static void all_ignored_here(void)
{
    char *block = malloc(41);
    memset(opaque(block), 'x', 43);
    free(block);
    free(opaque(block));
    free(opaque(block + 16));
    wrong_size_and_kind();
    /* The next use is as if nothing had been. */
    for (size_t i = 0; i < 2000; i++)
        free(memset(malloc(41), 1, 41));
    require(cal__pages_validate() == 0);
}

static void errors_can_be_ignored(void **state)
{
    passes_with(OWN ",secure.on_overflow=ignore,secure.on_double_free=ignore,"
                    "secure.on_invalid_free=ignore,secure.on_size_mismatch=ignore,"
                    "secure.on_kind_mismatch=ignore",
                all_ignored_here);
}

/* What is not the start of a live block is the core's to report. */
static void the_core_reports_the_rest(void **state)
{
    static const struct {
        void (*function)(void);
        const char *starts;
    } errors[] = {
        {free_foreign, "libcalloc: invalid free of 0x"},
        {use_freed, "libcalloc: invalid malloc_usable_size of 0x"},
        {realloc_inside, "libcalloc: invalid realloc of 0x"},
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        char text[LINE_MAX_TEST];
        assert_int_equal(watch_with(OWN, errors[i].function, text, sizeof text), -SIGABRT);
        assert_memory_equal(text, errors[i].starts, strlen(errors[i].starts));
    }
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
        cmocka_unit_test(empty_blocks_fault),
        cmocka_unit_test(without_guards_the_core_serves),
        cmocka_unit_test(touching_empty_blocks_is_a_fault),
        cmocka_unit_test(alignment_of_empty_blocks),
        cmocka_unit_test(empty_blocks_are_resized),
        cmocka_unit_test(many_empty_blocks),
        cmocka_unit_test(freed_addresses_rest),
        cmocka_unit_test(errors_with_empty_blocks),
        cmocka_unit_test(blocks_end_at_guards),
        cmocka_unit_test(blocks_are_zero),
        cmocka_unit_test(aligned_blocks),
        cmocka_unit_test(faults),
        cmocka_unit_test(errors_are_reported),
        cmocka_unit_test(errors_can_be_ignored),
        cmocka_unit_test(the_core_reports_the_rest),
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
