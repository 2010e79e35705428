/* Places in the code that stacks pass through: how to unwind them, and which frame each is. */
#ifndef CAL_TRACK_ROWS_H
#define CAL_TRACK_ROWS_H

#include <stdatomic.h>

#include "base.h"
#include "format.h"

/* A place is an address that a call returns to or, with this bit, of an instruction. */
#define CAL_PLACE_EXACT (UINT64_C(1) << 47)

enum cal__row_kind {
    CAL_ROW_SP = 1,
    CAL_ROW_BP,
    CAL_ROW_BP_AT,
    CAL_ROW_SIGNAL,
    CAL_ROW_END,
    CAL_ROW_OTHER,
    CAL_ROW_UNKNOWN,
};

/* Frame 0 is no frame: the place is inside the allocator. */
struct cal__row {
    uint64_t place : 48;
    uint64_t ra : 8; /* as `bp` */
    uint64_t kind : 8;
    uint32_t frame;
    int16_t offset; /* of the CFA, in words */
    uint16_t bp;    /* words below the CFA; 0: in its register */
};

_Static_assert(sizeof(struct cal__row) == 16, "four in a cache line");

/* Raised when rows have become invalid, because a module was unloaded. */
extern _Atomic uint32_t cal__rows_epoch;

/* The row of a place. Never fails: without memory for it, it is made anew each time, with frame
 * CAL_FILE_NONE. */
struct cal__row cal__rows_make(uint64_t place);

struct cal__rows_table {
    uint64_t mask;
    _Atomic uint64_t words[][2]; /* of rows; the first 0: empty */
};

extern struct cal__rows_table *_Atomic cal__rows_table;

CAL_INLINE uint64_t cal__rows_hash(uint64_t place)
{
    return place * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

CAL_INLINE struct cal__row cal__rows_from(uint64_t first, uint64_t second)
{
    union {
        uint64_t words[2];
        struct cal__row row;
    } both = {.words = {first, second}};
    return both.row;
}

CAL_INLINE struct cal__row cal__rows_find(uint64_t place)
{
    struct cal__rows_table *table = atomic_load_explicit(&cal__rows_table, memory_order_acquire);
    if (CAL_UNLIKELY(table == NULL))
        return cal__rows_make(place);
    for (uint64_t i = cal__rows_hash(place);; i++) {
        uint64_t first =
            atomic_load_explicit(&table->words[i & table->mask][0], memory_order_acquire);
        if (CAL_LIKELY(first << 16 == place << 16)) {
            struct cal__row row =
                cal__rows_from(first, atomic_load_explicit(&table->words[i & table->mask][1],
                                                           memory_order_relaxed));
            return CAL_LIKELY(row.kind != CAL_ROW_UNKNOWN) ? row : cal__rows_make(place);
        }
        if (first == 0)
            return cal__rows_make(place);
    }
}

/* Some modules are gone: forgets the rows of their code. */
void cal__rows_forget(void);

/* Frames have numbers from 1 to the count. */
uint32_t cal__frames_count(void);
const struct cal__file_frame *cal__frame(uint32_t number);

void cal__rows_fork_prepare(void);
void cal__rows_fork_done(bool in_child);

#endif
