/* The role slots: large blocks, and looking at slabs from outside. */
#include "support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <valgrind/valgrind.h>

#include "slots_addon.h"

/* Large blocks. */

static void assert_faults(char *address)
{
    fflush(NULL);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        VALGRIND_DISABLE_ERROR_REPORTING;
        signal(SIGSEGV, SIG_DFL);
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        *(volatile char *)address = 1;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

static void large_blocks_have_space_around_them(void **state)
{
    static const size_t large[] = {200000, 4096 * 100 - 8, 3000001, 4194304, 20000000};
    size_t open = slots_addon.opened - slots_addon.closed;
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        char *block = malloc(large[i]);
        struct cal_slab *slab = cal_slot_find(block, NULL);
        assert_non_null(slab);
        assert_int_equal(slab->slots, 1);
        assert_ptr_equal(slab->first, block);
        char *end = block + slab->block_size;
        assert_true((size_t)(end - block) < large[i] + 8 + 16 + (test_is_annotated() ? 16 : 0));
        block[0] = block[large[i] - 1] = 1;
        assert_faults(end);
        assert_faults(slab->address);
        assert_faults((char *)slab->address + slab->length - 1);
        assert_int_equal(slots_addon.opened - slots_addon.closed, open + 1);
        block = realloc(block, large[i] * 2);
        assert_true(block[0] == 1 && block[large[i] - 1] == 1);
        free(block);
        assert_int_equal(slots_addon.opened - slots_addon.closed, open);
    }
}

static void large_blocks_may_be_kept(void **state)
{
    slots_release_kept();
    struct cal_statistics then = statistics();
    slots_addon.keep_max = SIZE_MAX;
    void *block = malloc(700000);
    free(block);
    slots_addon.keep_max = 4096;
    struct cal_statistics now = statistics();
    assert_int_equal(now.active_allocations, then.active_allocations);
    assert_int_equal(now.active_bytes, then.active_bytes);
    assert_non_null(cal_slot_find(block, NULL));
    slots_release_kept();
    assert_null(cal_slot_find(block, NULL));
}

/* Slabs that fault when they are closed. */

enum { SHUT = 30, SMALL = 3000 };

static struct {
    void *address;
    size_t length;
} shut[SHUT];

static void allocate_and_free_small(bool look)
{
    static char *small[SMALL];
    for (size_t i = 0; i < SMALL; i++) {
        require((small[i] = malloc(1500)) != NULL);
        memset(small[i], 1, 1500);
        for (size_t j = 0; look && j < SHUT; j++)
            require(small[i] + 1500 <= (char *)shut[j].address ||
                    small[i] >= (char *)shut[j].address + shut[j].length);
    }
    for (size_t i = 0; i < SMALL; i++)
        free(small[i]);
    malloc_trim(0);
}

static void slabs_that_fault_are_out_of_use(void **state)
{
    slots_release_kept();
    slots_addon.keep_max = 0;
    allocate_and_free_small(false);
    size_t open = slots_addon.opened - slots_addon.closed;
    struct cal_statistics then = statistics();
    char *blocks[SHUT];
    for (size_t i = 0; i < SHUT; i++) {
        require((blocks[i] = malloc(150000 + i * 300000)) != NULL);
        const struct cal_slab *slab = cal_slot_find(blocks[i], NULL);
        require(slab != NULL);
        shut[i].address = slab->address;
        shut[i].length = slab->length;
    }
    slots_addon.stay_shut = true;
    for (size_t i = 0; i < SHUT; i++)
        free(blocks[i]);
    allocate_and_free_small(true);
    assert_true(slots_addon.shut > SHUT);
    assert_int_equal(statistics().active_allocations, then.active_allocations);
    assert_int_equal(statistics().active_bytes, then.active_bytes);
    /* They are not free, so nothing uses them; what is used in their stead does not fault. */
    for (size_t round = 0; round < 3; round++) {
        char *others[SHUT];
        for (size_t i = 0; i < SHUT; i++) {
            size_t size = 150000 + i * 300000;
            require((others[i] = malloc(size)) != NULL);
            memset(others[i], 1, size);
            for (size_t j = 0; j < SHUT; j++)
                require(others[i] + size <= (char *)shut[j].address ||
                        others[i] >= (char *)shut[j].address + shut[j].length);
        }
        for (size_t i = 0; i < SHUT; i++)
            free(others[i]);
        allocate_and_free_small(true);
    }
    /* A block in one is as dead as any. */
    slots_addon.tolerate = true;
    size_t errors = slots_addon.errors[CAL_ERROR_DOUBLE_FREE];
    free(blocks[0]);
    slots_addon.tolerate = false;
    assert_int_equal(slots_addon.errors[CAL_ERROR_DOUBLE_FREE], errors + 1);
    assert_true(slots_addon.opened - slots_addon.closed >= open + SHUT);
    slots_addon.stay_shut = false;
    /* One that is closed takes another with it, and all go when all that is free is to. */
    size_t closed = slots_addon.closed;
    free(malloc(150000));
    assert_true(slots_addon.closed >= closed + 3);
    malloc_trim(0);
    assert_true(slots_addon.opened - slots_addon.closed <= open);
    allocate_and_free_small(false);
    for (size_t i = 0; i < SHUT; i++)
        blocks[i] = memset(malloc(150000 + i * 300000), 1, 150000 + i * 300000);
    for (size_t i = 0; i < SHUT; i++)
        free(blocks[i]);
    slots_addon.keep_max = 4096;
    slots_addon.shut = 0;
}

