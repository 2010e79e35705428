/* Aligned allocation: every power of two, and what each function says to the others. */
#include "support.h"

#if defined(__x86_64__)
#    include <immintrin.h>
#endif

static void check_block(void *block, size_t alignment, size_t size)
{
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % alignment, 0);
    assert_int_equal((uintptr_t)block % 16, 0);
    assert_true(malloc_usable_size(block) >= size);
    if (size != 0) {
        ((volatile unsigned char *)block)[0] = 1;
        ((volatile unsigned char *)block)[size - 1] = 2;
    }
}

static void aligned_alloc_serves_every_power_of_two(void **state)
{
    static const size_t sizes[] = {1,     16,     17,     48,      100,     1000,
                                   1024,  3000,   4096,   9000,    40000,   65536,
                                   65537, 131072, 131073, 1000000, 1048577, 3000000};
    for (size_t alignment = 16; alignment <= (size_t)64 << 20; alignment *= 2) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            void *block = aligned_alloc(alignment, sizes[i]);
            check_block(block, alignment, sizes[i]);
            free(block);
        }
    }
}

/* Kept at once: a wrong slot choice shows as an overlap. */
static void aligned_blocks_do_not_overlap(void **state)
{
    enum { COUNT = 16 };
    for (size_t alignment = 32; alignment <= 65536; alignment *= 2) {
        unsigned char *blocks[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
            size_t size = 1 + i * 611;
            blocks[i] = aligned_alloc(alignment, size);
            check_block(blocks[i], alignment, size);
            fill(blocks[i], size, i + alignment);
        }
        for (size_t i = 0; i < COUNT; i++) {
            assert_true(is_filled(blocks[i], 1 + i * 611, i + alignment));
            free(blocks[i]);
        }
    }
}

static void alignments_below_16_are_served(void **state)
{
    for (size_t alignment = 1; alignment <= 16; alignment *= 2) {
        void *block = aligned_alloc(alignment, 10);
        check_block(block, 16, 10);
        free(block);
        block = cal_allocate_aligned(10, alignment);
        check_block(block, 16, 10);
        cal_deallocate(block);
    }
}

static void aligned_alloc_refuses_other_alignments(void **state)
{
    static const size_t bad[] = {0, 3, 24, 48, 100, 4095, 65537, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 0;
        assert_null(aligned_alloc(bad[i], 64));
        assert_int_equal(errno, EINVAL);
        errno = 0;
        assert_null(cal_allocate_aligned(64, bad[i]));
        assert_int_equal(errno, EINVAL);
    }
}

static void impossible_aligned_sizes_are_enomem(void **state)
{
    for (size_t alignment = 16; alignment != 0; alignment *= 2) {
        errno = 0;
        assert_null(aligned_alloc(alignment, SIZE_MAX - alignment + 1));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(cal_allocate_aligned((size_t)PTRDIFF_MAX, alignment));
        assert_int_equal(errno, ENOMEM);
    }
    errno = 0;
    assert_null(aligned_alloc((size_t)1 << 62, 16));
    assert_int_equal(errno, ENOMEM);
}

static void posix_memalign_aligns(void **state)
{
    for (size_t alignment = sizeof(void *); alignment <= (size_t)2 << 20; alignment *= 2) {
        void *block = NULL;
        assert_int_equal(posix_memalign(&block, alignment, 77), 0);
        check_block(block, alignment, 77);
        free(block);
    }
}

static void posix_memalign_of_zero_can_be_freed(void **state)
{
    void *first = NULL;
    void *second = NULL;
    assert_int_equal(posix_memalign(&first, 64, 0), 0);
    assert_int_equal(posix_memalign(&second, 64, 0), 0);
    assert_non_null(first);
    assert_ptr_not_equal(first, second);
    free(first);
    free(second);
}

static void posix_memalign_changes_nothing_on_error(void **state)
{
    static const size_t bad[] = {0, 1, 2, 4, 7, 9, 12, 24, 100, 4097, SIZE_MAX};
    int object;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *block = &object;
        errno = 4711;
        assert_int_equal(posix_memalign(&block, bad[i], 64), EINVAL);
        assert_int_equal(errno, 4711);
        assert_ptr_equal(block, &object);
    }
    static const size_t impossible[] = {SIZE_MAX, (size_t)PTRDIFF_MAX, (size_t)1 << 60};
    for (size_t i = 0; i < 3; i++) {
        void *block = &object;
        errno = 4711;
        assert_int_equal(posix_memalign(&block, 64, impossible[i]), ENOMEM);
        assert_int_equal(errno, 4711);
        assert_ptr_equal(block, &object);
    }
}

