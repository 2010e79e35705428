/* workloads NAME [THREADS [SCALE]]: runs one workload and prints one line of JSON: operations,
 * seconds, CPU seconds, peak and final resident KiB, and the bytes that were live at the end. */
#include "workloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* A field of /proc/self/status in KiB. Not by getrusage: that includes the parent before exec. */
static long status(const char *field)
{
    long value = -1;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            value = atol(line + strlen(field));
    if (file != NULL)
        fclose(file);
    return value;
}

static const struct workload *find(const struct workload *workload, const char *name)
{
    for (; workload->name != NULL; workload++)
        if (strcmp(workload->name, name) == 0)
            return workload;
    return NULL;
}

static void list(const struct workload *workload)
{
    for (; workload->name != NULL; workload++)
        printf("%s\t%s\n", workload->name, workload->about);
}

int main(int count, char **arguments)
{
    if (count < 2) {
        list(program_workloads);
        list(thread_workloads);
        return 0;
    }
    const struct workload *workload = find(program_workloads, arguments[1]);
    if (workload == NULL)
        workload = find(thread_workloads, arguments[1]);
    unsigned threads = count > 2 ? (unsigned)atoi(arguments[2]) : 1;
    unsigned scale = count > 3 ? (unsigned)atoi(arguments[3]) : 1;
    if (workload == NULL || threads == 0 || threads > 64 || scale == 0) {
        fprintf(stderr, "usage: %s [NAME [THREADS (1-64) [SCALE]]]\n", arguments[0]);
        return 2;
    }
    size_t live = 0;
    double started = now(CLOCK_MONOTONIC);
    uint64_t operations = workload->run(threads, scale, &live);
    double seconds = now(CLOCK_MONOTONIC) - started;
    printf("{\"operations\": %llu, \"seconds\": %.6f, \"cpu\": %.6f, \"peak\": %ld, "
           "\"final\": %ld, \"live\": %zu}\n",
           (unsigned long long)operations, seconds, now(CLOCK_PROCESS_CPUTIME_ID), status("VmHWM:"),
           status("VmRSS:"), live / 1024);
    return 0;
}
