/* Blocks of more than CAL_RUN_MAX: what is freed is used again, in any size; resizing; moving. */
#include "support.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "large.h"
#include "map.h"
#include "options.h"
#include "os.h"
#include "span.h"

#define MIB ((size_t)1 << 20)

_Static_assert(CAL_RUN_MAX < 8 * MIB, "all blocks of these tests are huge");

/* Less by the redzone that each block has under memcheck, so that mappings are of SIZE there too. */
static void *get(size_t size)
{
    void *block = malloc(request_for(size));
    require(block != NULL);
    return block;
}

static size_t retained(void)
{
    return cal__span_statistics().dirty_bytes;
}

static size_t huge_blocks(void)
{
    return cal__large_statistics(CAL_PAGE_HUGE).live;
}

static int keep_free_memory(void **state)
{
    /* Long enough that no delay ends within a test. */
    cal__options.purge_delay = 3600000;
    cal__span_unmap_all();
    return 0;
}

static bool annotated(void)
{
    if (test_is_annotated())
        print_message("under memcheck nothing is resized or moved: nothing to see here\n");
    return test_is_annotated();
}

/* Touches SIZE bytes; true when that took not one page fault for ten pages. Where tests are slow a
 * tool has faults of its own. */
static bool is_backed(void *block, size_t size)
{
    long before = faults();
    for (size_t i = 0; i < size; i += CAL_OS_PAGE)
        ((volatile char *)block)[i] = 1;
    return test_is_slow() || (size_t)(faults() - before) < size / CAL_OS_PAGE / 10;
}

static void a_freed_block_is_used_again(void **state)
{
    void *first = get(9 * MIB);
    free(first);
    assert_true(retained() >= 9 * MIB);
    void *second = get(9 * MIB);
    assert_ptr_equal(second, first);
    assert_true(retained() < 9 * MIB);
    free(second);
}

static void a_freed_block_serves_smaller_ones(void **state)
{
    if (TEST_SLOTS) {
        print_message("with the role slots a block does not start where its range does\n");
        return;
    }
    char *large = get(40 * MIB);
    free(large);
    void *small[4];
    for (size_t i = 0; i < 4; i++) {
        small[i] = get(10 * MIB);
        assert_ptr_equal(small[i], large + i * 10 * MIB);
    }
    for (size_t i = 0; i < 4; i++)
        free(small[(i * 3) % 4]);
    assert_ptr_equal(large = get(40 * MIB), small[0]);
    free(large);
}

static void freed_blocks_serve_a_larger_one(void **state)
{
    if (annotated())
        return;
    void *freed[5];
    void *between[5];
    for (size_t i = 0; i < 5; i++) {
        freed[i] = get(10 * MIB);
        between[i] = get(5 * MIB);
        memset(freed[i], 1, 10 * MIB - 16);
    }
    for (size_t i = 0; i < 5; i++)
        free(freed[i]);
    void *large = get(50 * MIB);
    assert_true(is_backed(large, 50 * MIB - 16));
    for (size_t i = 0; i < 5; i++)
        free(between[i]);
    free(large);
}

static void calloc_of_freed_memory_is_zero(void **state)
{
    unsigned char *block = get(10 * MIB);
    memset(block, 0xff, 10 * MIB - 16);
    free(block);
    for (size_t size = 5 * MIB; size <= 40 * MIB; size += 5 * MIB) {
        unsigned char *again = calloc(1, size - 16);
        assert_non_null(again);
        assert_true(is_zero(again, size - 16));
        memset(again, 0xff, size - 16);
        free(again);
    }
}

