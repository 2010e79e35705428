/*
 * Pairs of malloc and free below a stack: track_pairs DEPTH THREADS PAIRS SITES
 *
 * Each thread calls DEPTH functions deep, and there allocates and frees PAIRS blocks of 64 bytes, from SITES call sites
 * in turn. Prints the nanoseconds of a pair: the time from when the first thread begins until the last is done, by
 * the pairs of one of them. With one thread that is the only one of the process.
 *
 * Nothing here may be inlined or called as a tail, or the stack is not what was asked for.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BYTES = 64, SITES_MAX = 2, THREADS_MAX = 64 };

static long pairs, sites;
static pthread_barrier_t barrier;

struct job {
    long depth;
    double start, end; /* ns */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static __attribute__((noinline)) void *first_site(void)
{
    char *block = malloc(BYTES);
    block[0] = 1;
    return block;
}

static __attribute__((noinline)) void *second_site(void)
{
    char *block = malloc(BYTES);
    block[0] = 2;
    return block;
}

static __attribute__((noinline)) void repeat(long count)
{
    static void *(*const site[SITES_MAX])(void) = {first_site, second_site};
    for (long i = 0; i < count; i++)
        free(site[i % sites]());
}

/* A hundredth first, so that all that is done once is done. */
static __attribute__((noinline)) void measure(struct job *job)
{
    repeat(pairs / 100 + 1);
    pthread_barrier_wait(&barrier);
    job->start = now();
    repeat(pairs);
    job->end = now();
}

static __attribute__((noinline)) long descend(struct job *job, long depth)
{
    /* As real frames have it: something of its own on the stack, which is used afterwards. */
    volatile long kept[2] = {depth, depth + 1};
    if (depth <= 1)
        measure(job);
    else
        descend(job, depth - 1);
    return kept[0] + kept[1];
}

/* With this one, and what is in repeat(), it is DEPTH. */
static void *run(void *argument)
{
    struct job *job = argument;
    descend(job, job->depth - 4);
    return NULL;
}

int main(int count, char **arguments)
{
    static struct job job[THREADS_MAX];
    static pthread_t thread[THREADS_MAX];
    if (count != 5) {
        fprintf(stderr, "usage: %s DEPTH THREADS PAIRS SITES\n", arguments[0]);
        return 2;
    }
    long depth = atol(arguments[1]), threads = atol(arguments[2]);
    pairs = atol(arguments[3]);
    sites = atol(arguments[4]);
    if (depth < 5 || threads < 1 || threads > THREADS_MAX || pairs < 1 || sites < 1 ||
        sites > SITES_MAX) {
        fprintf(stderr, "%s: impossible arguments\n", arguments[0]);
        return 2;
    }
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (long i = 0; i < threads; i++)
        job[i].depth = depth;
    for (long i = 1; i < threads; i++)
        if (pthread_create(&thread[i], NULL, run, &job[i]) != 0) {
            fprintf(stderr, "%s: no thread\n", arguments[0]);
            return 1;
        }
    run(&job[0]);
    double start = job[0].start, end = job[0].end;
    for (long i = 1; i < threads; i++) {
        pthread_join(thread[i], NULL);
        start = job[i].start < start ? job[i].start : start;
        end = job[i].end > end ? job[i].end : end;
    }
    printf("%.3f\n", (end - start) / (double)pairs);
    return 0;
}
