/* What is to be replayed, in memory that the replaying process only reads: calls by thread, in the order
 * that each made them, with what they need to keep the order among threads. */
#ifndef CAL_REPLAY_SCRIPT_H
#define CAL_REPLAY_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

enum cal__call_kind {
    CAL__CALL_MALLOC,
    CAL__CALL_CALLOC,
    CAL__CALL_ALIGNED, /* aligned_alloc() and its kin */
    CAL__CALL_REALLOC,
    CAL__CALL_FREE,
};

/* One call. The blocks are numbered; each keeps its number through realloc(). The calls on one block follow each
 * other by `step`, whatever threads make them. */
struct cal__script_call {
    uint64_t size;
    uint64_t order; /* among all calls of the script */
    uint32_t block;
    uint32_t step; /* calls on this block before it */
    uint8_t kind;
    uint8_t alignment; /* its logarithm */
    uint8_t reserved[6];
};

struct cal__script_thread {
    uint64_t first, count; /* of the calls */
    uint64_t start;        /* calls of the script before the thread began */
};

/* At the start of the memory; threads and calls follow. */
struct cal__script {
    uint64_t length; /* bytes of all of it */
    uint64_t calls, threads, blocks;
    uint64_t allocations;     /* calls that make a block */
    uint64_t allocated_bytes; /* of these and of what realloc() asks for */
    uint64_t peak_bytes;      /* live at the most, in the script's order */
    uint64_t left_bytes;      /* live at the end */
    uint64_t ignored;         /* events that are about no block that is known */
    char source[256];         /* what it is of: "python3 x.py, process 12" */
};

static inline const struct cal__script_thread *cal__script_threads(const struct cal__script *script)
{
    return (const struct cal__script_thread *)(script + 1);
}

static inline const struct cal__script_call *cal__script_calls(const struct cal__script *script)
{
    return (const struct cal__script_call *)(cal__script_threads(script) + script->threads);
}

/* Reads a file of any of the formats in a process of its own, so that this one's heap is as it was.
 * NULL when that failed, after a line on standard error; `*broken`: a part of it could not be read. At most
 * `limit` calls. The memory stays mapped. */
const struct cal__script *cal__script_read(const char *path, uint64_t limit, bool *broken);

#endif
