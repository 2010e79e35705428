/* A pool of the program's own, whose blocks a tracker watches. */
#include <calloc/track.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char pool[1024];
static size_t used;
static struct cal_tracker *tracker;

static void *pool_take(size_t bytes)
{
    void *block = pool + used;
    used += bytes;
    cal_tracker_allocation(tracker, block, bytes);
    return block;
}

static void pool_give(void *block)
{
    cal_tracker_deallocation(tracker, block);
}

int main(void)
{
    struct cal_tracker_block left;
    tracker = cal_tracker_create();
    if (tracker == NULL)
        return 1;
    pool_take(128);
    pool_give(pool_take(256));
    size_t leaks = cal_tracker_leaks(tracker, &left, 1);
    printf("%zu block was not given back, of %zu bytes\n", leaks, left.bytes);
    fflush(stdout);
    cal_tracker_report(tracker, STDOUT_FILENO);

    struct cal_tracker_profile *profile = cal_tracker_profile(tracker);
    if (profile != NULL)
        printf("%zu allocations at %zu sites\n", profile->total_allocations, profile->site_count);
    cal_tracker_profile_free(profile);
    cal_tracker_destroy(tracker);
    return 0;
}
