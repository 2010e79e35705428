#include "sample.h"

uint64_t cal__sample_mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* The natural logarithm of 0 < X <= 1, to about 1e-15: libm is none of what a preloaded library needs. By
 * ln m = 2 artanh((m - 1) / (m + 1)) for the mantissa. */
static double logarithm(double x)
{
    int exponent = 0;
    while (x < 0.70710678118654752) {
        x *= 2;
        exponent--;
    }
    double t = (x - 1) / (x + 1), power = t, sum = 0;
    for (int i = 1; i < 24; i += 2) {
        sum += power / i;
        power *= t * t;
    }
    return 2 * sum + exponent * 0.69314718055994531;
}

/* 1 - exp(-X) for X >= 0. */
static double chance(double x)
{
    if (x > 40)
        return 1;
    /* By the series for a small part of it, then squared: with y = 1 - exp(-x), 1 - exp(-2x) = y (2 - y). */
    int doublings = 0;
    while (x > 0.0625) {
        x /= 2;
        doublings++;
    }
    double term = x, sum = 0;
    for (int i = 2; i < 14; i++) {
        sum += term;
        term *= -x / i;
    }
    for (; doublings > 0; doublings--)
        sum *= 2 - sum;
    return sum;
}

int64_t cal__sample_gap(uint64_t *random, uint64_t mean)
{
    /* xorshift64*, of which the high bits are good. */
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    uint64_t bits = *random * UINT64_C(0x2545f4914f6cdd1d) >> 11;
    double uniform = ((double)bits + 1) / 9007199254740992.0;
    double gap = -logarithm(uniform) * (double)mean;
    return gap < 4e18 ? (int64_t)gap + 1 : INT64_MAX;
}

uint64_t cal__sample_weight(uint64_t size, uint64_t mean, uint64_t dither)
{
    double weight = 1 / chance((double)size / (double)mean);
    return (uint64_t)(weight + (double)(dither >> 11) / 9007199254740992.0);
}
