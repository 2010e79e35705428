/* Twice through the events: once to find when the most was live, then to count, as far as that moment and to
 * the end. */
#include "trace.h"

#include <stdlib.h>
#include <string.h>

#include <allocate.h>
#include <table.h>

enum { MOMENTS = 512 };

struct block {
    uint64_t address, size, ticks;
    uint32_t site;
    uint32_t thread;
};

struct counting {
    struct cal__profile *profile;
    struct cal__table live; /* blocks by their addresses */
    struct block *blocks;
    size_t count, capacity;
    uint32_t
        *newest; /* of each thread: the block it allocated last, as long as it did nothing else */
    uint64_t live_bytes, live_blocks;
};

/* Without more than is needed for the sums: the first time. */
static struct block *find(struct counting *counting, uint64_t address)
{
    uint32_t number = *cal__table_at(&counting->live, address);
    return number != CAL__TABLE_NOTHING ? &counting->blocks[number] : NULL;
}

static void put(struct counting *counting, const struct cal__event *event)
{
    /* The numbers of blocks are not used again: there are no more than events. */
    counting->blocks = cal__allocate_grow(counting->blocks, counting->count, &counting->capacity,
                                          sizeof *counting->blocks);
    counting->blocks[counting->count] = (struct block){.address = event->address,
                                                       .size = event->size,
                                                       .ticks = event->ticks,
                                                       .site = event->site,
                                                       .thread = event->thread};
    *cal__table_at(&counting->live, event->address) = (uint32_t)counting->count++;
    counting->live_bytes += event->size;
    counting->live_blocks++;
}

static void take(struct counting *counting, struct block *block)
{
    counting->live_bytes -= block->size;
    counting->live_blocks--;
    *cal__table_at(&counting->live, block->address) = CAL__TABLE_NOTHING;
}

static uint64_t nanoseconds(const struct cal__profile *profile, uint64_t ticks)
{
    uint64_t rate = profile->process.ticks_per_second;
    return rate != 0 ? (uint64_t)((double)ticks * 1e9 / (double)rate) : ticks;
}

static unsigned bucket_of(uint64_t lifetime)
{
    unsigned bucket = 0;
    for (uint64_t limit = 4000; bucket < CAL_LIFETIMES - 1 && lifetime >= limit; limit *= 4)
        bucket++;
    return bucket;
}

/* --- what is known of an event ----------------------------------------------------- */

static struct cal__file_site *site_of(struct cal__profile *profile, uint32_t number)
{
    return number < profile->site_count ? &profile->sites[number] : NULL;
}

static struct cal__file_thread *thread_of(struct cal__profile *profile, uint32_t number)
{
    return number < profile->thread_count ? &profile->threads[number] : NULL;
}

static uint32_t *newest_of(struct counting *counting, uint32_t thread)
{
    return thread < counting->profile->thread_count ? &counting->newest[thread] : NULL;
}

static void count_allocation(struct counting *counting, const struct cal__event *event)
{
    struct cal__profile *profile = counting->profile;
    struct cal__file_site *site = site_of(profile, event->site);
    struct cal__file_thread *thread = thread_of(profile, event->thread);
    uint32_t *newest = newest_of(counting, event->thread);
    profile->process.allocations++;
    profile->process.allocated_bytes += event->size;
    if (site != NULL) {
        site->thread =
            site->allocations == 0 || site->thread == event->thread ? event->thread : CAL_FILE_NONE;
        site->allocations++;
        site->allocated_bytes += event->size;
    }
    if (thread != NULL) {
        thread->allocations++;
        thread->allocated_bytes += event->size;
    }
    if (newest != NULL)
        *newest = (uint32_t)counting->count - 1;
}

static void count_free(struct counting *counting, const struct block *block,
                       const struct cal__event *event)
{
    struct cal__profile *profile = counting->profile;
    struct cal__file_site *site = site_of(profile, block->site);
    struct cal__file_thread *thread = thread_of(profile, event->thread);
    const uint32_t *newest = newest_of(counting, event->thread);
    bool temporary = newest != NULL && *newest == (uint32_t)(block - counting->blocks);
    profile->process.frees++;
    profile->process.freed_bytes += block->size;
    profile->process.temporaries += temporary;
    if (site != NULL) {
        site->frees++;
        site->freed_bytes += block->size;
        site->temporaries += temporary;
        uint64_t lived = event->ticks > block->ticks ? event->ticks - block->ticks : 0;
        site->lifetimes[bucket_of(nanoseconds(profile, lived))]++;
    }
    if (thread != NULL) {
        thread->frees++;
        thread->freed_bytes += block->size;
    }
}

