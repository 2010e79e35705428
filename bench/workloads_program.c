/* Workloads of one program each: the database, web server, game engine and machine-learning
 * patterns of the requirements, big blocks, and bursts with rests between them. */
#include "workloads.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 10,000 queries, each of 100 buffers of 50 to 200 bytes; they end in random order and one in
 * sixteen of their buffers (a cached row) is held until the next round. */
#define QUERIES 10000
#define BUFFERS 100

/* A thread's share of a workload, and what it holds at the end. */
struct job {
    unsigned amount;
    uint64_t seed;
    uint64_t operations;
    size_t live;
};

static void shuffle(uint32_t *order, size_t count, uint64_t *random)
{
    for (size_t i = count - 1; i > 0; i--) {
        size_t other = random_between(random, 0, i);
        uint32_t swapped = order[i];
        order[i] = order[other];
        order[other] = swapped;
    }
}

static void *database_thread(void *argument)
{
    struct job *job = argument;
    uint64_t random = job->seed;
    void **buffers = table((size_t)QUERIES * BUFFERS * sizeof *buffers);
    uint8_t *size = table((size_t)QUERIES * BUFFERS);
    void **held = table((size_t)QUERIES * BUFFERS / 16 * sizeof *held);
    uint32_t *order = table(QUERIES * sizeof *order);
    size_t held_count = 0;
    for (unsigned round = 0; round < job->amount; round++) {
        for (size_t i = 0; i < (size_t)QUERIES * BUFFERS; i++) {
            size[i] = (uint8_t)random_between(&random, 50, 200);
            buffers[i] = must_malloc(size[i]);
        }
        for (uint32_t i = 0; i < QUERIES; i++)
            order[i] = i;
        shuffle(order, QUERIES, &random);
        for (size_t i = 0; i < held_count; i++)
            free(held[i]);
        job->operations += (size_t)QUERIES * BUFFERS + held_count;
        held_count = 0;
        job->live = 0;
        for (size_t i = 0; i < QUERIES; i++) {
            size_t query = (size_t)order[i] * BUFFERS;
            for (size_t j = query; j < query + BUFFERS; j++) {
                if (j % 16 == 15) {
                    held[held_count++] = buffers[j];
                    job->live += size[j];
                } else {
                    free(buffers[j]);
                }
            }
        }
        job->operations += (size_t)QUERIES * BUFFERS - held_count;
    }
    return NULL;
}

static uint64_t run_jobs(unsigned threads, unsigned amount, void *(*body)(void *), size_t *live)
{
    struct job all[64] = {{0}};
    for (unsigned i = 0; i < threads; i++)
        all[i] = (struct job){amount, i + 1, 0, 0};
    in_threads(threads, body, all, sizeof all[0]);
    uint64_t operations = 0;
    *live = 0;
    for (unsigned i = 0; i < threads; i++) {
        operations += all[i].operations;
        *live += all[i].live;
    }
    return operations;
}

static uint64_t database(unsigned threads, unsigned scale, size_t *live)
{
    return run_jobs(threads, 4 * scale, database_thread, live);
}

/* A request allocates a burst of headers, strings and a few buffers; all go at its end. Some
 * sessions outlive their request. */
#define SESSIONS 4096

static void *webserver_thread(void *argument)
{
    struct job *job = argument;
    uint64_t random = job->seed;
    void **session = table(SESSIONS * sizeof *session);
    size_t *session_size = table(SESSIONS * sizeof *session_size);
    void *burst[400];
    for (unsigned request = 0; request < job->amount; request++) {
        size_t count = random_between(&random, 50, 400);
        for (size_t i = 0; i < count; i++) {
            uint64_t kind = next_random(&random) >> 58;
            size_t size = kind < 50   ? random_between(&random, 8, 256)
                          : kind < 62 ? random_between(&random, 256, 4096)
                                      : random_between(&random, 4096, 32768);
            burst[i] = must_malloc(size);
        }
        size_t slot = random_between(&random, 0, SESSIONS - 1);
        free(session[slot]);
        job->live -= session_size[slot];
        session_size[slot] = random_between(&random, 100, 2000);
        job->live += session_size[slot];
        session[slot] = must_malloc(session_size[slot]);
        for (size_t i = 0; i < count; i++)
            free(burst[i]);
        job->operations += 2 * count + 2;
    }
    return NULL;
}

static uint64_t webserver(unsigned threads, unsigned scale, size_t *live)
{
    return run_jobs(threads, 60000 * scale, webserver_thread, live);
}

/* Writes to each page of a block. */
static void touch(void *block, size_t size)
{
    for (size_t page = 0; page < size; page += 4096)
        ((volatile char *)block)[page] = 3;
}

/* A frame makes temporaries (particles, commands, strings) and drops them all, newest first; assets
 * of 1 to 256 KiB are loaded and replaced now and then. */
#define ASSETS      512
#define TEMPORARIES 5000

