/*
 * threads COUNT OPERATIONS REST [none]: so many threads share a fixed amount of work, rest, and rest
 * again after each has freed what it holds. Prints one line of JSON: the operations, the seconds of
 * the work, and resident KiB with all threads at rest, holding their blocks (active) and holding
 * nothing (idle), with the KiB that they hold when active.
 *
 * With `none` the threads do the same without allocating: what the process takes then are the
 * threads themselves.
 *
 * The work of each thread: it replaces random ones of its blocks, of 16 bytes to 1 KiB with now
 * and then one of up to 8 KiB. All start at once, when all are there; REST is in milliseconds.
 */
#include "workloads.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { SLOTS = 100, STACK = 64 * 1024 };

struct thread {
    uint64_t seed;
    unsigned long operations;
    size_t held;
    void *blocks[SLOTS];
    uint16_t sizes[SLOTS];
};

static pthread_barrier_t barrier;
static bool allocating = true;

/* A block, all of it written; nothing where nothing is allocated. */
static void *take(size_t size)
{
    if (!allocating)
        return NULL;
    void *block = must_malloc(size);
    memset(block, 1, size);
    return block;
}

static void give_back(struct thread *thread, unsigned slot)
{
    if (allocating)
        free(thread->blocks[slot]);
    thread->blocks[slot] = NULL;
    thread->held -= thread->sizes[slot];
    thread->sizes[slot] = 0;
}

static void *work(void *argument)
{
    struct thread *thread = argument;
    pthread_barrier_wait(&barrier);
    for (unsigned long i = 0; i < thread->operations; i += 2) {
        /* First each slot once, so that all threads hold as much however little they work. */
        unsigned slot = i / 2 < SLOTS ? i / 2 : random_between(&thread->seed, 0, SLOTS - 1);
        give_back(thread, slot);
        size_t size = random_between(&thread->seed, 16, 1024);
        if (size % 64 == 0)
            size *= 8;
        thread->blocks[slot] = take(size);
        thread->sizes[slot] = (uint16_t)size;
        thread->held += size;
    }
    pthread_barrier_wait(&barrier);
    /* Here the main thread looks at the active threads. */
    pthread_barrier_wait(&barrier);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        give_back(thread, slot);
    pthread_barrier_wait(&barrier);
    /* And here at the idle ones. */
    pthread_barrier_wait(&barrier);
    return NULL;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Resident KiB after a rest, counted exactly: the sum in /proc/self/status may lag behind. */
static long resident(unsigned rest)
{
    long value = 0;
    char line[256];
    nanosleep(&(struct timespec){rest / 1000, rest % 1000 * 1000000L}, NULL);
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "Rss:", 4) == 0)
            value = atol(line + 4);
    if (file != NULL)
        fclose(file);
    return value;
}

int main(int count, char **arguments)
{
    unsigned threads = count > 3 ? (unsigned)atoi(arguments[1]) : 0;
    unsigned long operations = count > 3 ? strtoul(arguments[2], NULL, 10) : 0;
    unsigned rest = count > 3 ? (unsigned)atoi(arguments[3]) : 0;
    allocating = !(count == 5 && strcmp(arguments[4], "none") == 0);
    if (threads == 0 || threads > 65536 || (count == 5 && allocating) || count > 5) {
        fprintf(stderr, "usage: %s COUNT OPERATIONS REST [none]\n", arguments[0]);
        return 2;
    }
    size_t bytes = threads * (sizeof(struct thread) + sizeof(pthread_t));
    struct thread *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (all == MAP_FAILED) {
        perror("threads");
        return 1;
    }
    pthread_t *handles = (pthread_t *)(all + threads);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_barrier_init(&barrier, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        all[i].seed = i + 1;
        all[i].operations = operations / threads;
        if (pthread_create(&handles[i], &attributes, work, &all[i]) != 0) {
            fprintf(stderr, "only %u threads could be started\n", i);
            return 1;
        }
    }
    double started = now();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    double seconds = now() - started;
    long active = resident(rest);
    size_t held = 0;
    for (unsigned i = 0; i < threads; i++)
        held += all[i].held;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    long idle = resident(rest);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(handles[i], NULL);
    printf("{\"operations\": %lu, \"seconds\": %.6f, \"active\": %ld, \"idle\": %ld, "
           "\"held\": %zu}\n",
           operations / threads * threads, seconds, active, idle, held / 1024);
    return 0;
}
