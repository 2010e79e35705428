/* What a thread keeps for itself while it records: its counters for each site, which only it writes. */
#ifndef CAL_TRACK_THREAD_H
#define CAL_TRACK_THREAD_H

#include <stdatomic.h>

#include "base.h"
#include "format.h"
#include "nodes.h"
#include "walk.h"

/* A number that one thread writes and others may read. */
typedef _Atomic uint64_t cal__count;

CAL_INLINE uint64_t cal__count_get(const cal__count *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

CAL_INLINE void cal__count_set(cal__count *count, uint64_t value)
{
    atomic_store_explicit(count, value, memory_order_relaxed);
}

CAL_INLINE void cal__count_add(cal__count *count, uint64_t value)
{
    cal__count_set(count, cal__count_get(count) + value);
}

/* Of a cell, which are mostly small: 16 bits are enough, and what is more is elsewhere. */
enum { CAL_MINOR_TEMPORARIES = CAL_LIFETIMES, CAL_MINORS };

struct cal__majors {
    cal__count counts[CAL_MINORS];
};

/* A site in one thread. Live are allocations - frees, which for one thread may be less than nothing. What was
 * live at the high-water mark of the process is `peak` where `mark` is that mark's number, else what is
 * live. */
struct cal__cell {
    /* First line: all that an allocation changes, and with the second a free. */
    cal__count allocations;
    cal__count allocated_bytes;
    cal__count frees;
    cal__count freed_bytes;
    cal__count slack;
    cal__count mark;
    uint32_t site;
    _Atomic uint32_t thread;    /* number of the thread that allocated; CAL_FILE_NONE: several */
    _Atomic uint32_t numa_node; /* CAL_FILE_NONE: several */
    uint32_t reserved;

    cal__count peak_blocks;
    cal__count peak_bytes;
    struct cal__majors *_Atomic majors;  /* what minors had when they were full; NULL: nothing */
    _Atomic uint16_t minors[CAL_MINORS]; /* lifetimes, and temporaries */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct cal__cell) == 128, "two lines of the cache");

/* While its thread goes on, what is on the way to `majors` may be there twice. */
CAL_INLINE uint64_t cal__cell_minor(const struct cal__cell *cell, size_t number)
{
    const struct cal__majors *majors = atomic_load_explicit(&cell->majors, memory_order_acquire);
    return atomic_load_explicit(&cell->minors[number], memory_order_relaxed) +
           (majors == NULL ? 0 : cal__count_get(&majors->counts[number]));
}

/* False: no memory, and nothing was added. */
bool cal__cell_overflow(struct cal__cell *cell, size_t number, uint64_t value);

CAL_INLINE bool cal__cell_add_minor(struct cal__cell *cell, size_t number, uint64_t value)
{
    _Atomic uint16_t *minor = &cell->minors[number];
    uint64_t sum = atomic_load_explicit(minor, memory_order_relaxed) + value;
    if (CAL_UNLIKELY(sum > UINT16_MAX))
        return cal__cell_overflow(cell, number, sum);
    atomic_store_explicit(minor, (uint16_t)sum, memory_order_relaxed);
    return true;
}

enum {
    CAL_CELLS_CHUNK = 4096,
    CAL_CELLS_CHUNKS = CAL_SITES_MAX / CAL_CELLS_CHUNK,
    CAL_NAME_MAX = 16
};

/* Of one life of a thread. They are bounded in number; threads that begin when there are no more are not told apart. */
struct cal__life {
    uint64_t tid;
    _Atomic uint64_t start;
    _Atomic uint64_t end; /* 0: it runs */
    cal__count allocations;
    cal__count allocated_bytes;
    cal__count frees;
    cal__count freed_bytes;
    char name[CAL_NAME_MAX];
};

struct cal__buffer;

/* When a thread ends the next one takes its structure over, cells and all. */
struct cal__thread {
    bool busy;       /* inside the library: what is allocated or freed now is not recorded */
    bool sampled;    /* in sampling: its first gap has been drawn */
    bool late;       /* the thread had ended already, and goes on with its life for a moment */
    uint32_t number; /* of its life; CAL_FILE_NONE: it has none of its own */
    int64_t gap;     /* sampling: bytes until the next sample */
    uint64_t random;
    const void *last; /* the block that was allocated last, until it is freed or another is */
    uint32_t last_node;
    struct cal__cell *last_cell; /* of last_node */
    int64_t pending;             /* live bytes that the process's sum does not have yet */
    uint64_t looked;             /* ticks, when the thread last looked at the time and the node */
    uint32_t numa_node;
    struct cal__life *life;
    struct cal__buffer *buffer; /* of events; NULL: there is no trace */
    struct cal__walk walk;
    struct cal__cell *_Atomic *_Atomic cells[CAL_CELLS_CHUNKS]; /* by site */
    struct cal__life others; /* of all that had none of their own */
    cal__count missed;       /* that came while it was busy */
    cal__count lost;         /* allocations for which there was no memory */
    cal__count unknown_frees;
    struct cal__thread *next; /* in the list of all, which only grows */
    struct cal__thread *next_unused;
    _Atomic bool runs;
    uintptr_t stack_end; /* see stop.h; 0: not known */
};

extern CAL_THREAD_LOCAL struct cal__thread *cal__thread_self_;

/* The calling thread's, or NULL. */
CAL_INLINE struct cal__thread *cal__thread_self(void)
{
    return cal__thread_self_;
}

/* NULL: no memory. A thread that has ended may begin again, and is to end again: libc frees some of its own blocks when
 * all else of a thread is gone. */
struct cal__thread *cal__thread_begin(void);
void cal__thread_end(void);

/* Sums over all threads there ever were; while they go on, of slightly different moments. */
struct cal__totals {
    uint64_t allocations;
    uint64_t allocated_bytes;
    uint64_t frees;
    uint64_t freed_bytes;
};

struct cal__totals cal__thread_totals(void);

/* The list of all. */
struct cal__thread *cal__thread_first(void);

/* The cell of a site; NULL: no memory. */
struct cal__cell *cal__thread_make_cell(struct cal__thread *thread, uint32_t site);

CAL_INLINE struct cal__cell *cal__thread_cell(struct cal__thread *thread, uint32_t site)
{
    struct cal__cell *_Atomic *chunk =
        atomic_load_explicit(&thread->cells[site / CAL_CELLS_CHUNK], memory_order_relaxed);
    struct cal__cell *cell =
        CAL_LIKELY(chunk != NULL)
            ? atomic_load_explicit(&chunk[site % CAL_CELLS_CHUNK], memory_order_relaxed)
            : NULL;
    return CAL_LIKELY(cell != NULL) ? cell : cal__thread_make_cell(thread, site);
}

/* Calls VISIT for each cell of THREAD, which may go on counting, of the COUNT sites from FIRST on; these are of one chunk. */
void cal__thread_cells(struct cal__thread *thread, uint32_t first, uint32_t count,
                       void (*visit)(const struct cal__cell *cell, void *argument), void *argument);

/* Lives by their numbers. */
uint32_t cal__lives_count(void);
const struct cal__life *cal__life(uint32_t number);

void cal__thread_fork_prepare(void);
void cal__thread_fork_done(bool in_child);
/* In the child: all threads but the calling one have ended. */
void cal__thread_forked(void);

#endif
