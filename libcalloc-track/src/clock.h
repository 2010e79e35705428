/* Two clocks: the processor's counter, which costs a few nanoseconds, and the system's. */
#ifndef CAL_TRACK_CLOCK_H
#define CAL_TRACK_CLOCK_H

#include <time.h>

#include "base.h"

CAL_INLINE uint64_t cal__clock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
#    error "which counter?"
#endif
}

/* The counter at the start of the recording, and how fast it goes. */
void cal__clock_start(void);
extern uint64_t cal__clock_first;
uint64_t cal__clock_ticks_per_second(void);

static inline uint64_t cal__clock_now(clockid_t clock)
{
    struct timespec time;
    return clock_gettime(clock, &time) != 0
               ? 0
               : (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

#endif
