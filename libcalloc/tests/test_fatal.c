/* Wrong pointers: each ends the process with one exact line, and nothing else happens. The tests
 * run in children; what they are blamed for is the pointer given to blame(). */
#include "support.h"

#include <sys/mman.h>

static void free_stack(void)
{
    int object[8];
    free(blame(object));
}

static void free_static(void)
{
    static _Alignas(64) char object[64];
    free(blame(object));
}

static void free_function(void)
{
    free(blame((void *)(uintptr_t)free_static));
}

static void free_foreign_mapping(void)
{
    void *mapping = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(mapping != MAP_FAILED);
    free(blame(mapping));
}

static void free_end_of_foreign_mapping(void)
{
    char *mapping = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(mapping != MAP_FAILED);
    free(blame(mapping + (1 << 20) - 64));
}

static void memory_that_is_not_ours(void **state)
{
    assert_dies_with("invalid free", free_stack);
    assert_dies_with("invalid free", free_static);
    assert_dies_with("invalid free", free_function);
    assert_dies_with("invalid free", free_foreign_mapping);
    assert_dies_with("invalid free", free_end_of_foreign_mapping);
}

static uintptr_t wild;

static void free_wild(void)
{
    free(malloc(1));
    free(blame((void *)wild));
}

static void free_wild_first(void)
{
    free(blame((void *)wild));
}

/* Small numbers, non-canonical addresses, the kernel's half. */
static void any_64_bit_value(void **state)
{
    static const uintptr_t values[] = {1,
                                       8,
                                       16,
                                       4096,
                                       65535,
                                       65536,
                                       0x10000000,
                                       0xdeadbeefdeadbeef,
                                       0x0000800000000000,
                                       0x7fffffffffff0000,
                                       0x8000000000000000,
                                       0xffff800000000000,
                                       0xffffffffffff0000,
                                       0xfffffffffffffff0,
                                       UINTPTR_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        wild = values[i];
        assert_dies_with("invalid free", free_wild);
    }
    assert_dies_with("invalid free", free_wild_first);
}

/* The same low bits as a live block, other high bits: the map's window is indexed by the low. */
static void free_alias(void)
{
    free(blame((void *)((uintptr_t)malloc(64) ^ ((uintptr_t)1 << wild))));
}

static void addresses_that_differ_in_one_high_bit(void **state)
{
    for (wild = 34; wild < 64; wild++)
        assert_dies_with("invalid free", free_alias);
}

static size_t block_size;
static size_t offset;

static void free_interior(void)
{
    char *block = malloc(block_size);
    require(block != NULL);
    free(blame(block + offset));
}

static void interior_of(size_t size, const size_t *offsets, size_t count)
{
    block_size = size;
    for (size_t i = 0; i < count; i++) {
        offset = offsets[i];
        assert_dies_with("invalid free", free_interior);
    }
}

static void interior_of_slab_blocks(void **state)
{
    static const size_t offsets[] = {1, 8, 16, 32, 63};
    interior_of(64, offsets, 5);
    interior_of(1000, offsets, 5);
    static const size_t further[] = {16, 4096, 16384, 30000};
    interior_of(32768, further, 4);
    static const size_t beyond_a_granule[] = {16, 65536, 65552, 131056};
    interior_of(131072, beyond_a_granule, 4);
}

static void free_slot_without_block(void)
{
    char *block = malloc(block_size);
    char *slab = (char *)((uintptr_t)block & ~(uintptr_t)65535);
    free(blame(slab + offset));
}

/* Slots that were never handed out, and the rest behind the last one, which is a multiple of the
 * block size as well: 1365 blocks of 48 bytes fill 65520 bytes. */
static void slots_that_were_never_blocks(void **state)
{
    if (TEST_SLOTS) {
        print_message("with the role slots a block may be anywhere in a slab\n");
        return;
    }
    static const size_t cases[][2] = {{944, 60 * 944}, {944, 68 * 944}, {48, 65520},
                                      {3072, 61440},   {8192, 57344},   {4096, 61440},
                                      {720, 90 * 720}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* Under memcheck a redzone is part of the block. */
        block_size = cases[i][0] - (test_is_annotated() ? 16 : 0);
        offset = cases[i][1];
        assert_dies_with("invalid free", free_slot_without_block);
    }
}

static void interior_of_runs(void **state)
{
    static const size_t offsets[] = {1, 16, 4096, 65536, 131072, 199999};
    interior_of(200000, offsets, 6);
    interior_of(4000000, offsets, 6);
}

static void interior_of_mappings(void **state)
{
    static const size_t offsets[] = {1, 16, 4096, 65536, 1048576, 8999999};
    interior_of(9000000, offsets, 6);
}

static void free_huge_twice(void)
{
    void *block = malloc((size_t)9 << 20);
    free(block);
    free(blame(block));
}

static void double_free_of_a_large_block(void **state)
{
    /* With the role slots the block did not start where the free range does. */
    assert_dies_with(TEST_SLOTS ? "invalid free" : "double free", free_huge_twice);
}

static void free_after_trim(void)
{
    void *block = malloc((size_t)9 << 20);
    free(block);
    malloc_trim(0);
    free(blame(block));
}

static void already_unmapped_blocks(void **state)
{
    assert_dies_with("invalid free", free_after_trim);
}

/* The run's granules are free memory now, of whatever else is around them. */
static void free_run_twice(void)
{
    void *block = malloc(300000);
    free(block);
    free(blame(block));
}

static void double_free_of_a_run(void **state)
{
    /* With the role slots the block did not start where the free range does. */
    assert_dies_with(TEST_SLOTS ? "invalid free" : "double free", free_run_twice);
}

