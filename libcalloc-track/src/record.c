#include "record.h"

#include <sched.h>
#include <sys/single_threaded.h>
#include <time.h>

#include "blocks.h"
#include "clock.h"
#include "events.h"
#include "modules.h"
#include "rows.h"
#include "sample.h"
#include "timeline.h"

struct cal__record_peak cal__record_peak;

static struct cal__record_settings settings;
static bool started;

/* Where each bucket of lifetimes ends, in units of a block's time, and the first one that numbers of so many bits may
 * belong to. */
static uint64_t lifetime_ends[CAL_LIFETIMES];
static uint8_t lifetime_first[CAL_BLOCK_TIME_BITS + 1];

uint64_t cal__record_sample_bytes(void)
{
    return settings.sample_bytes;
}

static void set_lifetimes(void)
{
    double units_per_us = (double)cal__clock_ticks_per_second() / 1e6 / (1 << CAL_TIME_SHIFT),
           end = 4;
    for (size_t i = 0; i < CAL_LIFETIMES - 1; i++, end *= 4)
        lifetime_ends[i] = (uint64_t)(end * units_per_us);
    lifetime_ends[CAL_LIFETIMES - 1] = UINT64_MAX;
    uint8_t bucket = 0;
    for (unsigned bits = 1; bits <= CAL_BLOCK_TIME_BITS; bits++) {
        while (UINT64_C(1) << (bits - 1) >= lifetime_ends[bucket])
            bucket++;
        lifetime_first[bits] = bucket;
    }
}

bool cal__record_start(const struct cal__record_settings *given)
{
    settings = *given;
    if (started)
        return true;
    if (!cal__nodes_start())
        return false;
    cal__clock_start();
    set_lifetimes();
    started = true;
    return true;
}

/* The process's sum and mark. */

/* With more than one thread, bytes that each may have in hand: a thousandth of the mark, for all of them, or a little more
 * of a small one. Without that each block of a small process would be a change of what all threads share. */
enum { ALLOWANCE_LEAST = 512, ALLOWANCE_MOST = 1 << 20 };

static _Atomic int64_t allowance = ALLOWANCE_LEAST;

static void set_allowance(int64_t peak)
{
    int64_t threads = (int64_t)cal__lives_count();
    int64_t bytes = (peak >> 10) / (threads < 64 ? threads + 1 : 64);
    bytes = bytes < ALLOWANCE_LEAST ? ALLOWANCE_LEAST : bytes;
    atomic_store_explicit(&allowance, bytes > ALLOWANCE_MOST ? ALLOWANCE_MOST : bytes,
                          memory_order_relaxed);
}

