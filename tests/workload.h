/* Random malloc traffic whose blocks check themselves, for tests about something else: a limit, a
 * filter, a signal, a fork. Threads may share one workload and then free each other's blocks. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct workload {
    _Atomic(size_t *) *slots; /* what is live */
    size_t slot_count;
    unsigned largest; /* sizes are below 2^largest bytes, small ones far more often */
};

/* Slots come from the caller, so that even their making can be kept out of what is measured. */
void workload_initialize(struct workload *workload, _Atomic(size_t *) *slots, size_t slot_count,
                         unsigned largest);

/* STEPS allocations, of all kinds, each after the end of the block that had its slot. RANDOM is
 * this thread's state, not zero. Returns NULL, or what is wrong. */
const char *workload_run(struct workload *workload, uint64_t *random, size_t steps);

/* Checks and frees what is live. Returns NULL, or what is wrong. */
const char *workload_end(struct workload *workload);

uint64_t workload_random(uint64_t *state);

#endif
