/* A user's program that asks what was recorded of it, and where a block of its own comes from. */
#include <calloc/track.h>
#include <stdio.h>
#include <stdlib.h>

static struct cal_tracker *tracker;
static void *outer_return;

__attribute__((noinline)) static int innermost(void)
{
    static char block[10];
    int result = cal_tracker_allocation(tracker, block, sizeof block);
    /* Not the last thing it does: else it is no frame by then. */
    __asm__ volatile("" ::: "memory");
    return result;
}

__attribute__((noinline)) static int outer(void)
{
    outer_return = __builtin_return_address(0);
    int result = innermost();
    __asm__ volatile("" ::: "memory");
    return result;
}

int main(void)
{
    struct cal_track_totals before = {.size = sizeof before}, after = {.size = sizeof after};
    struct cal_tracker_block told;
    if (cal_track_start() != 0 || cal_track_totals(&before) != 0)
        return 1;
    void *volatile block = malloc(1000);
    if (block == NULL || cal_track_totals(&after) != 0)
        return 1;
    free(block);
    tracker = cal_tracker_create();
    if (tracker == NULL || outer() != 0 || cal_tracker_leaks(tracker, &told, 1) != 1)
        return 1;
    /* In innermost(), in outer(), in main(). */
    int known = told.frames[2] == outer_return;
    cal_tracker_destroy(tracker);
    printf("recorded %d, %s\n", (int)(after.allocations - before.allocations),
           known ? "stacks known" : "stacks not known");
    return known ? 0 : 1;
}