/* From CAL_SLAB_MAX up: there are never two of what is moved. */
static void a_run_that_is_in_the_way_of_another_moves_its_pages(void **state)
{
    if (annotated())
        return;
    size_t size = MIB;
    char *block = get(size);
    fill(block, size - 16, 5);
    size_t mapped = huge_blocks();
    while (size < 16 * MIB) {
        void *behind = get(CAL_SLAB_MAX * 2);
        long before = faults();
        char *grown = realloc(block, size * 2 - 16);
        assert_non_null(grown);
        assert_true(is_filled(grown, size - 16, 5));
        /* Not one page fault for what it had. */
        assert_true(test_is_slow() || (size_t)(faults() - before) < size / CAL_OS_PAGE / 2);
        block = grown;
        size *= 2;
        fill(block, size - 16, 5);
        free(behind);
    }
    /* It is one of the huge blocks now. */
    assert_int_equal(huge_blocks(), mapped + 1);
    free(block);
    assert_int_equal(huge_blocks(), mapped);
}

static size_t field(const char *path, const char *name)
{
    char line[256];
    size_t value = 0;
    FILE *file = fopen(path, "r");
    require(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (name == NULL)
            value++;
        else if (strncmp(line, name, strlen(name)) == 0)
            value = (size_t)atol(line + strlen(name));
    fclose(file);
    return value;
}

/* KiB; mappings of the kernel's. */
static size_t resident(void)
{
    return field("/proc/self/status", "VmRSS:");
}

static size_t mappings(void)
{
    return field("/proc/self/maps", NULL);
}

/* A program may use little of what it has zeroed. */
static void long_zeroed_blocks_are_not_written_to(void **state)
{
    if (test_is_slow()) {
        print_message("tools write to memory that programs do not: nothing to see here\n");
        return;
    }
    size_t before = resident();
    for (int i = 0; i < 4; i++) {
        volatile char *block = calloc(1, 512 * MIB);
        require(block != NULL);
        block[5 * MIB] = 1;
        assert_int_equal(block[300 * MIB], 0);
        free((void *)block);
        free(opaque(malloc(300 * MIB)));
    }
    assert_in_range(resident(), 0, before + 64 * 1024);
}

/* Blocks that grow and go, of which no more live at any time, leave neither addresses nor mappings. */
static void churn_takes_no_more_and_more_mappings(void **state)
{
    if (annotated() || test_is_slow())
        return;
    enum { COUNT = 100, TURNS = 6 };
    static char *block[COUNT];
    static size_t size[COUNT];
    struct random random = {1};
    size_t mapped[TURNS];
    size_t made[TURNS];
    cal__options.purge_delay = 50;
    for (size_t turn = 0; turn < TURNS; turn++) {
        for (size_t step = 0; step < 6000; step++) {
            size_t i = random_below(&random, COUNT);
            if (size[i] > 4 * MIB) {
                free(block[i]);
                block[i] = NULL;
                size[i] = 0;
            } else {
                size[i] = size[i] == 0 ? 300000 : size[i] * 3 / 2;
                block[i] = realloc(block[i], size[i]);
                require(block[i] != NULL);
                memset(block[i] + size[i] - 70000, 1, 70000);
            }
        }
        mapped[turn] = cal__os_mapped();
        made[turn] = mappings();
    }
    cal__options.purge_delay = 3600000;
    assert_in_range(mapped[TURNS - 1], 0, mapped[1] + mapped[1] / 2);
    assert_in_range(made[TURNS - 1], 0, 2000);
    for (size_t i = 0; i < COUNT; i++)
        free(block[i]);
}

/* A page that cannot be moved, where the kernel can seal one (Linux 6.10): in the child, as it stays. */
static void seal_and_move(void)
{
    char *block = get(8 * MIB);
    void *behind = get(CAL_SLAB_MAX * 2);
    fill(block, 8 * MIB - 16, 5);
    if (syscall(462 /* mseal */, block + 4 * MIB, CAL_OS_PAGE, 0) != 0) {
        fprintf(stderr, "the kernel seals no memory");
        _exit(0);
    }
    char *moved = realloc(block, 64 * MIB);
    require(moved != NULL && moved != block);
    bool kept = is_filled(moved, 8 * MIB - 16, 5);
    fill(moved, 64 * MIB, 6);
    free(behind);
    for (size_t size = MIB; size < 100 * MIB; size *= 2) {
        char *next = get(size);
        fill(next, size - 16, 7);
        require(is_filled(next, size - 16, 7));
    }
    fprintf(stderr, kept && is_filled(moved, 64 * MIB, 6) ? "kept" : "lost");
    _exit(0);
}

static void a_move_that_is_refused_half_way_loses_nothing(void **state)
{
    if (annotated())
        return;
    char said[200];
    run_in_child(seal_and_move, said, sizeof said);
    if (strcmp(said, "the kernel seals no memory") == 0)
        print_message("%s: not tried\n", said);
    else
        assert_string_equal(said, "kept");
}

static void without_a_delay_nothing_is_kept(void **state)
{
    size_t before = cal__os_mapped();
    void *block = get(8 * MIB);
    cal__options.purge_delay = 0;
    free(block);
    cal__options.purge_delay = 3600000;
    assert_int_equal(retained(), 0);
    assert_in_range(cal__os_mapped(), 0, before + 8 * MIB - 1);
}

static void a_thread_that_uses_a_few_small_blocks_gives_back_what_has_expired(void **state)
{
    if (annotated())
        return;
    /* Leaves a page whose blocks are all cut, so that there are few refills. */
    static void *blocks[4000];
    for (size_t i = 0; i < 4000; i++)
        blocks[i] = malloc(200);
    for (size_t i = 0; i < 4000; i++)
        free(blocks[i]);
    cal__options.purge_delay = 1;
    free(get(8 * MIB));
    cal__options.purge_delay = 3600000;
    assert_true(retained() >= 8 * MIB);
    usleep(20000);
    for (size_t i = 0; i < 40000; i++)
        free(opaque(malloc(200)));
    assert_int_equal(retained(), 0);
}

static void freed_memory_stays_until_its_delay_is_over(void **state)
{
    free(get(8 * MIB));
    cal__span_purge_expired();
    assert_true(retained() >= 8 * MIB);
    assert_true(cal_trim());
    assert_int_equal(retained(), 0);
}

static void shrinking_keeps_the_end_for_others(void **state)
{
    if (annotated())
        return;
    unsigned char *block = get(30 * MIB);
    memset(block, 1, 30 * MIB - 16);
    fill(block, 3 * MIB, 1);
    size_t before = retained();
    assert_ptr_equal(cal_try_reallocate_in_place(block, 3 * MIB), block);
    assert_int_equal(malloc_usable_size(block), 3 * MIB);
    assert_int_equal(retained(), before + 27 * MIB);
    assert_true(is_filled(block, 3 * MIB, 1));
    void *other = get(27 * MIB);
    assert_ptr_equal(other, block + 3 * MIB);
    free(other);
    assert_ptr_equal(cal_try_reallocate_in_place(block, 30 * MIB), block);
    assert_true(is_backed(block + 3 * MIB, 27 * MIB - 16));
    assert_true(is_filled(block, 3 * MIB, 1));
    free(block);
}

/* The pages move, their bytes are not copied: memory does not exist twice at any time. */
static void growing_moves_the_mapping_and_keeps_contents(void **state)
{
    if (annotated())
        return;
    size_t size = 8 * MIB;
    size_t obstacles = 0;
    unsigned char *block = malloc(size);
    fill(block, size, 7);
    size_t before = cal__large_statistics(CAL_PAGE_HUGE).allocations;
    while (size < 2510 * MIB) {
        /* Something in the way, so that growth in place is not always possible. */
        void *obstacle = get(8 * MIB);
        obstacles++;
        unsigned char *grown = realloc(block, size * 2);
        assert_non_null(grown);
        assert_true(is_filled(grown, 8 * MIB, 7));
        if (size > 8 * MIB)
            assert_int_equal(grown[size - 1], 5);
        size *= 2;
        grown[size - 1] = 5;
        block = grown;
        free(obstacle);
    }
    /* Only the obstacles were allocated: no realloc was malloc and copy. */
    assert_int_equal(cal__large_statistics(CAL_PAGE_HUGE).allocations - before, obstacles);
    free(block);
}

static void after_a_move_the_old_address_is_nobodys(void **state)
{
    if (annotated())
        return;
    void *block = get(8 * MIB);
    struct cal__page *page = cal__map_find(cal__granule_of(block));
    fill(block, 8 * MIB - 16, 3);
    void *moved = cal__large_move(page, 20 * MIB);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    assert_ptr_equal(cal__map_find(cal__granule_of(moved)), page);
    const struct cal__page *there = cal__map_find(cal__granule_of(block));
    assert_true(there == NULL || there->kind == CAL_PAGE_FREE);
    assert_int_equal(page->size, 20 * MIB);
    assert_true(is_filled(moved, 8 * MIB - 16, 3));
    free(moved);
}

/* Growing over other blocks' pages, then in steps, each of which may move. */
static size_t contents_survive(size_t steps, size_t seed)
{
    enum { COUNT = 8 };
    unsigned char *blocks[COUNT] = {NULL};
    size_t sizes[COUNT] = {0};
    struct random random = {seed + 1};
    size_t refused = 0;
    for (size_t step = 0; step < steps; step++) {
        size_t i = random_below(&random, COUNT);
        size_t size = 5 * MIB + random_below(&random, 30 * MIB);
        unsigned char *block = realloc(blocks[i], size);
        refused += block == NULL;
        if (block == NULL)
            continue;
        size_t kept = size < sizes[i] ? size : sizes[i];
        for (size_t at = 0; at + 64 <= kept; at += 65536)
            assert_true(is_filled(block + at, 64, i + at));
        for (size_t at = 0; at + 64 <= size; at += 65536)
            fill(block + at, 64, i + at);
        blocks[i] = block;
        sizes[i] = size;
        if (step % 5 == 0) {
            void *other = calloc(1, size / 2);
            refused += other == NULL;
            assert_true(other == NULL || is_zero(other, size / 2));
            if (other != NULL)
                memset(other, 1, size / 2);
            free(other);
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
    return refused;
}

static void contents_survive_many_moves(void **state)
{
    assert_int_equal(contents_survive(test_repeat(400), 4), 0);
}

/* The kernel refuses to cut mappings in two once there are too many, some moves among them. */
static void moves_near_the_limit_of_mappings(void **state)
{
    if (test_is_slow() || annotated())
        return;
    size_t length = 140000 * CAL_OS_PAGE;
    char *many = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(many != MAP_FAILED);
    size_t used = 0;
    while (used < length && mprotect(many + used, CAL_OS_PAGE, PROT_READ) == 0)
        used += 2 * CAL_OS_PAGE;
    if (used >= length)
        print_message("the kernel has no such limit here\n");
    size_t refused = 0;
    for (size_t spare = 0; spare < 24; spare++) {
        refused += contents_survive(40, spare);
        /* Two mappings fewer. */
        used -= 2 * CAL_OS_PAGE;
        require(mprotect(many + used, CAL_OS_PAGE, PROT_NONE) == 0);
    }
    require(munmap(many, length) == 0);
    print_message("%zu requests refused\n", refused);
    assert_int_equal(contents_survive(40, 99), 0);
}

static void alignment_is_met_also_from_free_memory(void **state)
{
    for (size_t alignment = 8 * MIB; alignment <= 2510 * MIB; alignment *= 2) {
        for (int i = 0; i < 3; i++) {
            void *block = aligned_alloc(alignment, 11 * MIB);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % alignment, 0);
            free(block);
            free(get(11 * MIB));
        }
    }
}

static void blocks_over_4_gib_work(void **state)
{
    size_t size = ((size_t)5 << 30) + 12345;
    unsigned char *block = malloc(size);
    if (block == NULL) {
        print_message("the kernel refuses 5 GiB (overcommit or a limit): only ENOMEM is checked\n");
        assert_int_equal(errno, ENOMEM);
        return;
    }
    assert_true(malloc_usable_size(block) >= size);
    for (size_t at = 0; at < size; at += (size_t)1 << 29)
        block[at] = (unsigned char)(at >> 29);
    block[size - 1] = 99;
    for (size_t at = 0; at < size; at += (size_t)1 << 29)
        assert_int_equal(block[at], at >> 29);
    assert_int_equal(block[size - 1], 99);
    free(block);
}

static void growing_beyond_4_gib_keeps_contents(void **state)
{
    if (TEST_SLOTS && test_is_slow()) {
        print_message("3 GiB are copied here, and a tool has several times as much beside them\n");
        return;
    }
    unsigned char *block = malloc((size_t)3 << 30);
    unsigned char *grown = block == NULL ? NULL : realloc(block, (size_t)6 << 30);
    if (grown == NULL) {
        print_message("the kernel refuses 6 GiB (overcommit or a limit): only ENOMEM is checked\n");
        assert_int_equal(errno, ENOMEM);
        free(block);
        return;
    }
    assert_true(malloc_usable_size(grown) >= (size_t)6 << 30);
    grown[((size_t)6 << 30) - 1] = 1;
    grown[0] = 2;
    unsigned char *shrunk = realloc(grown, 2 * MIB);
    assert_non_null(shrunk);
    assert_int_equal(shrunk[0], 2);
    free(shrunk);
}

/* "The tensor that is reallocated again and again": mapped memory stays flat. */
static void allocating_in_turn_maps_nothing_new(void **state)
{
    free(get(10 * MIB));
    size_t before = cal__os_mapped();
    for (int i = 0; i < 200; i++) {
        unsigned char *block = get(10 * MIB);
        block[0] = 1;
        free(block);
        assert_int_equal(cal__os_mapped(), before);
    }
}

static void statistics_count_mappings(void **state)
{
    struct cal__large_statistics before = cal__large_statistics(CAL_PAGE_HUGE);
    void *block = get(11 * MIB);
    struct cal__large_statistics during = cal__large_statistics(CAL_PAGE_HUGE);
    assert_int_equal(during.live, before.live + 1);
    assert_int_equal(during.allocations, before.allocations + 1);
    assert_int_equal(during.live_bytes, before.live_bytes + 11 * MIB);
    assert_int_equal(during.allocated_bytes, before.allocated_bytes + 11 * MIB);
    free(block);
    struct cal__large_statistics after = cal__large_statistics(CAL_PAGE_HUGE);
    assert_int_equal(after.live, before.live);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.allocated_bytes, before.allocated_bytes + 11 * MIB);
}

#define test(function) cmocka_unit_test_setup(function, keep_free_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_freed_block_is_used_again),
        test(a_freed_block_serves_smaller_ones),
        test(freed_blocks_serve_a_larger_one),
        test(calloc_of_freed_memory_is_zero),
        test(a_run_that_is_in_the_way_of_another_moves_its_pages),
        test(long_zeroed_blocks_are_not_written_to),
        test(churn_takes_no_more_and_more_mappings),
        test(a_move_that_is_refused_half_way_loses_nothing),
        test(without_a_delay_nothing_is_kept),
        test(a_thread_that_uses_a_few_small_blocks_gives_back_what_has_expired),
        test(freed_memory_stays_until_its_delay_is_over),
        test(shrinking_keeps_the_end_for_others),
        test(growing_moves_the_mapping_and_keeps_contents),
        test(after_a_move_the_old_address_is_nobodys),
        test(contents_survive_many_moves),
        test(moves_near_the_limit_of_mappings),
        test(alignment_is_met_also_from_free_memory),
        test(blocks_over_4_gib_work),
        test(growing_beyond_4_gib_keeps_contents),
        test(allocating_in_turn_maps_nothing_new),
        test(statistics_count_mappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
