/* The workloads of the benchmark programs: each allocates as some kind of program does, checks a
 * little of what it wrote, and counts its operations (an allocation or a free is one each). */
#ifndef BENCH_WORKLOADS_H
#define BENCH_WORKLOADS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct workload {
    const char *name;
    const char *about;
    /* `threads` threads do an amount of work that grows with `scale` (1: a second or less). Returns
     * the operations done; *live is what is allocated at the end, in bytes asked for. What a program
     * of the kind would hold then stays allocated: the process ends without freeing it. */
    uint64_t (*run)(unsigned threads, unsigned scale, size_t *live);
};

extern const struct workload thread_workloads[];
extern const struct workload program_workloads[];

/* xorshift64* (Vigna, 2016); never zero. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1D;
}

static inline size_t random_between(uint64_t *state, size_t low, size_t high)
{
    return low + (size_t)((next_random(state) >> 33) % (high - low + 1));
}

/* malloc that ends the program when there is no memory: a workload that goes on without would look
 * fast. Writes to the first and the last byte. */
static inline void *must_malloc(size_t size)
{
    char *block = malloc(size);
    if (block == NULL) {
        fprintf(stderr, "out of memory for %zu bytes\n", size);
        exit(1);
    }
    block[0] = 1;
    block[size - 1] = 1;
    return block;
}

/* Zeroed memory for a workload's own tables, resident and from the kernel, so that it is neither the
 * allocator's work nor part of what the allocator is charged for. Never given back. */
void *table(size_t size);

/* The bytes of all tables. */
size_t tables_size(void);

/* Runs `body(argument + i * size)` in `threads` threads, the last one being the caller's. */
void in_threads(unsigned threads, void *(*body)(void *), void *arguments, size_t size);

#endif
