#include "clock.h"

uint64_t cal__clock_first;
static uint64_t first_time;

void cal__clock_start(void)
{
    first_time = cal__clock_now(CLOCK_MONOTONIC);
    cal__clock_first = cal__clock_ticks();
}

/* From a look at both clocks now: where the start is too near for a division, from one in a short while. */
uint64_t cal__clock_ticks_per_second(void)
{
    enum { LEAST = 50000 };
    uint64_t from = first_time, ticks = cal__clock_first, now = cal__clock_now(CLOCK_MONOTONIC);
    while (now - from < LEAST)
        now = cal__clock_now(CLOCK_MONOTONIC);
    return (uint64_t)((double)(cal__clock_ticks() - ticks) * 1e9 / (double)(now - from));
}
