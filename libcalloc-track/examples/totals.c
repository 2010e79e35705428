/* A program that says what its allocations came to; and that allocates without being recorded for a while. */
#include <calloc/track.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    struct cal_track_totals totals = {.size = sizeof totals};
    if (cal_track_start() != 0) {
        printf("this program is not watched\n");
        return 0;
    }
    free(malloc(100));
    cal_track_stop();
    free(malloc(100));
    cal_track_start();
    if (cal_track_totals(&totals) == 0)
        printf("%" PRIu64 " allocations of %" PRIu64 " bytes, at most %" PRIu64 " at a time\n",
               totals.allocations, totals.allocated_bytes, totals.peak_bytes);
    return cal_track_active() ? 0 : 1;
}
