/* What the process has of memory and time. Nothing here allocates from the heap. */
#ifndef CAL_REPLAY_MEASURE_H
#define CAL_REPLAY_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of the monotonic clock, and of processor time of the process. */
uint64_t cal__measure_clock(void);
uint64_t cal__measure_processor(void);

/* Bytes of anonymous memory that are resident: quick, and a few pages off per processor; and as exact as the
 * kernel can tell. What is shared, as the script is, does not count. */
uint64_t cal__measure_resident(void);
uint64_t cal__measure_resident_exactly(void);

struct cal__sample {
    uint64_t time;     /* ns since the start */
    uint64_t live;     /* bytes that were asked for and not freed */
    uint64_t resident; /* bytes, above what was there before the first call */
};

/* A time line that does not grow: when it is full, each second sample is dropped, and they are taken half as
 * often. */
enum { CAL__SAMPLES = 512 };

struct cal__samples {
    struct cal__sample all[CAL__SAMPLES];
    size_t count;
    uint64_t interval, next; /* ns */
};

void cal__samples_begin(struct cal__samples *samples);
void cal__samples_add(struct cal__samples *samples, const struct cal__sample *sample);

#endif