static void set_mark(int64_t live)
{
    int64_t peak = atomic_load_explicit(&cal__record_peak.bytes, memory_order_relaxed);
    while (live > peak) {
        if (!atomic_compare_exchange_weak_explicit(&cal__record_peak.bytes, &peak, live,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;
        atomic_fetch_add_explicit(&cal__record_peak.mark, 1, memory_order_release);
        set_allowance(live);
        return;
    }
}

static CAL_NOINLINE void add_shared(struct cal__thread *thread)
{
    int64_t pending = thread->pending;
    thread->pending = 0;
    set_mark(atomic_fetch_add_explicit(&cal__record_peak.live, pending, memory_order_relaxed) +
             pending);
}

CAL_INLINE void add_live(struct cal__thread *thread, int64_t bytes)
{
    if (CAL_LIKELY(__libc_single_threaded && thread->pending == 0)) {
        int64_t live = atomic_load_explicit(&cal__record_peak.live, memory_order_relaxed) + bytes;
        atomic_store_explicit(&cal__record_peak.live, live, memory_order_relaxed);
        if (live > atomic_load_explicit(&cal__record_peak.bytes, memory_order_relaxed)) {
            atomic_store_explicit(&cal__record_peak.bytes, live, memory_order_relaxed);
            atomic_store_explicit(
                &cal__record_peak.mark,
                atomic_load_explicit(&cal__record_peak.mark, memory_order_relaxed) + 1,
                memory_order_relaxed);
        }
        return;
    }
    thread->pending += bytes;
    int64_t most =
        __libc_single_threaded ? 0 : atomic_load_explicit(&allowance, memory_order_relaxed);
    if (CAL_UNLIKELY(thread->pending > most || thread->pending < -most))
        add_shared(thread);
}

/* Counters. */

static void no_memory(struct cal__thread *thread)
{
    cal__count_add(&thread->lost, 1);
}

CAL_INLINE void count_allocation(struct cal__thread *thread, struct cal__cell *cell, uint64_t size,
                                 uint64_t slack, uint64_t weight)
{
    cal__record_settle(cell, atomic_load_explicit(&cal__record_peak.mark, memory_order_acquire));
    cal__count_add(&cell->allocations, weight);
    cal__count_add(&cell->allocated_bytes, size * weight);
    cal__count_add(&cell->slack, slack * weight);
    struct cal__life *life = thread->life;
    cal__count_add(&life->allocations, weight);
    cal__count_add(&life->allocated_bytes, size * weight);
    if (CAL_UNLIKELY(atomic_load_explicit(&cell->thread, memory_order_relaxed) != thread->number))
        atomic_store_explicit(&cell->thread, CAL_FILE_NONE, memory_order_relaxed);
    if (CAL_UNLIKELY(atomic_load_explicit(&cell->numa_node, memory_order_relaxed) !=
                     thread->numa_node))
        atomic_store_explicit(&cell->numa_node, CAL_FILE_NONE, memory_order_relaxed);
    add_live(thread, (int64_t)(size * weight));
}

CAL_INLINE bool count_lifetime(struct cal__cell *cell, uint64_t units, uint64_t weight)
{
    size_t bucket = 0;
    if (units >= lifetime_ends[0]) {
        bucket = lifetime_first[64 - __builtin_clzll(units | 1)];
        while (units >= lifetime_ends[bucket])
            bucket++;
    }
    return cal__cell_add_minor(cell, bucket, weight);
}

/* The end of BLOCK, which is of `size` bytes. */
CAL_INLINE void count_free(struct cal__thread *thread, const struct cal__block *block,
                           uint64_t weight, uint64_t now, bool temporary)
{
    struct cal__cell *cell = cal__thread_cell(thread, block->site);
    struct cal__life *life = thread->life;
    cal__count_add(&life->frees, weight);
    cal__count_add(&life->freed_bytes, block->size * weight);
    if (CAL_UNLIKELY(cell == NULL)) {
        no_memory(thread);
        return;
    }
    cal__record_settle(cell, atomic_load_explicit(&cal__record_peak.mark, memory_order_acquire));
    cal__count_add(&cell->frees, weight);
    cal__count_add(&cell->freed_bytes, block->size * weight);
    if (CAL_UNLIKELY((temporary && !cal__cell_add_minor(cell, CAL_MINOR_TEMPORARIES, weight)) ||
                     !count_lifetime(cell, (now - block->time) & CAL_BLOCK_TIME_MASK, weight)))
        no_memory(thread);
    add_live(thread, -(int64_t)(block->size * weight));
}

uint64_t cal__record_weight(const void *address, uint64_t size, uint64_t time)
{
    if (settings.sample_bytes == 0)
        return 1;
    uint64_t dither = cal__sample_mix((uintptr_t)address ^ time << 48 ^ time);
    return cal__sample_weight(size != 0 ? size : 1, settings.sample_bytes, dither);
}

/* Allocations. */

/* Rarely: what is not worth to be looked at each time. */
static CAL_COLD void look_around(struct cal__thread *thread, uint64_t ticks)
{
    unsigned node = 0;
    thread->looked = ticks;
    thread->numa_node = getcpu(NULL, &node) == 0 ? node : CAL_FILE_NONE;
    if (atomic_load_explicit(&cal__record_peak.time, memory_order_relaxed) == 0 ||
        cal__timeline_saw_mark(atomic_load_explicit(&cal__record_peak.mark, memory_order_relaxed)))
        atomic_store_explicit(&cal__record_peak.time, cal__modules_time(), memory_order_relaxed);
    cal__timeline_look();
}

enum { LOOK_TICKS = 1 << 21 };

/* False: this one is not sampled. */
static CAL_NOINLINE bool is_sampled(struct cal__thread *thread)
{
    if (!thread->sampled) {
        int64_t past = thread->gap;
        thread->sampled = true;
        thread->random = cal__sample_mix(cal__clock_ticks() ^ (uintptr_t)thread) | 1;
        thread->gap = past + cal__sample_gap(&thread->random, settings.sample_bytes);
        if (thread->gap > 0)
            return false;
    }
    thread->gap = cal__sample_gap(&thread->random, settings.sample_bytes);
    return true;
}

static CAL_NOINLINE struct cal__cell *other_cell(struct cal__thread *thread, uint32_t node)
{
    struct cal__cell *cell = cal__thread_cell(thread, cal__site_of(node));
    if (cell != NULL && cal__count_get(&cell->allocations) == 0) {
        atomic_store_explicit(&cell->numa_node, thread->numa_node, memory_order_relaxed);
        atomic_store_explicit(&cell->thread, thread->number, memory_order_relaxed);
    }
    thread->last_cell = cell;
    thread->last_node = node;
    return cell;
}

/* A block that was freed while nobody looked, and whose address was given out again. */
static CAL_COLD void count_overlooked(struct cal__thread *thread, const void *block,
                                      const struct cal__block *old, uint64_t now)
{
    if (old->watched) {
        if (cal__modules_check())
            cal__rows_forget();
    }
    if (old->counted)
        count_free(thread, old, cal__record_weight(block, old->size, old->time), now, false);
}

/* Where the block's place is not simply free. False: no memory. */
static CAL_NOINLINE bool put(struct cal__thread *thread, const void *block, size_t usable,
                             const struct cal__block *fresh)
{
    struct cal__block old;
    enum cal__put put = cal__blocks_put(block, usable, fresh, &old);
    if (put == CAL_PUT_OVER)
        count_overlooked(thread, block, &old, fresh->time);
    return put != CAL_PUT_FAILED;
}

/* SAMPLED is a constant. */
CAL_INLINE void record(struct cal__thread *thread, void *block, size_t requested, size_t usable,
                       bool sampled)
{
    uint64_t ticks = cal__clock_ticks();
    if (CAL_UNLIKELY(ticks - thread->looked > LOOK_TICKS))
        look_around(thread, ticks);
    uint32_t node = cal__walk_stack(&thread->walk);
    struct cal__cell *cell = thread->last_cell;
    if (CAL_UNLIKELY(cell == NULL || node != thread->last_node))
        cell = other_cell(thread, node);
    if (CAL_UNLIKELY(cell == NULL)) {
        no_memory(thread);
        return;
    }
    struct cal__block fresh = {.size = requested,
                               .time = (ticks - cal__clock_first) >> CAL_TIME_SHIFT &
                                       CAL_BLOCK_TIME_MASK,
                               .site = cell->site,
                               .counted = true};
    if (CAL_UNLIKELY(!cal__blocks_add(block, usable, cal__entry_origin(fresh.site, fresh.time),
                                      requested)) &&
        !put(thread, block, usable, &fresh)) {
        no_memory(thread);
        return;
    }
    /* What was in the block when it was free, a pointer to another, would make that one reachable. */
    if (requested >= sizeof(void *))
        *(void *volatile *)block = NULL;
    size_t slack = usable > requested ? usable - requested : 0;
    uint64_t weight = sampled ? cal__record_weight(block, requested, fresh.time) : 1;
    count_allocation(thread, cell, requested, slack, weight);
    if (CAL_UNLIKELY(thread->buffer != NULL) && cal__events_on())
        cal__events_allocated(thread, block, requested, cell->site, ticks);
    thread->last = block;
}

static CAL_NOINLINE void maybe_sample(struct cal__thread *thread, void *block, size_t requested,
                                      size_t usable)
{
    thread->last = NULL;
    thread->gap -= requested != 0 ? (int64_t)requested : 1;
    if (thread->gap <= 0 && is_sampled(thread))
        record(thread, block, requested, usable, true);
}

static CAL_COLD struct cal__thread *begin_thread(void)
{
    struct cal__thread *thread = cal__thread_begin();
    /* And a few more of the allocator's own, which are left out. */
    if (thread != NULL) {
        thread->walk.limit = settings.depth + 8;
        cal__events_thread_began(thread);
    }
    return thread;
}

struct cal__thread *cal__record_thread(void)
{
    struct cal__thread *thread = cal__thread_self();
    return thread != NULL ? thread : begin_thread();
}

static void end_thread(struct cal__thread *thread)
{
    if (thread->buffer != NULL && cal__events_on())
        cal__events_thread_ends(thread);
    cal__thread_end();
}

void cal__record_thread_ends(void)
{
    struct cal__thread *thread = cal__thread_self();
    if (thread != NULL)
        end_thread(thread);
}

/* The first one of a thread, or one that comes when it has ended. */
static CAL_COLD void first_allocated(void *block, size_t requested, size_t usable)
{
    struct cal__thread *thread = begin_thread();
    if (thread == NULL)
        return;
    cal__record_allocated(block, requested, usable);
    if (thread->late)
        end_thread(thread);
}

void cal__record_allocated(void *block, size_t requested, size_t usable)
{
    struct cal__thread *thread = cal__thread_self();
    if (CAL_UNLIKELY(thread == NULL)) {
        first_allocated(block, requested, usable);
        return;
    }
    if (CAL_UNLIKELY(thread->busy)) {
        cal__count_add(&thread->missed, 1);
        return;
    }
    thread->busy = true;
    atomic_signal_fence(memory_order_seq_cst);
    if (CAL_UNLIKELY(settings.sample_bytes != 0))
        maybe_sample(thread, block, requested, usable);
    else
        record(thread, block, requested, usable, false);
    atomic_signal_fence(memory_order_seq_cst);
    thread->busy = false;
}

/* Frees. */

/* The entry of a block that is freed and not simply a counted one of a process where all are. */
static CAL_NOINLINE void end_other(struct cal__thread *thread, const void *block,
                                   struct cal__entry entry, uint64_t now, bool temporary)
{
    struct cal__block old = cal__entry_block(entry);
    if (entry.facts == 0 || (!old.counted && !old.watched)) {
        cal__count_add(&thread->unknown_frees, settings.sample_bytes == 0);
        return;
    }
    if (old.watched && cal__modules_check())
        cal__rows_forget();
    if (old.counted)
        count_free(thread, &old, cal__record_weight(block, old.size, old.time), now, temporary);
}

static CAL_COLD void first_freeing(void *block, size_t usable)
{
    struct cal__thread *thread = begin_thread();
    if (thread == NULL)
        return;
    cal__record_freeing(block, usable);
    if (thread->late)
        end_thread(thread);
}

void cal__record_freeing(void *block, size_t usable)
{
    struct cal__thread *thread = cal__thread_self();
    if (CAL_UNLIKELY(thread == NULL)) {
        first_freeing(block, usable);
        return;
    }
    if (CAL_UNLIKELY(thread->busy)) {
        cal__count_add(&thread->missed, 1);
        return;
    }
    thread->busy = true;
    atomic_signal_fence(memory_order_seq_cst);
    bool temporary = thread->last == block;
    struct cal__entry entry = cal__blocks_take(block);
    /* Of a block that was not sampled nobody wants to know the time. */
    uint64_t ticks = CAL_LIKELY(entry.facts != 0) ? cal__clock_ticks() : 0;
    uint64_t now = (ticks - cal__clock_first) >> CAL_TIME_SHIFT;
    bool simple = (entry.facts & (CAL_ENTRY_COUNTED | CAL_ENTRY_WATCHED)) == CAL_ENTRY_COUNTED &&
                  settings.sample_bytes == 0;
    if (CAL_LIKELY(simple)) {
        struct cal__block old = cal__entry_block(entry);
        count_free(thread, &old, 1, now, temporary);
    } else {
        end_other(thread, block, entry, now, temporary);
    }
    if (CAL_UNLIKELY(thread->buffer != NULL) && entry.facts != 0 && cal__events_on())
        cal__events_freeing(thread, block, ticks);
    if (temporary)
        thread->last = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    thread->busy = false;
}

/* The block stays what it is to its site: its bytes change. */
void cal__record_resized(void *block, size_t old_usable, size_t requested, size_t usable)
{
    (void)old_usable;
    (void)usable;
    struct cal__thread *thread = cal__thread_self();
    struct cal__block old;
    if (thread == NULL || thread->busy || !cal__blocks_get(block, &old) || !old.counted)
        return;
    thread->busy = true;
    atomic_signal_fence(memory_order_seq_cst);
    struct cal__cell *cell = cal__thread_cell(thread, old.site);
    if (cell != NULL) {
        uint64_t before = cal__record_weight(block, old.size, old.time) * old.size;
        uint64_t after = cal__record_weight(block, requested, old.time) * requested;
        uint64_t blocks_before = cal__record_weight(block, old.size, old.time);
        uint64_t blocks_after = cal__record_weight(block, requested, old.time);
        cal__record_settle(cell,
                           atomic_load_explicit(&cal__record_peak.mark, memory_order_acquire));
        /* Growth is allocated, shrinking is freed; both in bytes, and in blocks only where the new size
         * makes a sample stand for another number of them. */
        if (after > before) {
            cal__count_add(&cell->allocated_bytes, after - before);
            cal__count_add(&thread->life->allocated_bytes, after - before);
        } else {
            cal__count_add(&cell->freed_bytes, before - after);
            cal__count_add(&thread->life->freed_bytes, before - after);
        }
        cal__count_add(&cell->allocations, blocks_after - blocks_before);
        cal__count_add(&thread->life->allocations, blocks_after - blocks_before);
        add_live(thread, (int64_t)(after - before));
        cal__blocks_resize(block, requested);
        if (CAL_UNLIKELY(thread->buffer != NULL) && cal__events_on())
            cal__events_resized(thread, block, requested, cal__clock_ticks());
    }
    atomic_signal_fence(memory_order_seq_cst);
    thread->busy = false;
}

static uint64_t time_now(void)
{
    return (cal__clock_ticks() - cal__clock_first) >> CAL_TIME_SHIFT;
}

/* A unit is less than a microsecond on x86-64, and 40 where the counter is slow. */
uint64_t cal__record_time(void)
{
    enum { MARGINS_PER_SECOND = 50000 };
    uint64_t margin = cal__clock_ticks_per_second() / MARGINS_PER_SECOND >> CAL_TIME_SHIFT;
    uint64_t time = time_now() + 1;
    while (time_now() <= time + margin) {}
    return time & CAL_BLOCK_TIME_MASK;
}

void cal__record_overlooked(void *block, uint64_t time)
{
    struct cal__thread *thread = cal__thread_self();
    uint64_t now = time_now() & CAL_BLOCK_TIME_MASK;
    if (thread == NULL)
        return;
    struct cal__entry entry = cal__blocks_take_older(block, time);
    struct cal__block old = cal__entry_block(entry);
    if (entry.facts != 0)
        count_overlooked(thread, block, &old, now);
}
