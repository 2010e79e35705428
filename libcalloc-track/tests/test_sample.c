#include <math.h>

#include "sample.h"
#include "support.h"

enum { MANY = 200000 };

static void gaps_are_exponential(void **state)
{
    (void)state;
    const uint64_t mean = 10000;
    uint64_t random = 1;
    double sum = 0;
    int longer = 0;
    for (int i = 0; i < MANY; i++) {
        int64_t gap = cal__sample_gap(&random, mean);
        assert_true(gap > 0);
        sum += (double)gap;
        longer += gap > (int64_t)mean;
    }
    /* Always the same numbers: within four times the spread of a mean of so many. */
    assert_true(fabs(sum / MANY - mean) < 4.0 * mean / sqrt(MANY));
    assert_true(fabs((double)longer / MANY - exp(-1)) < 4 * 0.5 / sqrt(MANY));
}

/* The weight is the inverse of the probability, on average over what rounds it. */
static void weights_are_unbiased(void **state)
{
    (void)state;
    const struct {
        uint64_t size;
        uint64_t mean;
    } cases[] = {{1, 1},       {1, 3},        {16, 8192},      {100, 128},   {4096, 8192},
                 {8192, 8192}, {50000, 8192}, {1 << 30, 8192}, {16, 1 << 30}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double wanted = -1 / expm1(-(double)cases[i].size / (double)cases[i].mean), sum = 0;
        for (uint64_t j = 0; j < 4096; j++)
            sum += (double)cal__sample_weight(cases[i].size, cases[i].mean, j << 52);
        assert_true(fabs(sum / 4096 - wanted) <= wanted * 1e-9 + 1.0 / 4096);
    }
}

/* A process that allocates blocks of one size, and what its samples say of them. */
static void estimates_are_right(void **state)
{
    (void)state;
    for (uint64_t size = 16; size <= 65536; size *= 8) {
        const uint64_t mean = 4096;
        uint64_t random = 12345 + size;
        int64_t gap = cal__sample_gap(&random, mean);
        double estimate = 0, square = 0;
        for (int i = 0; i < MANY; i++) {
            gap -= (int64_t)size;
            if (gap > 0)
                continue;
            double weight = (double)cal__sample_weight(size, mean, cal__sample_mix((uint64_t)i));
            gap = cal__sample_gap(&random, mean);
            estimate += weight;
            square += weight * (weight - 1);
        }
        assert_true(fabs(estimate - MANY) <= 4 * sqrt(square) + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_are_exponential),
        cmocka_unit_test(weights_are_unbiased),
        cmocka_unit_test(estimates_are_right),
    };
    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
