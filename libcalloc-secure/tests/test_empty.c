/* Blocks of size 0, which fault, registered with the core; each test runs in a child with settings of its own. */
#include "pages_support.h"

#include <signal.h>

#include <calloc/calloc.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_blocks_fault),
        cmocka_unit_test(without_guards_the_core_serves),
        cmocka_unit_test(touching_empty_blocks_is_a_fault),
        cmocka_unit_test(alignment_of_empty_blocks),
        cmocka_unit_test(empty_blocks_are_resized),
        cmocka_unit_test(many_empty_blocks),
        cmocka_unit_test(errors_with_empty_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