static void free_slab_twice_then_allocate(void)
{
    void *block = malloc(block_size);
    free(block);
    free(blame(block));
    for (int i = 0; i < 100000; i++)
        require(malloc(block_size) != NULL);
}

/* The fast path does not look; the list shows it when it is taken. */
static void double_free_is_seen_when_the_list_is_taken(void **state)
{
    static const size_t sizes[] = {1, 16, 48, 100, 1024, 1025, 4096, 8192, 20000, 131000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        block_size = sizes[i];
        assert_dies_with("double free", free_slab_twice_then_allocate);
    }
}

static void free_slab_twice_then_exit(void)
{
    void *block = malloc(block_size);
    /* So that the page is not empty after one free. */
    require(malloc(block_size) != NULL);
    free(block);
    free(blame(block));
    exit(0);
}

static void double_free_is_seen_at_exit(void **state)
{
    static const size_t sizes[] = {16, 100, 1024, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        block_size = sizes[i];
        assert_dies_with("double free", free_slab_twice_then_exit);
    }
}

static void *free_twice(void *block)
{
    free(block);
    free(blame(block));
    return NULL;
}

static void remote_double_free(void)
{
    pthread_t thread;
    void *block = malloc(64);
    require(malloc(64) != NULL);
    start_thread(&thread, free_twice, block);
    join_thread(thread);
}

static void double_free_by_another_thread(void **state)
{
    assert_dies_with("double free", remote_double_free);
}

static void *allocate_two(void *blocks)
{
    ((void **)blocks)[0] = malloc(64);
    ((void **)blocks)[1] = malloc(64);
    return NULL;
}

static void abandoned_double_free(void)
{
    void *blocks[2];
    pthread_t thread;
    start_thread(&thread, allocate_two, blocks);
    join_thread(thread);
    free(blocks[0]);
    free(blame(blocks[0]));
}

static void double_free_in_a_page_without_owner(void **state)
{
    assert_dies_with("double free", abandoned_double_free);
}

static void *free_it(void *block)
{
    free(block);
    return NULL;
}

static void free_interior_remotely(void)
{
    pthread_t thread;
    char *block = malloc(1000);
    start_thread(&thread, free_it, blame(block + 16));
    join_thread(thread);
}

static void interior_by_another_thread(void **state)
{
    assert_dies_with("invalid free", free_interior_remotely);
}

static void realloc_stack(void)
{
    char object[64];
    require(realloc(blame(object), 100) == NULL);
}

static void realloc_interior(void)
{
    char *block = malloc(9000000);
    require(realloc(blame(block + 65536), 100) == NULL);
}

static void realloc_cached(void)
{
    void *block = malloc(9000000);
    free(block);
    require(realloc(blame(block), 100) == NULL);
}

static void native_realloc_interior(void)
{
    char *block = malloc(100);
    require(cal_reallocate(blame(block + 16), 100) == NULL);
}

static void in_place_interior(void)
{
    char *block = malloc(100);
    require(cal_try_reallocate_in_place(blame(block + 8), 100) == NULL);
}

static void realloc_of_wrong_pointers(void **state)
{
    assert_dies_with("invalid realloc", realloc_stack);
    assert_dies_with("invalid realloc", realloc_interior);
    assert_dies_with("invalid realloc", realloc_cached);
    assert_dies_with("invalid realloc", native_realloc_interior);
    assert_dies_with("invalid realloc", in_place_interior);
}

static void realloc_stack_to_zero(void)
{
    char object[64];
    require(realloc(blame(object), 0) == NULL);
}

static void realloc_to_zero_frees_and_says_so(void **state)
{
    assert_dies_with("invalid free", realloc_stack_to_zero);
}

static void usable_size_of_stack(void)
{
    char object[64];
    require(malloc_usable_size(blame(object)) == 0);
}

static void native_size_of_stack(void)
{
    char object[64];
    require(cal_allocation_size(blame(object)) == 0);
}

static void usable_size_of_wrong_pointers(void **state)
{
    assert_dies_with("invalid malloc_usable_size", usable_size_of_stack);
    assert_dies_with("invalid cal_allocation_size", native_size_of_stack);
}

/* The children's deaths leave the parent as it was. */
static void the_parent_is_unharmed(void **state)
{
    size_t before = statistics().active_allocations;
    assert_dies_with("invalid free", free_stack);
    assert_int_equal(statistics().active_allocations, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_is_not_ours),
        cmocka_unit_test(any_64_bit_value),
        cmocka_unit_test(addresses_that_differ_in_one_high_bit),
        cmocka_unit_test(interior_of_slab_blocks),
        cmocka_unit_test(slots_that_were_never_blocks),
        cmocka_unit_test(interior_of_runs),
        cmocka_unit_test(interior_of_mappings),
        cmocka_unit_test(double_free_of_a_large_block),
        cmocka_unit_test(already_unmapped_blocks),
        cmocka_unit_test(double_free_of_a_run),
        cmocka_unit_test(double_free_is_seen_when_the_list_is_taken),
        cmocka_unit_test(double_free_is_seen_at_exit),
        cmocka_unit_test(double_free_by_another_thread),
        cmocka_unit_test(double_free_in_a_page_without_owner),
        cmocka_unit_test(interior_by_another_thread),
        cmocka_unit_test(realloc_of_wrong_pointers),
        cmocka_unit_test(realloc_to_zero_frees_and_says_so),
        cmocka_unit_test(usable_size_of_wrong_pointers),
        cmocka_unit_test(the_parent_is_unharmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
