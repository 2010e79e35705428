/*
 * firsttouch MIB: allocates one block of so many MiB, writes to each of its pages once, in order,
 * and prints one line of JSON: the seconds of both, and the KiB of the process in huge pages.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static long in_huge_pages(void)
{
    static const char field[] = "AnonHugePages:";
    long value = -1;
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, sizeof field - 1) == 0)
            value = atol(line + sizeof field - 1);
    if (file != NULL)
        fclose(file);
    return value;
}

int main(int count, char **arguments)
{
    size_t size = count == 2 ? strtoul(arguments[1], NULL, 10) << 20 : 0;
    if (size == 0) {
        fprintf(stderr, "usage: %s MIB\n", arguments[0]);
        return 2;
    }
    double started = now();
    volatile char *block = malloc(size);
    if (block == NULL) {
        fprintf(stderr, "out of memory for %zu bytes\n", size);
        return 1;
    }
    for (size_t at = 0; at < size; at += 4096)
        block[at] = 1;
    double seconds = now() - started;
    printf("{\"seconds\": %.6f, \"huge\": %ld}\n", seconds, in_huge_pages());
    return 0;
}
