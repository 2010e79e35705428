#include "workload.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 4 /* 2^4 bytes: room for the two words by which a block checks itself */

/* A block begins with its size and ends with the size's complement. */

static void stamp(size_t *block, size_t size)
{
    size_t end = ~size;
    block[0] = size;
    memcpy((char *)block + size - sizeof end, &end, sizeof end);
}

static bool intact(const struct workload *workload, const size_t *block)
{
    size_t size = block[0];
    size_t end;
    if (size < sizeof(size_t[2]) || size >> workload->largest != 0)
        return false;
    memcpy(&end, (const char *)block + size - sizeof end, sizeof end);
    return end == ~size;
}

uint64_t workload_random(uint64_t *state)
{
    /* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

/* The exponent is the least of three, so that a doubling in size is about twice as rare. */
static size_t random_size(const struct workload *workload, uint64_t *random)
{
    uint64_t bits = workload_random(random);
    unsigned span = workload->largest - SMALLEST;
    unsigned exponent = span;
    for (int i = 0; i < 3; i++) {
        unsigned candidate = (unsigned)(bits & 0xffff) % span;
        if (candidate < exponent)
            exponent = candidate;
        bits >>= 16;
    }
    size_t base = (size_t)1 << (exponent + SMALLEST);
    return base + ((size_t)workload_random(random) & (base - 1));
}

static bool is_zero(const char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != 0)
            return false;
    return true;
}

static const char *make(const struct workload *workload, uint64_t *random, size_t **result)
{
    size_t size = random_size(workload, random);
    unsigned choice = (unsigned)(workload_random(random) >> 32);
    void *block = NULL;
    if (choice % 16 == 0) {
        size_t alignment = (size_t)16 << ((choice >> 4) % 13);
        int error = posix_memalign(&block, alignment, size);
        if (error != 0)
            return error == ENOMEM ? "posix_memalign: no memory" : "posix_memalign: wrong error";
        if ((uintptr_t)block % alignment != 0)
            return "posix_memalign: not aligned";
    } else if (choice % 16 == 1) {
        block = calloc(1, size);
        if (block == NULL)
            return "calloc: no memory";
        if (!is_zero(block, size))
            return "calloc: not zero";
    } else {
        block = malloc(size);
        if (block == NULL)
            return "malloc: no memory";
        if ((uintptr_t)block % 16 != 0)
            return "malloc: not aligned";
    }
    if (malloc_usable_size(block) < size)
        return "usable size is less than what was asked for";
    stamp(block, size);
    *result = block;
    return NULL;
}

static const char *resize(const struct workload *workload, uint64_t *random, size_t **block)
{
    size_t old_size = (*block)[0];
    size_t size = random_size(workload, random);
    size_t *moved = realloc(*block, size);
    if (moved == NULL)
        return "realloc: no memory";
    *block = moved;
    if (moved[0] != old_size)
        return "realloc: the start was not kept";
    size_t end = ~old_size;
    if (size >= old_size && memcmp((char *)moved + old_size - sizeof end, &end, sizeof end) != 0)
        return "realloc: the end was not kept";
    stamp(moved, size);
    return NULL;
}

static const char *end(const struct workload *workload, size_t *block)
{
    if (block == NULL)
        return NULL;
    if (!intact(workload, block))
        return "a live block was overwritten";
    free(block);
    return NULL;
}

static const char *step(struct workload *workload, uint64_t *random)
{
    uint64_t bits = workload_random(random);
    _Atomic(size_t *) *slot = &workload->slots[(bits >> 8) % workload->slot_count];
    size_t *block = atomic_exchange(slot, NULL);
    const char *complaint = NULL;
    if (block != NULL && bits % 8 == 0) {
        if (!intact(workload, block))
            return "a live block was overwritten";
        complaint = resize(workload, random, &block);
    } else {
        complaint = end(workload, block);
        if (complaint == NULL)
            complaint = make(workload, random, &block);
    }
    if (complaint != NULL)
        return complaint;
    /* Another thread may have filled the slot meanwhile. */
    return end(workload, atomic_exchange(slot, block));
}

void workload_initialize(struct workload *workload, _Atomic(size_t *) *slots, size_t slot_count,
                         unsigned largest)
{
    *workload = (struct workload){.slots = slots, .slot_count = slot_count, .largest = largest};
    for (size_t i = 0; i < slot_count; i++)
        atomic_init(&slots[i], NULL);
}

const char *workload_run(struct workload *workload, uint64_t *random, size_t steps)
{
    const char *complaint = NULL;
    for (size_t i = 0; i < steps && complaint == NULL; i++)
        complaint = step(workload, random);
    return complaint;
}

const char *workload_end(struct workload *workload)
{
    const char *complaint = NULL;
    for (size_t i = 0; i < workload->slot_count; i++) {
        const char *one = end(workload, atomic_exchange(&workload->slots[i], NULL));
        if (complaint == NULL)
            complaint = one;
    }
    return complaint;
}