/* Addresses inside of blocks. */

static void assert_found(char *block, size_t size, const void *inside)
{
    uint32_t slot, around;
    struct cal_slab *slab = cal_slot_find(block, &slot);
    assert_non_null(slab);
    assert_ptr_equal((char *)slab->first + slot * slab->block_size, block);
    assert_true(slab->room >= size);
    assert_ptr_equal(cal_slot_find(inside, &around), slab);
    assert_int_equal(around, slot);
}

static void addresses_inside_of_blocks_are_found(void **state)
{
    static const size_t sizes[] = {1,      100,     5000,    30000,    131072,
                                   200000, 3000001, 5000000, 20000000, (size_t)500 << 20};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    struct random random = {7};
    char *blocks[SIZES];
    for (size_t i = 0; i < SIZES; i++) {
        blocks[i] = malloc(sizes[i]);
        assert_non_null(blocks[i]);
    }
    for (size_t i = 0; i < SIZES; i++) {
        assert_found(blocks[i], sizes[i], blocks[i] + sizes[i] - 1);
        for (int turn = 0; turn < 100; turn++)
            assert_found(blocks[i], sizes[i], blocks[i] + random_below(&random, sizes[i]));
    }
    for (size_t i = 0; i < SIZES; i++) {
        const struct cal_slab *slab = cal_slot_find(blocks[i], NULL);
        bool large = slab->slots == 1;
        const char *around = slab->address;
        size_t length = slab->length;
        if (large) { /* guard space is in no block */
            assert_null(cal_slot_find(around, NULL));
            assert_null(cal_slot_find((char *)slab->first - 1, NULL));
            assert_null(cal_slot_find((char *)slab->first + slab->block_size, NULL));
            assert_null(cal_slot_find(around + length - 1, NULL));
        }
        free(blocks[i]);
        slots_release_kept();
        assert_null(cal_slot_find(blocks[i], NULL));
        assert_null(cal_slot_find(blocks[i] + sizes[i] / 2, NULL));
        assert_null(cal_slot_find(blocks[i] + sizes[i] - 1, NULL));
    }
    assert_null(cal_slot_find(NULL, NULL));
    assert_null(cal_slot_find(&state, NULL));
    assert_null(cal_slot_find((void *)assert_found, NULL));
    assert_null(cal_slot_find((void *)UINTPTR_MAX, NULL));
}

/* From outside. */

struct seen {
    size_t slabs, large, live, stop_after;
    const void *wanted;
    bool found;
};

static bool see_slab(struct cal_slab *slab, void *argument)
{
    struct seen *seen = argument;
    require(slab->size == sizeof *slab && slab->slots > 0 && slab->state != NULL);
    require((uintptr_t)slab->address % 65536 == 0 && slab->length % 65536 == 0);
    require((char *)slab->first >= (char *)slab->address);
    require((char *)slab->first + slab->slots * slab->block_size <=
            (char *)slab->address + slab->length);
    seen->slabs++;
    seen->large += slab->slots == 1;
    seen->found |= slab == seen->wanted;
    /* The role's own records tell what is live. */
    for (uint32_t slot = 0; slot < slab->slots; slot++)
        seen->live += ((const size_t *)slab->state)[slot] >> 56 != 0;
    return seen->slabs != seen->stop_after;
}

static void walks_visit_every_slab(void **state)
{
    void *blocks[200];
    slots_release_kept();
    struct seen before = {0}, during = {0}, after = {0};
    assert_true(cal_walk_slabs(see_slab, &before));
    assert_int_equal(before.slabs, slots_addon.opened - slots_addon.closed);
    for (size_t i = 0; i < 200; i++)
        blocks[i] = malloc(i * 2000);
    during.wanted = cal_slot_find(blocks[199], NULL);
    assert_true(cal_walk_slabs(see_slab, &during));
    assert_true(during.found);
    assert_int_equal(during.slabs, slots_addon.opened - slots_addon.closed);
    assert_int_equal(during.live, before.live + 200);
    assert_int_equal(during.large - before.large, 200 - 66);
    struct seen stopped = {.stop_after = 3};
    assert_false(cal_walk_slabs(see_slab, &stopped));
    assert_int_equal(stopped.slabs, 3);
    for (size_t i = 0; i < 200; i++)
        free(blocks[i]);
    slots_release_kept();
    assert_true(cal_walk_slabs(see_slab, &after));
    assert_int_equal(after.live, before.live);
    assert_int_equal(after.large, before.large);
}

int main(void)
{
    test_is_annotated(); /* before it looks as if a tool were told of each block */
    struct seen nothing = {0};
    require(cal_walk_slabs(see_slab, &nothing) && nothing.slabs == 0);
    char *plain = malloc(1000000);
    require(cal_hooks_register(&slots_hooks) == 0);
    require(cal_slot_find(plain, NULL) == NULL && cal_slot_find(plain + 500000, NULL) == NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_blocks_have_space_around_them),
        cmocka_unit_test(large_blocks_may_be_kept),
        cmocka_unit_test(slabs_that_fault_are_out_of_use),
        cmocka_unit_test(addresses_inside_of_blocks_are_found),
        cmocka_unit_test(walks_visit_every_slab),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(plain);
    return failed;
}
