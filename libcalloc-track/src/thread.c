#include "thread.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"
#include "modules.h"
#include "mutex.h"

enum { LIVES_MAX = 1 << 16, LIVES_CHUNK = 256 };

CAL_THREAD_LOCAL struct cal__thread *cal__thread_self_;

static struct cal__mutex lock;
static struct cal__thread *_Atomic all;
static struct cal__thread *unused;
static struct cal__life *_Atomic lives[LIVES_MAX / LIVES_CHUNK];
static _Atomic uint32_t lives_used;

struct cal__thread *cal__thread_first(void)
{
    return atomic_load_explicit(&all, memory_order_acquire);
}

uint32_t cal__lives_count(void)
{
    return atomic_load_explicit(&lives_used, memory_order_acquire);
}

const struct cal__life *cal__life(uint32_t number)
{
    return &atomic_load_explicit(&lives[number / LIVES_CHUNK],
                                 memory_order_relaxed)[number % LIVES_CHUNK];
}

/* Under the lock. NULL: there are too many, or no memory. */
static struct cal__life *new_life(uint32_t *number)
{
    uint32_t used = cal__lives_count();
    if (used == LIVES_MAX)
        return NULL;
    struct cal__life *_Atomic *chunk = &lives[used / LIVES_CHUNK];
    struct cal__life *array = atomic_load_explicit(chunk, memory_order_relaxed);
    if (array == NULL) {
        array = cal__memory_map(LIVES_CHUNK * sizeof *array);
        if (array == NULL)
            return NULL;
        atomic_store_explicit(chunk, array, memory_order_relaxed);
    }
    struct cal__life *life = &array[used % LIVES_CHUNK];
    life->tid = (uint64_t)syscall(SYS_gettid);
    atomic_store_explicit(&life->start, cal__modules_time(), memory_order_relaxed);
    prctl(PR_GET_NAME, life->name);
    *number = used;
    atomic_store_explicit(&lives_used, used + 1, memory_order_release);
    return life;
}

/* The life that the calling thread had, and 1 more. */
static CAL_THREAD_LOCAL uint32_t past;

/* Under the lock. */
static void give_life(struct cal__thread *thread)
{
    thread->late = past != 0;
    if (past != 0) {
        thread->number = past - 1;
        thread->life = (struct cal__life *)cal__life(past - 1);
        return;
    }
    thread->life = new_life(&thread->number);
    if (thread->life == NULL) {
        thread->number = CAL_FILE_NONE;
        thread->life = &thread->others;
    }
}

CAL_COLD struct cal__thread *cal__thread_begin(void)
{
    cal__mutex_acquire(&lock);
    struct cal__thread *thread = unused;
    if (thread != NULL) {
        unused = thread->next_unused;
    } else if ((thread = cal__memory_map(sizeof *thread)) != NULL) {
        thread->next = atomic_load_explicit(&all, memory_order_relaxed);
        thread->walk.limit = CAL_WALK_DEPTH_MAX;
        atomic_store_explicit(&all, thread, memory_order_release);
    }
    if (thread != NULL)
        give_life(thread);
    cal__mutex_release(&lock);
    if (thread == NULL)
        return NULL;
    thread->busy = false;
    thread->sampled = false;
    thread->last = NULL;
    thread->last_cell = NULL;
    cal__walk_forget(&thread->walk);
    atomic_store_explicit(&thread->runs, true, memory_order_release);
    cal__thread_self_ = thread;
    return thread;
}

static void add_life(struct cal__totals *totals, const struct cal__life *life)
{
    totals->allocations += cal__count_get(&life->allocations);
    totals->allocated_bytes += cal__count_get(&life->allocated_bytes);
    totals->frees += cal__count_get(&life->frees);
    totals->freed_bytes += cal__count_get(&life->freed_bytes);
}

struct cal__totals cal__thread_totals(void)
{
    struct cal__totals totals = {.allocations = 0};
    for (uint32_t i = 0; i < cal__lives_count(); i++)
        add_life(&totals, cal__life(i));
    for (const struct cal__thread *thread = cal__thread_first(); thread != NULL;
         thread = thread->next)
        add_life(&totals, &thread->others);
    return totals;
}

/* Under the lock. */
static void retire(struct cal__thread *thread)
{
    atomic_store_explicit(&thread->life->end, cal__modules_time() | 1, memory_order_relaxed);
    atomic_store_explicit(&thread->runs, false, memory_order_release);
    thread->next_unused = unused;
    unused = thread;
}

void cal__thread_end(void)
{
    struct cal__thread *thread = cal__thread_self_;
    if (thread == NULL)
        return;
    cal__thread_self_ = NULL;
    past = thread->number + 1;
    /* Names are given after the start. */
    prctl(PR_GET_NAME, thread->life->name);
    cal__walk_end(&thread->walk);
    cal__mutex_acquire(&lock);
    retire(thread);
    cal__mutex_release(&lock);
}

CAL_COLD struct cal__cell *cal__thread_make_cell(struct cal__thread *thread, uint32_t site)
{
    struct cal__cell *_Atomic *chunk =
        atomic_load_explicit(&thread->cells[site / CAL_CELLS_CHUNK], memory_order_relaxed);
    if (chunk == NULL) {
        chunk = cal__memory_map(CAL_CELLS_CHUNK * sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        atomic_store_explicit(&thread->cells[site / CAL_CELLS_CHUNK], chunk, memory_order_release);
    }
    struct cal__cell *cell = cal__memory_take(sizeof *cell);
    if (cell == NULL)
        return NULL;
    cell->site = site;
    atomic_store_explicit(&cell->thread, thread->number, memory_order_relaxed);
    atomic_store_explicit(&chunk[site % CAL_CELLS_CHUNK], cell, memory_order_release);
    return cell;
}

CAL_COLD bool cal__cell_overflow(struct cal__cell *cell, size_t number, uint64_t value)
{
    struct cal__majors *majors = atomic_load_explicit(&cell->majors, memory_order_relaxed);
    if (majors == NULL) {
        majors = cal__memory_take(sizeof *majors);
        if (majors == NULL)
            return false;
        atomic_store_explicit(&cell->majors, majors, memory_order_release);
    }
    cal__count_add(&majors->counts[number], value);
    atomic_store_explicit(&cell->minors[number], 0, memory_order_relaxed);
    return true;
}

void cal__thread_cells(struct cal__thread *thread, uint32_t first, uint32_t count,
                       void (*visit)(const struct cal__cell *cell, void *argument), void *argument)
{
    struct cal__cell *_Atomic *chunk =
        atomic_load_explicit(&thread->cells[first / CAL_CELLS_CHUNK], memory_order_acquire);
    for (uint32_t i = 0; chunk != NULL && i < count; i++) {
        struct cal__cell *cell =
            atomic_load_explicit(&chunk[first % CAL_CELLS_CHUNK + i], memory_order_acquire);
        if (cell != NULL)
            visit(cell, argument);
    }
}

void cal__thread_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__thread_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}

void cal__thread_forked(void)
{
    struct cal__thread *thread = cal__thread_first();
    for (; thread != NULL; thread = thread->next)
        if (thread != cal__thread_self_ &&
            atomic_load_explicit(&thread->runs, memory_order_relaxed))
            retire(thread);
    if (cal__thread_self_ != NULL)
        cal__thread_self_->life->tid = (uint64_t)syscall(SYS_gettid);
}
