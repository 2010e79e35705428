#include "measure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_of(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t cal__measure_clock(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

uint64_t cal__measure_processor(void)
{
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* stdio would allocate. */
static void read_text(const char *path, char *text, size_t size)
{
    size_t length = 0;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        ssize_t got;
        while (length < size - 1 && (got = read(descriptor, text + length, size - 1 - length)) > 0)
            length += (size_t)got;
        close(descriptor);
    }
    text[length] = '\0';
}

uint64_t cal__measure_resident(void)
{
    char text[256], *at = text;
    read_text("/proc/self/statm", text, sizeof text);
    strtoull(at, &at, 10); /* address space */
    uint64_t resident = strtoull(at, &at, 10), shared = strtoull(at, &at, 10);
    return resident > shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t cal__measure_resident_exactly(void)
{
    static const char name[] = "\nAnonymous:";
    char text[4096];
    read_text("/proc/self/smaps_rollup", text, sizeof text);
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + sizeof name - 1, NULL, 10) * 1024 : cal__measure_resident();
}

void cal__samples_begin(struct cal__samples *samples)
{
    *samples = (struct cal__samples){.interval = 1000000};
}

void cal__samples_add(struct cal__samples *samples, const struct cal__sample *sample)
{
    if (samples->count == CAL__SAMPLES) {
        for (size_t i = 0; i < CAL__SAMPLES / 2; i++)
            samples->all[i] = samples->all[2 * i];
        samples->count = CAL__SAMPLES / 2;
        samples->interval *= 2;
    }
    samples->all[samples->count++] = *sample;
    samples->next = sample->time + samples->interval;
}