static uint64_t game(unsigned threads, unsigned scale, size_t *live)
{
    (void)threads;
    uint64_t random = 7;
    uint64_t operations = 0;
    void **asset = table(ASSETS * sizeof *asset);
    size_t *asset_size = table(ASSETS * sizeof *asset_size);
    void **temporary = table(TEMPORARIES * sizeof *temporary);
    for (unsigned frame = 0; frame < 2000 * scale; frame++) {
        for (size_t i = 0; i < TEMPORARIES; i++)
            temporary[i] = must_malloc(random_between(&random, 16, i % 100 == 0 ? 8192 : 160));
        for (size_t i = 0; i < 2; i++) {
            size_t slot = random_between(&random, 0, ASSETS - 1);
            free(asset[slot]);
            asset_size[slot] = random_between(&random, 1 << 10, 256 << 10);
            asset[slot] = must_malloc(asset_size[slot]);
            touch(asset[slot], asset_size[slot]);
        }
        for (size_t i = TEMPORARIES; i-- > 0;)
            free(temporary[i]);
        operations += 2 * TEMPORARIES + 4;
    }
    *live = 0;
    for (size_t i = 0; i < ASSETS; i++)
        *live += asset_size[i];
    return operations;
}

/* Tensors of 1 MiB to 1 GiB, resized as batches change; each step touches what it uses. */
static uint64_t training(unsigned threads, unsigned scale, size_t *live)
{
    (void)threads;
    uint64_t random = 11;
    uint64_t operations = 0;
    enum { TENSORS = 12 };
    void *tensor[TENSORS] = {NULL};
    size_t size[TENSORS] = {0};
    for (unsigned step = 0; step < 150 * scale; step++) {
        size_t slot = random_between(&random, 0, TENSORS - 1);
        size_t wanted = (size_t)1 << random_between(&random, 20, slot == 0 ? 29 : 24);
        wanted += random_between(&random, 0, wanted);
        void *moved = realloc(tensor[slot], wanted);
        if (moved == NULL)
            abort();
        tensor[slot] = moved;
        if (wanted > size[slot])
            memset((char *)moved + size[slot], 1, wanted - size[slot]);
        size[slot] = wanted;
        /* A gradient of the same size, gone after the step. */
        char *gradient = malloc(wanted / 4);
        if (gradient == NULL)
            abort();
        memset(gradient, 2, wanted / 4);
        free(gradient);
        operations += 3;
    }
    *live = 0;
    for (size_t i = 0; i < TENSORS; i++)
        *live += size[i];
    return operations;
}

/* Blocks of 16 KiB to 2 MiB, random sizes and lives, each written once. */
static uint64_t big(unsigned threads, unsigned scale, size_t *live)
{
    (void)threads;
    uint64_t random = 13;
    enum { SLOTS = 200 };
    static void *slot[SLOTS];
    static size_t size[SLOTS];
    uint64_t operations = 0;
    for (unsigned i = 0; i < 30000 * scale; i++) {
        size_t at = random_between(&random, 0, SLOTS - 1);
        free(slot[at]);
        size[at] = (size_t)1 << random_between(&random, 14, 20);
        size[at] += random_between(&random, 0, size[at]);
        slot[at] = must_malloc(size[at]);
        touch(slot[at], size[at]);
        operations += 2;
    }
    *live = 0;
    for (size_t i = 0; i < SLOTS; i++)
        *live += size[i];
    return operations;
}

/* A burst of 64 MiB in small blocks, then a rest with only a hundredth of it; what a program at rest
 * keeps is what its neighbours miss. */
static uint64_t burst(unsigned threads, unsigned scale, size_t *live)
{
    (void)threads;
    uint64_t random = 17;
    enum { BLOCKS = 400000 };
    void **block = table(BLOCKS * sizeof *block);
    uint16_t *size = table(BLOCKS * sizeof *size);
    uint64_t operations = 0;
    *live = 0;
    for (unsigned round = 0; round < 3 * scale; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            if (block[i] == NULL) {
                size[i] = (uint16_t)random_between(&random, 16, 320);
                block[i] = must_malloc(size[i]);
            }
        *live = 0;
        for (size_t i = 0; i < BLOCKS; i++) {
            if (i % 100 == 0) {
                *live += size[i];
                continue;
            }
            free(block[i]);
            block[i] = NULL;
        }
        operations += 2 * BLOCKS;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    return operations;
}

const struct workload program_workloads[] = {
    {"database", "10,000 queries of 100 buffers, freed in random order, some held", database},
    {"webserver", "a burst per request, all freed at its end, sessions that stay", webserver},
    {"game", "temporaries of a frame, long-lived assets", game},
    {"training", "tensors of MiB to 1 GiB, reallocated often", training},
    {"big", "blocks of 16 KiB to 2 MiB, random lives", big},
    {"burst", "64 MiB of small blocks, then rest", burst},
    {NULL, NULL, NULL},
};