static void memalign_rounds_the_alignment_up(void **state)
{
    static const size_t asked[] = {0, 1, 3, 17, 33, 63, 100, 1000, 4097, 70000};
    static const size_t given[] = {16, 16, 16, 32, 64, 64, 128, 1024, 8192, 131072};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        void *block = memalign(asked[i], 200);
        check_block(block, given[i], 200);
        free(block);
    }
    errno = 0;
    assert_null(memalign(SIZE_MAX, 1));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(memalign(((size_t)1 << 63) + 1, 1));
    assert_int_equal(errno, EINVAL);
}

static void valloc_and_pvalloc_give_pages(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size <= 3 * page; size += 777) {
        void *block = valloc(size);
        check_block(block, page, size);
        free(block);
        block = pvalloc(size);
        size_t rounded = (size + page - 1) / page * page;
        check_block(block, page, rounded);
        free(block);
    }
    volatile size_t impossible = SIZE_MAX;
    errno = 0;
    assert_null(valloc(impossible));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(pvalloc(impossible - 10));
    assert_int_equal(errno, ENOMEM);
}

/* Slab classes whose size has the alignment serve it without waste. */
static void small_alignments_waste_little(void **state)
{
    void *block = aligned_alloc(64, 64);
    assert_int_equal(malloc_usable_size(block), 64);
    free(block);
    block = aligned_alloc(32, 100);
    assert_true(malloc_usable_size(block) <= 128);
    free(block);
    block = aligned_alloc(4096, 4096);
    assert_true(malloc_usable_size(block) == 4096);
    free(block);
}

static void aligned_memory_is_returned(void **state)
{
    size_t before = statistics().active_bytes;
    for (size_t alignment = 16; alignment <= (size_t)16 << 20; alignment *= 2) {
        void *blocks[5];
        for (size_t i = 0; i < 5; i++)
            blocks[i] = aligned_alloc(alignment, 1 + i * 50000);
        for (size_t i = 0; i < 5; i++)
            free_aligned_sized(blocks[i], alignment, 1 + i * 50000);
    }
    assert_int_equal(statistics().active_bytes, before);
}

/* TURN 8 of the first document, SIMDCrash: the struct that faults on a 16-byte alignment. */
struct simd_data {
    _Alignas(64) float vectors[4][16];
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void store_vectors(struct simd_data *data, float value)
{
    __m512 vector = _mm512_set1_ps(value);
    for (size_t i = 0; i < 4; i++)
        _mm512_store_ps(data->vectors[i], vector);
}

static bool have_avx512(void)
{
    return __builtin_cpu_supports("avx512f");
}
#else
static void store_vectors(struct simd_data *data, float value)
{
}

static bool have_avx512(void)
{
    return false;
}
#endif

static void avx512_structs_can_be_stored(void **state)
{
    for (size_t i = 0; i < 200; i++) {
        struct simd_data *data = cal_allocate_aligned(sizeof *data, _Alignof(struct simd_data));
        check_block(data, 64, sizeof *data);
        cal_deallocate(data);
    }
    if (!have_avx512()) {
        print_message("this processor has no AVX-512: alignment checked, store not executed\n");
        return;
    }
    struct simd_data *data = cal_allocate_aligned(sizeof *data, _Alignof(struct simd_data));
    store_vectors(data, 1.5f);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 16; j++)
            assert_true(data->vectors[i][j] == 1.5f);
    cal_deallocate(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_alloc_serves_every_power_of_two),
        cmocka_unit_test(aligned_blocks_do_not_overlap),
        cmocka_unit_test(alignments_below_16_are_served),
        cmocka_unit_test(aligned_alloc_refuses_other_alignments),
        cmocka_unit_test(impossible_aligned_sizes_are_enomem),
        cmocka_unit_test(posix_memalign_aligns),
        cmocka_unit_test(posix_memalign_of_zero_can_be_freed),
        cmocka_unit_test(posix_memalign_changes_nothing_on_error),
        cmocka_unit_test(memalign_rounds_the_alignment_up),
        cmocka_unit_test(valloc_and_pvalloc_give_pages),
        cmocka_unit_test(small_alignments_waste_little),
        cmocka_unit_test(aligned_memory_is_returned),
        cmocka_unit_test(avx512_structs_can_be_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
