/* A block has a place with the number of calls that were made on it: a call waits for its turn there, and so no
 * thread frees what another has not made yet. A call waits only for calls that come before it in the script,
 * and a thread begins when as many calls as came before its start are made; so the first call that is not
 * made yet can always be made.
 *
 * Memory of its own is mapped and shared, so that it is not taken for the allocator's. */
#include "play.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "measure.h"

struct place {
    void *block;
    uint64_t size;
    _Atomic uint32_t step;
};

/* Each on cache lines of its own. */
struct player {
    _Alignas(128) struct playing *playing;
    const struct cal__script_thread *thread;
    pthread_t id;
    bool started;
    _Atomic uint64_t done; /* calls */
    _Atomic int64_t live;  /* bytes that it allocated, less those that it freed */
    _Atomic uint64_t failed;
    _Atomic uint64_t end; /* when it had made the last; 0: it has not */
};

struct playing {
    const struct cal__script *script;
    const struct cal__play_options *options;
    struct place *places;
    struct player *players;
    _Alignas(128) _Atomic uint64_t turn; /* of CAL__PLAY_TOTAL */
};

static void pause_for(unsigned round)
{
    static const struct timespec moment = {.tv_nsec = 20000};
    /* A little while without a system call, then the others get the processor. */
    if (round < 64)
        atomic_signal_fence(memory_order_seq_cst);
    else if (round < 256)
        sched_yield();
    else
        nanosleep(&moment, NULL);
}

static void touch(enum cal__play_touch how, void *block, uint64_t from, uint64_t size)
{
    enum { PAGE = 4096 };
    volatile unsigned char *bytes = block;
    if (how == CAL__PLAY_TOUCH_NOTHING || block == NULL || size <= from)
        return;
    if (how == CAL__PLAY_TOUCH_ALL) {
        memset((char *)block + from, 0x5a, size - from);
        return;
    }
    for (uint64_t at = from; at < size; at += PAGE)
        bytes[at] = 0x5a;
    bytes[size - 1] = 0x5a;
}

