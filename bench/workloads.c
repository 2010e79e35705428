/* workloads NAME [THREADS [SCALE]]: runs one workload and prints one line of JSON: operations,
 * seconds, CPU seconds, operations per second, peak and final resident KiB, KiB live at the end,
 * and the final fragmentation.
 *
 * The final fragmentation is (resident memory at the end - resident memory before the workload
 * - the workload's own tables) / bytes asked for in the blocks that are live at the end; 1 is ideal.
 * It is null where nothing is live. */
#include "workloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static atomic_size_t tables;

void *table(size_t size)
{
    size = (size + 4095) & ~(size_t)4095;
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("a table of the workload");
        exit(1);
    }
    tables += size;
    return memory;
}

size_t tables_size(void)
{
    return tables;
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
    /* Once before it counts: the reading itself allocates. */
    (void)status("VmRSS:");
    long baseline = status("VmRSS:");
    double started = now(CLOCK_MONOTONIC);
    uint64_t operations = workload->run(threads, scale, &live);
    double seconds = now(CLOCK_MONOTONIC) - started;
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    long final = status("VmRSS:");
    double beyond = (double)(final - baseline) * 1024 - (double)tables_size();
    char fragmentation[32] = "null";
    if (live > 0)
        snprintf(fragmentation, sizeof fragmentation, "%.4f", beyond / (double)live);
    printf("{\"operations\": %llu, \"seconds\": %.6f, \"cpu\": %.6f, \"rate\": %.0f, "
           "\"peak\": %ld, \"final\": %ld, \"live\": %zu, \"fragmentation\": %s}\n",
           (unsigned long long)operations, seconds, cpu, (double)operations / seconds,
           status("VmHWM:"), final, live / 1024, fragmentation);
    return 0;
}
