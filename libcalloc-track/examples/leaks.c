/* A program that looks for its leaks itself, for example after each round of a test. */
#include <calloc/track.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Nothing that is still seen as a pointer. */
static volatile uintptr_t lost;

int main(void)
{
    struct cal_track_leaks leaks = {.size = sizeof leaks};
    lost = ~(uintptr_t)malloc(100);
    int error = cal_track_leaks(&leaks);
    if (error != 0)
        printf("this program is not watched: %d\n", error);
    else
        printf("%zu blocks of %zu bytes leaked\n", leaks.blocks, leaks.bytes);
    free((void *)~lost);
    return 0;
}
