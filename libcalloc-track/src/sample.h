/* The arithmetic of samples. Each byte is the one that is sampled with the same small probability, so the gaps
 * between are exponential, and a block of N bytes is sampled with 1 - exp(-N / MEAN). */
#ifndef CAL_TRACK_SAMPLE_H
#define CAL_TRACK_SAMPLE_H

#include "base.h"

/* Bytes to the next one. RANDOM is a state that is not 0. */
int64_t cal__sample_gap(uint64_t *random, uint64_t mean);

/* How many blocks of SIZE a sampled one stands for: the inverse of its probability, rounded up or down by
 * chance so that the mean is right. DITHER decides, and is spread evenly. */
uint64_t cal__sample_weight(uint64_t size, uint64_t mean, uint64_t dither);

uint64_t cal__sample_mix(uint64_t value);

#endif
