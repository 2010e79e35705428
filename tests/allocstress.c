/* allocstress ALLOCATIONS THREADS: that many lifetime allocations of 16 B to 1 MiB with a bounded
 * live set inside an address space of 766 MiB. Address space that is not used again, however
 * slowly it leaks, ends the run; and mapped memory must be flat long before that. */
#include <calloc/calloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "workload.h"

#define ADDRESS_SPACE ((rlim_t)766 << 20)
#define SLOTS         16384
#define LARGEST       20 /* below 2^20 bytes */
#define ROUNDS        50
/* Half of the rounds see the live set at its largest, and most ways that threads may interleave; what
 * the other half adds is growth. A segment more or less is none: a heap of this size maps up to 32
 * MiB at a time. */
#define WARM_UP_ROUNDS (ROUNDS / 2)
#define ONE_SEGMENT    ((size_t)32 << 20)
#define THREADS_MAX    16

static _Atomic(size_t *) slots[SLOTS];
static struct workload workload;
static uint64_t randoms[THREADS_MAX];
static size_t steps_each;

static void *traffic(void *random)
{
    return (void *)workload_run(&workload, random, steps_each);
}

/* One round in all threads; new ones each time, so that heaps change hands too. */
static const char *one_round(unsigned threads)
{
    pthread_t thread[THREADS_MAX];
    const char *complaint = NULL;
    if (threads == 1)
        return traffic(&randoms[0]);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, traffic, &randoms[i]) != 0)
            return "no thread could be made";
    for (unsigned i = 0; i < threads; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        if (result != NULL)
            complaint = result;
    }
    return complaint;
}

static struct cal_statistics statistics(void)
{
    struct cal_statistics now = {.size = sizeof now};
    cal_stats(&now);
    return now;
}

static int fail(const char *complaint, unsigned round)
{
    struct cal_statistics now = statistics();
    fprintf(stderr, "round %u: %s; mapped %zu KiB, live %zu KiB, %zu allocations so far\n", round,
            complaint, now.os_memory_mapped >> 10, now.active_bytes >> 10, now.allocations);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: allocstress ALLOCATIONS THREADS\n"), 2;
    size_t allocations = strtoull(argv[1], NULL, 10);
    unsigned threads = (unsigned)strtoul(argv[2], NULL, 10);
    if (allocations < ROUNDS || threads < 1 || threads > THREADS_MAX)
        return fprintf(stderr, "allocstress: bad arguments\n"), 2;

    struct rlimit limit = {ADDRESS_SPACE, ADDRESS_SPACE};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return perror("setrlimit"), EXIT_FAILURE;
    workload_initialize(&workload, slots, SLOTS, LARGEST);
    for (unsigned i = 0; i < threads; i++)
        randoms[i] = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
    /* A step that resizes in place is no allocation. */
    steps_each = (allocations + allocations / 16) / ROUNDS / threads;

    struct cal_statistics before = statistics();
    size_t warm = 0;
    size_t worst = 0;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        const char *complaint = one_round(threads);
        if (complaint != NULL)
            return fail(complaint, round);
        size_t mapped = statistics().os_memory_mapped;
        if (round <= WARM_UP_ROUNDS)
            warm = mapped > warm ? mapped : warm;
        else if (mapped > warm + warm / 8 + ONE_SEGMENT)
            return fail("mapped memory grows", round);
        worst = mapped > worst ? mapped : worst;
    }
    struct cal_statistics full = statistics();
    const char *complaint = workload_end(&workload);
    if (complaint != NULL)
        return fail(complaint, ROUNDS);
    struct cal_statistics after = statistics();
    /* Nothing lost: what is live now is what was before, and a few of the C library's blocks. */
    if (after.active_allocations > before.active_allocations + 64 ||
        after.allocations - before.allocations < allocations)
        return fail("blocks were lost, or not counted", ROUNDS);
    printf("%zu allocations, live %zu KiB, mapped %zu KiB after warm-up, %zu KiB at most, "
           "fragmentation %zu KiB\n",
           after.allocations, full.active_bytes >> 10, warm >> 10, worst >> 10,
           full.fragmentation_bytes >> 10);
    return EXIT_SUCCESS;
}