/* The call itself. */
static void make(struct player *player, const struct cal__script_call *call, struct place *place)
{
    enum cal__play_touch how = player->playing->options->touch;
    int64_t live = atomic_load_explicit(&player->live, memory_order_relaxed);
    void *block = NULL;
    switch (call->kind) {
    case CAL__CALL_MALLOC:
        block = malloc(call->size);
        break;
    case CAL__CALL_CALLOC:
        block = calloc(1, call->size);
        break;
    case CAL__CALL_ALIGNED: {
        /* posix_memalign() wants at least that of a pointer. */
        size_t alignment = (size_t)1 << call->alignment;
        if (posix_memalign(&block, alignment < sizeof(void *) ? sizeof(void *) : alignment,
                           call->size) != 0)
            block = NULL;
        break;
    }
    case CAL__CALL_REALLOC:
        /* realloc(p, 0) would free: the block has to stay one. */
        block = realloc(place->block, call->size ? call->size : 1);
        break;
    default:
        free(place->block);
        live -= (int64_t)place->size;
        place->block = NULL;
        atomic_store_explicit(&player->live, live, memory_order_relaxed);
        return;
    }
    if (block == NULL) {
        atomic_store_explicit(&player->failed,
                              atomic_load_explicit(&player->failed, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        return; /* realloc() left the old one */
    }
    bool resized = call->kind == CAL__CALL_REALLOC && place->block != NULL;
    uint64_t before = resized ? place->size : 0;
    touch(how, block, before, call->size);
    place->block = block;
    place->size = call->size;
    atomic_store_explicit(&player->live, live + (int64_t)(call->size - before),
                          memory_order_relaxed);
}

static void *run(void *argument)
{
    struct player *player = argument;
    struct playing *playing = player->playing;
    const struct cal__script_call *calls =
        cal__script_calls(playing->script) + player->thread->first;
    bool total = playing->options->order == CAL__PLAY_TOTAL;
    for (uint64_t i = 0; i < player->thread->count; i++) {
        const struct cal__script_call *call = &calls[i];
        struct place *place = &playing->places[call->block];
        unsigned round = 0;
        while (total && atomic_load_explicit(&playing->turn, memory_order_acquire) != call->order)
            pause_for(round++);
        while (atomic_load_explicit(&place->step, memory_order_acquire) != call->step)
            pause_for(round++);
        make(player, call, place);
        atomic_store_explicit(&place->step, call->step + 1, memory_order_release);
        if (total)
            atomic_store_explicit(&playing->turn, call->order + 1, memory_order_release);
        atomic_store_explicit(&player->done, i + 1, memory_order_relaxed);
    }
    atomic_store_explicit(&player->end, cal__measure_clock(), memory_order_release);
    return NULL;
}

static void *map_shared(size_t length)
{
    void *memory = mmap(NULL, length ? length : 1, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

struct progress {
    uint64_t made;
    int64_t live;
    size_t ended;
    uint64_t last_end;
};

static struct progress look(const struct playing *playing)
{
    struct progress progress = {0};
    for (uint64_t i = 0; i < playing->script->threads; i++) {
        struct player *player = &playing->players[i];
        uint64_t end = atomic_load_explicit(&player->end, memory_order_acquire);
        progress.made += atomic_load_explicit(&player->done, memory_order_relaxed);
        progress.live += atomic_load_explicit(&player->live, memory_order_relaxed);
        progress.ended += end != 0;
        if (end > progress.last_end)
            progress.last_end = end;
    }
    return progress;
}

/* Starts what is due. Threads whose number of earlier calls is reached begin; -errno when one cannot. */
static int start_due(struct playing *playing, uint64_t made, bool *pending)
{
    *pending = false;
    for (uint64_t i = 0; i < playing->script->threads; i++) {
        struct player *player = &playing->players[i];
        if (player->started)
            continue;
        if (player->thread->start > made) {
            *pending = true;
            continue;
        }
        int error = pthread_create(&player->id, NULL, run, player);
        if (error != 0)
            return -error;
        player->started = true;
    }
    return 0;
}

static uint64_t less(uint64_t all, uint64_t part)
{
    return all > part ? all - part : 0;
}

/* Watches over the threads until all have ended. */
static int conduct(struct playing *playing, uint64_t baseline, struct cal__play_result *result)
{
    static const struct timespec step = {.tv_nsec = 200000};
    uint64_t begun = cal__measure_clock(), processor = cal__measure_processor();
    for (;;) {
        bool pending;
        struct progress progress = look(playing);
        int error = start_due(playing, progress.made, &pending);
        if (error != 0)
            return error;
        uint64_t now = cal__measure_clock() - begun;
        if (now >= result->samples.next) {
            struct cal__sample sample = {now, progress.live > 0 ? (uint64_t)progress.live : 0,
                                         less(cal__measure_resident(), baseline)};
            cal__samples_add(&result->samples, &sample);
            if (sample.resident > result->peak_resident)
                result->peak_resident = sample.resident;
        }
        if (!pending && progress.ended == playing->script->threads)
            break;
        if (pending)
            sched_yield();
        else
            nanosleep(&step, NULL);
    }
    for (uint64_t i = 0; i < playing->script->threads; i++)
        pthread_join(playing->players[i].id, NULL);
    struct progress progress = look(playing);
    result->wall = less(progress.last_end, begun);
    result->processor = cal__measure_processor() - processor;
    result->end = (struct cal__sample){result->wall, (uint64_t)progress.live,
                                       less(cal__measure_resident_exactly(), baseline)};
    /* Those that were taken between the last call and our noticing. */
    while (result->samples.count > 0 &&
           result->samples.all[result->samples.count - 1].time >= result->wall)
        result->samples.count--;
    cal__samples_add(&result->samples, &result->end);
    if (result->end.resident > result->peak_resident)
        result->peak_resident = result->end.resident;
    for (uint64_t i = 0; i < playing->script->threads; i++)
        result->failed += atomic_load(&playing->players[i].failed);
    return 0;
}

int cal__play(const struct cal__script *script, const struct cal__play_options *options,
              struct cal__play_result *result)
{
    struct playing *playing = map_shared(sizeof *playing);
    struct place *places = map_shared(script->blocks * sizeof *places);
    struct player *players = map_shared(script->threads * sizeof *players);
    *result = (struct cal__play_result){0};
    cal__samples_begin(&result->samples);
    if (playing == NULL || places == NULL || players == NULL)
        return -ENOMEM;
    playing->script = script;
    playing->options = options;
    playing->places = places;
    playing->players = players;
    for (uint64_t i = 0; i < script->threads; i++) {
        players[i].playing = playing;
        players[i].thread = &cal__script_threads(script)[i];
    }
    uint64_t baseline = cal__measure_resident_exactly();
    int error = conduct(playing, baseline, result);
    /* Where a thread cannot be started, others may wait for it: then all this stays as long as they do. */
    if (error != 0)
        return error;
    if (options->at_end != NULL)
        options->at_end(options->context);
    for (uint64_t i = 0; i < script->blocks; i++)
        free(places[i].block);
    result->freed_resident = less(cal__measure_resident_exactly(), baseline);
    munmap(places, script->blocks ? script->blocks * sizeof *places : 1);
    munmap(players, script->threads ? script->threads * sizeof *players : 1);
    munmap(playing, sizeof *playing);
    return 0;
}
