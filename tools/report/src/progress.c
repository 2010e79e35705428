#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const uint64_t patience = 500000000, interval = 100000000; /* ns */

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void cal__progress_begin(struct cal__progress *progress, const char *what, uint64_t total)
{
    *progress = (struct cal__progress){.what = what, .total = total, .terminal = isatty(2) == 1};
    if (progress->terminal)
        progress->begun = progress->last = now();
}

void cal__progress_at(struct cal__progress *progress, uint64_t done)
{
    enum { WIDTH = 40 };
    if (!progress->terminal)
        return;
    uint64_t time = now();
    if (time - progress->begun < patience || time - progress->last < interval)
        return;
    progress->last = time;
    progress->drawn = true;
    uint64_t total = progress->total > done ? progress->total : done;
    int filled = total ? (int)(done * WIDTH / total) : WIDTH;
    fprintf(stderr, "\r%s [%.*s%*s] %" PRIu64 "/%" PRIu64 "\033[K", progress->what, filled,
            "########################################", WIDTH - filled, "", done, total);
    fflush(stderr);
}

void cal__progress_end(struct cal__progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = false;
}
