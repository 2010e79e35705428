/* Workloads of several threads: blocks that change hands, false sharing, threads that come and go.
 * Written from the published descriptions of the algorithms; where a description has a name in the
 * literature, the workload has it too. */
#include "workloads.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

void in_threads(unsigned threads, void *(*body)(void *), void *arguments, size_t size)
{
    pthread_t thread[4096];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (unsigned i = 0; i + 1 < threads; i++) {
        if (pthread_create(&thread[i], &attributes, body, (char *)arguments + i * size) != 0)
            abort();
    }
    body((char *)arguments + (threads - 1) * size);
    for (unsigned i = 0; i + 1 < threads; i++)
        pthread_join(thread[i], NULL);
    pthread_attr_destroy(&attributes);
}

struct worker {
    _Atomic(void *) *shared;
    void **blocks;
    size_t *sizes;
    unsigned scale;
    uint64_t seed;
    uint64_t operations;
    size_t live;
};

/* *live is the sum of what the workers say that they hold. */
static uint64_t run_workers(unsigned threads, unsigned scale, void *(*body)(void *),
                            _Atomic(void *) *shared, size_t *live)
{
    struct worker *worker = calloc(threads, sizeof *worker);
    for (unsigned i = 0; i < threads; i++)
        worker[i] = (struct worker){shared, NULL, NULL, scale, i + 1, 0, 0};
    in_threads(threads, body, worker, sizeof *worker);
    uint64_t operations = 0;
    *live = 0;
    for (unsigned i = 0; i < threads; i++) {
        operations += worker[i].operations;
        *live += worker[i].live;
    }
    free(worker);
    return operations;
}

/* Larson and Krishnan, "Memory Allocation for Long-Running Server Applications" (1998): a thread
 * replaces random blocks of its set, then hands the whole set to a new thread and ends. */
#define LARSON_BLOCKS      1000
#define LARSON_GENERATIONS 15

static void *larson_thread(void *argument)
{
    struct worker *worker = argument;
    for (unsigned i = 0; i < 400000; i++) {
        size_t slot = random_between(&worker->seed, 0, LARSON_BLOCKS - 1);
        free(worker->blocks[slot]);
        worker->sizes[slot] = random_between(&worker->seed, 8, 1000);
        worker->blocks[slot] = must_malloc(worker->sizes[slot]);
        worker->operations += 2;
    }
    return NULL;
}

static uint64_t larson(unsigned threads, unsigned scale, size_t *live)
{
    struct worker *worker = calloc(threads, sizeof *worker);
    for (unsigned i = 0; i < threads; i++) {
        worker[i] = (struct worker){NULL,
                                    table(LARSON_BLOCKS * sizeof(void *)),
                                    table(LARSON_BLOCKS * sizeof(size_t)),
                                    scale,
                                    i + 1,
                                    0,
                                    0};
        for (unsigned j = 0; j < LARSON_BLOCKS; j++) {
            worker[i].sizes[j] = random_between(&worker[i].seed, 8, 1000);
            worker[i].blocks[j] = must_malloc(worker[i].sizes[j]);
        }
    }
    for (unsigned generation = 0; generation < LARSON_GENERATIONS * scale; generation++) {
        in_threads(threads, larson_thread, worker, sizeof *worker);
        /* The next generation works on the blocks of its neighbours. */
        struct worker first = worker[0];
        for (unsigned i = 0; i + 1 < threads; i++) {
            worker[i].blocks = worker[i + 1].blocks;
            worker[i].sizes = worker[i + 1].sizes;
        }
        worker[threads - 1].blocks = first.blocks;
        worker[threads - 1].sizes = first.sizes;
    }
    uint64_t operations = 0;
    *live = 0;
    for (unsigned i = 0; i < threads; i++) {
        for (unsigned j = 0; j < LARSON_BLOCKS; j++)
            *live += worker[i].sizes[j];
        operations += worker[i].operations;
    }
    free(worker);
    return operations;
}

/* Producers allocate batches, consumers free them, as in xmalloc-test (Lever and Boreham, "malloc()
 * Performance in a Multithreaded Linux Environment", 2000): no block is freed where it was made. */
#define BATCH 256
#define QUEUE 64

static void *producer_or_consumer(void *argument)
{
    struct worker *worker = argument;
    unsigned batches = 40000 * worker->scale;
    if (worker->seed % 2 != 0) {
        for (unsigned i = 0; i < batches; i++) {
            void **batch = must_malloc(BATCH * sizeof *batch);
            for (unsigned j = 0; j < BATCH; j++)
                batch[j] = must_malloc(64 + 16 * (j % 8));
            _Atomic(void *) *slot = &worker->shared[i % QUEUE];
            for (void *empty = NULL; !atomic_compare_exchange_weak(slot, &empty, batch);
                 empty = NULL)
                sched_yield();
            worker->operations += BATCH + 1;
        }
        return NULL;
    }
    for (unsigned i = 0; i < batches; i++) {
        void **batch;
        while ((batch = atomic_exchange(&worker->shared[i % QUEUE], NULL)) == NULL)
            sched_yield();
        for (unsigned j = 0; j < BATCH; j++)
            free(batch[j]);
        free(batch);
        worker->operations += BATCH + 1;
    }
    return NULL;
}