static void count_resize(struct counting *counting, const struct block *block, uint64_t size)
{
    struct cal__file_process *process = &counting->profile->process;
    struct cal__file_site *site = site_of(counting->profile, block->site);
    uint64_t *bytes = size > block->size ? &process->allocated_bytes : &process->freed_bytes;
    uint64_t change = size > block->size ? size - block->size : block->size - size;
    *bytes += change;
    if (site != NULL)
        *(size > block->size ? &site->allocated_bytes : &site->freed_bytes) += change;
}

/* --- the events ------------------------------------------------------------------------ */

static void see(struct counting *counting, const struct cal__event *event, bool count)
{
    struct block *block = event->kind <= CAL_EVENT_RESIZE ? find(counting, event->address) : NULL;
    switch (event->kind) {
    case CAL_EVENT_ALLOCATE:
        if (block != NULL) { /* its free is missing */
            if (count)
                count_free(counting, block, event);
            take(counting, block);
        }
        put(counting, event);
        if (count)
            count_allocation(counting, event);
        break;
    case CAL_EVENT_FREE:
        if (block == NULL) {
            counting->profile->process.unknown_frees += count;
            break;
        }
        if (count)
            count_free(counting, block, event);
        take(counting, block);
        break;
    case CAL_EVENT_RESIZE:
        if (block == NULL)
            break;
        if (count)
            count_resize(counting, block, event->size);
        counting->live_bytes += event->size - block->size;
        block->size = event->size;
        break;
    default:
        break;
    }
}

static void empty(struct counting *counting)
{
    cal__table_free(&counting->live);
    counting->count = 0;
    counting->live_bytes = counting->live_blocks = 0;
}

/* The event after which the most was live. */
static size_t find_peak(struct counting *counting, const struct cal__event_list *events)
{
    size_t peak = 0;
    uint64_t most = 0;
    for (size_t i = 0; i < events->count; i++) {
        see(counting, &events->all[i], false);
        if (counting->live_bytes > most) {
            most = counting->live_bytes;
            peak = i;
        }
    }
    empty(counting);
    return peak;
}

static void count_peak(struct counting *counting, const struct cal__event *event)
{
    struct cal__profile *profile = counting->profile;
    profile->process.peak_bytes = counting->live_bytes;
    profile->process.peak_time = nanoseconds(profile, event->ticks);
    for (size_t i = 0; i < profile->site_count; i++) {
        struct cal__file_site *site = &profile->sites[i];
        site->peak_blocks = cal__site_live_blocks(site);
        site->peak_bytes = cal__site_live_bytes(site);
    }
}

static void add_moment(struct counting *counting, uint64_t time)
{
    struct cal__profile *profile = counting->profile;
    profile->timeline[profile->moment_count++] =
        (struct cal__file_moment){.time = time,
                                  .live_blocks = counting->live_blocks,
                                  .live_bytes = counting->live_bytes,
                                  .allocations = profile->process.allocations};
}

/* The counters of a trace's own tables are what the library had at another time, if anything. */
static void begin(struct counting *counting)
{
    struct cal__profile *profile = counting->profile;
    struct cal__file_process *process = &profile->process;
    process->allocations = process->allocated_bytes = process->frees = process->freed_bytes = 0;
    process->temporaries = process->unknown_frees = 0;
    for (size_t i = 0; i < profile->site_count; i++)
        profile->sites[i] = (struct cal__file_site){
            .node = profile->sites[i].node, .thread = CAL_FILE_NONE, .numa_node = CAL_FILE_NONE};
    for (size_t i = 0; i < profile->thread_count; i++) {
        struct cal__file_thread *thread = &profile->threads[i];
        thread->allocations = thread->allocated_bytes = thread->frees = thread->freed_bytes = 0;
        counting->newest[i] = CAL__TABLE_NOTHING;
    }
    free(profile->timeline);
    /* Besides those of the steps there are the start, the peak and the end. */
    profile->timeline = cal__allocate_array(MOMENTS + 3, sizeof *profile->timeline);
    profile->moment_count = 0;
}

void cal__trace_count(struct cal__profile *profile, struct cal__event_list *events)
{
    struct counting counting = {.profile = profile};
    counting.newest = cal__allocate_array(profile->thread_count, sizeof *counting.newest);
    cal__event_list_sort(events);
    size_t peak = find_peak(&counting, events);
    begin(&counting);
    uint64_t end =
        events->count > 0 ? nanoseconds(profile, events->all[events->count - 1].ticks) : 0;
    if (profile->process.duration < end)
        profile->process.duration = end;
    uint64_t step = end / MOMENTS + 1, next = 0;
    for (size_t i = 0; i < events->count; i++) {
        uint64_t time = nanoseconds(profile, events->all[i].ticks);
        see(&counting, &events->all[i], true);
        if (i == peak)
            count_peak(&counting, &events->all[i]);
        if (i == peak || time >= next) {
            add_moment(&counting, time);
            next = time + step;
        }
    }
    if (events->count > 0)
        add_moment(&counting, end);
    empty(&counting);
    free(counting.blocks);
    free(counting.newest);
}