static uint64_t xmalloc(unsigned threads, unsigned scale, size_t *live)
{
    static _Atomic(void *) queue[QUEUE];
    /* As many of the one as of the other. */
    return run_workers((threads + 1) / 2 * 2, scale, producer_or_consumer, queue, live);
}

/* Berger and others, "Hoard" (2000): passive and active false sharing. A thread writes its small
 * blocks over and over; slow if they share cache lines with another thread's. */
static void write_much(void *block, uint64_t *operations)
{
    for (unsigned i = 0; i < 2000; i++)
        for (unsigned j = 0; j < 8; j++)
            ((volatile char *)block)[j]++;
    *operations += 2;
}

static void *scratch_thread(void *argument)
{
    struct worker *worker = argument;
    /* The first block comes from the main thread, next to the ones for the others. */
    free(atomic_exchange(&worker->shared[worker->seed - 1], NULL));
    for (unsigned i = 0; i < 30000 * worker->scale; i++) {
        void *block = must_malloc(8);
        write_much(block, &worker->operations);
        free(block);
    }
    return NULL;
}

static uint64_t cache_scratch(unsigned threads, unsigned scale, size_t *live)
{
    _Atomic(void *) *given = calloc(threads, sizeof *given);
    for (unsigned i = 0; i < threads; i++)
        given[i] = must_malloc(8);
    uint64_t operations = run_workers(threads, scale, scratch_thread, given, live);
    free(given);
    return operations;
}

static void *thrash_thread(void *argument)
{
    struct worker *worker = argument;
    for (unsigned i = 0; i < 30000 * worker->scale; i++) {
        void *block = must_malloc(8);
        write_much(block, &worker->operations);
        free(block);
    }
    return NULL;
}

static uint64_t cache_thrash(unsigned threads, unsigned scale, size_t *live)
{
    return run_workers(threads, scale, thrash_thread, NULL, live);
}

/* Random sizes over five orders of magnitude, most of them small, random lives, one block in eight
 * passed on to whoever finds it. */
#define STRESS_SLOTS  2000
#define STRESS_SHARED 512

static size_t stress_size(uint64_t *random)
{
    size_t size = random_between(random, 8, 512);
    uint64_t luck = next_random(random) >> 54;
    if (luck < 8)
        return size * 256;
    return luck < 80 ? size * 16 : size;
}

/* Each block starts with its size. */
static void *stress_thread(void *argument)
{
    struct worker *worker = argument;
    size_t **slot = table(STRESS_SLOTS * sizeof *slot);
    for (unsigned i = 0; i < 6000000 * worker->scale; i++) {
        size_t **at = &slot[random_between(&worker->seed, 0, STRESS_SLOTS - 1)];
        if (*at == NULL) {
            size_t size = stress_size(&worker->seed);
            *at = must_malloc(size);
            **at = size;
        } else if (i % 8 == 0) {
            size_t place = random_between(&worker->seed, 0, STRESS_SHARED - 1);
            free(atomic_exchange(&worker->shared[place], *at));
            *at = NULL;
        } else {
            free(*at);
            *at = NULL;
        }
        worker->operations++;
    }
    for (unsigned i = 0; i < STRESS_SLOTS; i++)
        worker->live += slot[i] != NULL ? *slot[i] : 0;
    return NULL;
}

static uint64_t stress(unsigned threads, unsigned scale, size_t *live)
{
    static _Atomic(void *) shared[STRESS_SHARED];
    uint64_t operations = run_workers(threads, scale, stress_thread, shared, live);
    for (unsigned i = 0; i < STRESS_SHARED; i++) {
        size_t *block = atomic_load(&shared[i]);
        *live += block != NULL ? *block : 0;
    }
    return operations;
}

/* Threads that allocate some, leave a little behind for the main thread to free, and end. */
#define LEFT 20

static void *leaving_thread(void *argument)
{
    struct worker *worker = argument;
    void *block[400];
    for (unsigned i = 0; i < 400; i++)
        block[i] = must_malloc(random_between(&worker->seed, 16, 800));
    for (unsigned i = LEFT; i < 400; i++)
        free(block[i]);
    memcpy(worker->blocks, block, LEFT * sizeof *block);
    worker->operations += 800;
    return NULL;
}

static uint64_t leak_and_exit(unsigned threads, unsigned scale, size_t *live)
{
    uint64_t operations = 0;
    struct worker *worker = calloc(threads, sizeof *worker);
    void *left[64][LEFT];
    for (unsigned round = 0; round < 4000 * scale; round++) {
        for (unsigned i = 0; i < threads; i++)
            worker[i] =
                (struct worker){NULL, left[i % 64], NULL, scale, round * threads + i + 1, 0, 0};
        in_threads(threads, leaving_thread, worker, sizeof *worker);
        for (unsigned i = 0; i < threads; i++) {
            operations += worker[i].operations;
            for (unsigned j = 0; i < 64 && j < LEFT; j++)
                free(left[i][j]);
        }
    }
    free(worker);
    *live = 0;
    return operations;
}

const struct workload thread_workloads[] = {
    {"larson", "a server's threads replace blocks and hand them over", larson},
    {"xmalloc", "producers allocate, consumers free", xmalloc},
    {"cache-scratch", "passive false sharing", cache_scratch},
    {"cache-thrash", "active false sharing", cache_thrash},
    {"stress", "random sizes and lives, blocks passed on between threads", stress},
    {"leak-and-exit", "short-lived threads whose blocks others free", leak_and_exit},
    {NULL, NULL, NULL},
};
