/* A tracker's blocks are in a table with open addressing, the places they came from in another; both in
 * memory of our own, and under one lock. */
#include <calloc/track.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "clock.h"
#include "memory.h"
#include "modules.h"
#include "mutex.h"
#include "note.h"
#include "sort.h"
#include "walk.h"

enum { FIRST_SIZE = 256 };

struct place {
    void *frames[CAL_TRACKER_FRAMES];
    size_t allocations;
    size_t bytes;
    size_t live;
    size_t live_bytes;
};

struct slot {
    uintptr_t address; /* 0: empty */
    size_t bytes;
    uint64_t time;
    uint64_t thread;
    struct place *place;
};

struct cal_tracker {
    struct cal__mutex lock;
    struct slot *slots;
    size_t slots_size; /* a power of two */
    size_t slots_used;
    struct place **places; /* by hash */
    size_t places_size;
    size_t places_used;
    uint64_t time; /* spent */
    size_t allocations;
    size_t bytes;
    struct place *chunk; /* where the next place is, and how many there are */
    size_t chunk_left;
    struct chunk {
        struct chunk *next;
        size_t bytes;
    } * chunks;
};

CAL_EXPORT struct cal_tracker *cal_tracker_create(void)
{
    struct cal_tracker *tracker = cal__memory_map(sizeof *tracker);
    if (tracker == NULL)
        errno = ENOMEM;
    return tracker;
}

CAL_EXPORT void cal_tracker_destroy(struct cal_tracker *tracker)
{
    if (tracker == NULL)
        return;
    for (struct chunk *chunk = tracker->chunks; chunk != NULL;) {
        struct chunk *next = chunk->next;
        cal__memory_unmap(chunk, chunk->bytes);
        chunk = next;
    }
    cal__memory_unmap(tracker->slots, tracker->slots_size * sizeof *tracker->slots);
    cal__memory_unmap(tracker->places, tracker->places_size * sizeof(struct place *));
    cal__memory_unmap(tracker, sizeof *tracker);
}

static size_t hash(uint64_t value)
{
    value *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(value ^ value >> 32);
}

static size_t hash_frames(void *const *frames)
{
    uint64_t value = 0;
    for (size_t i = 0; i < CAL_TRACKER_FRAMES; i++)
        value = (value ^ (uintptr_t)frames[i]) * UINT64_C(0x9e3779b97f4a7c15) + (value >> 29);
    return hash(value);
}

/* Where ADDRESS is, or would be. */
static struct slot *slot_of(struct slot *slots, size_t size, uintptr_t address)
{
    size_t i = hash(address);
    while (slots[i & (size - 1)].address != 0 && slots[i & (size - 1)].address != address)
        i++;
    return &slots[i & (size - 1)];
}

static struct place **place_of(struct place **places, size_t size, void *const *frames)
{
    size_t i = hash_frames(frames);
    while (places[i & (size - 1)] != NULL &&
           memcmp(places[i & (size - 1)]->frames, frames, sizeof places[0]->frames) != 0)
        i++;
    return &places[i & (size - 1)];
}

static bool grow_slots(struct cal_tracker *tracker)
{
    size_t size = tracker->slots_size == 0 ? FIRST_SIZE : tracker->slots_size * 2;
    struct slot *slots = cal__memory_map(size * sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < tracker->slots_size; i++)
        if (tracker->slots[i].address != 0)
            *slot_of(slots, size, tracker->slots[i].address) = tracker->slots[i];
    cal__memory_unmap(tracker->slots, tracker->slots_size * sizeof *slots);
    tracker->slots = slots;
    tracker->slots_size = size;
    return true;
}

static bool grow_places(struct cal_tracker *tracker)
{
    size_t size = tracker->places_size == 0 ? FIRST_SIZE : tracker->places_size * 2;
    struct place **places = cal__memory_map(size * sizeof(struct place *));
    if (places == NULL)
        return false;
    for (size_t i = 0; i < tracker->places_size; i++)
        if (tracker->places[i] != NULL)
            *place_of(places, size, tracker->places[i]->frames) = tracker->places[i];
    cal__memory_unmap(tracker->places, tracker->places_size * sizeof(struct place *));
    tracker->places = places;
    tracker->places_size = size;
    return true;
}

static struct place *new_place(struct cal_tracker *tracker)
{
    enum { BYTES = 64 << 10 };
    if (tracker->chunk_left == 0) {
        struct chunk *chunk = cal__memory_map(BYTES);
        if (chunk == NULL)
            return NULL;
        *chunk = (struct chunk){.next = tracker->chunks, .bytes = BYTES};
        tracker->chunks = chunk;
        tracker->chunk = (struct place *)(chunk + 1);
        tracker->chunk_left = (BYTES - sizeof *chunk) / sizeof(struct place);
    }
    tracker->chunk_left--;
    return tracker->chunk++;
}

static struct place *find_place(struct cal_tracker *tracker, void *const *frames)
{
    if (tracker->places_used * 2 >= tracker->places_size && !grow_places(tracker))
        return NULL;
    struct place **place = place_of(tracker->places, tracker->places_size, frames);
    if (*place == NULL) {
        *place = new_place(tracker);
        if (*place == NULL)
            return NULL;
        memcpy((*place)->frames, frames, sizeof(*place)->frames);
        tracker->places_used++;
    }
    return *place;
}

static void take_back(struct slot *slot)
{
    slot->place->live--;
    slot->place->live_bytes -= slot->bytes;
}

/* Under the lock. */
static int add(struct cal_tracker *tracker, uintptr_t address, size_t bytes, void *const *frames,
               uint64_t now)
{
    if (tracker->slots_used * 2 >= tracker->slots_size && !grow_slots(tracker))
        return -ENOMEM;
    struct place *place = find_place(tracker, frames);
    if (place == NULL)
        return -ENOMEM;
    struct slot *slot = slot_of(tracker->slots, tracker->slots_size, address);
    if (slot->address != 0)
        take_back(slot);
    else
        tracker->slots_used++;
    *slot = (struct slot){.address = address,
                          .bytes = bytes,
                          .time = now,
                          .thread = (uint64_t)syscall(SYS_gettid),
                          .place = place};
    place->allocations++;
    place->bytes += bytes;
    place->live++;
    place->live_bytes += bytes;
    tracker->allocations++;
    tracker->bytes += bytes;
    return 0;
}

CAL_EXPORT int cal_tracker_allocation(struct cal_tracker *tracker, const void *address,
                                      size_t bytes)
{
    if (address == NULL)
        return -EINVAL;
    uint64_t start = cal__clock_now(CLOCK_MONOTONIC);
    /* The first ones are of this library. */
    uintptr_t addresses[CAL_TRACKER_FRAMES + 2];
    void *frames[CAL_TRACKER_FRAMES] = {NULL};
    size_t count = cal__walk_plain(addresses, CAL_TRACKER_FRAMES + 2);
    for (size_t i = 1; i < count && i - 1 < CAL_TRACKER_FRAMES; i++)
        frames[i - 1] = (void *)addresses[i];
    cal__mutex_acquire(&tracker->lock);
    int result = add(tracker, (uintptr_t)address, bytes, frames, start);
    tracker->time += cal__clock_now(CLOCK_MONOTONIC) - start;
    cal__mutex_release(&tracker->lock);
    return result;
}

/* Closes the gap, so that those behind it are still found. */
static void remove_slot(struct cal_tracker *tracker, struct slot *slot)
{
    size_t mask = tracker->slots_size - 1, gap = (size_t)(slot - tracker->slots);
    for (size_t i = (gap + 1) & mask; tracker->slots[i].address != 0; i = (i + 1) & mask) {
        size_t home = hash(tracker->slots[i].address) & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            tracker->slots[gap] = tracker->slots[i];
            gap = i;
        }
    }
    tracker->slots[gap].address = 0;
    tracker->slots_used--;
}

CAL_EXPORT int cal_tracker_deallocation(struct cal_tracker *tracker, const void *address)
{
    int result = -ENOENT;
    cal__mutex_acquire(&tracker->lock);
    struct slot *slot = address == NULL || tracker->slots_size == 0
                            ? NULL
                            : slot_of(tracker->slots, tracker->slots_size, (uintptr_t)address);
    if (slot != NULL && slot->address != 0) {
        take_back(slot);
        remove_slot(tracker, slot);
        result = 0;
    }
    cal__mutex_release(&tracker->lock);
    return result;
}

static bool is_lower(const void *a, const void *b)
{
    const struct cal_tracker_block *first = a, *second = b;
    return (uintptr_t)first->address < (uintptr_t)second->address;
}

static bool is_hotter(const void *a, const void *b)
{
    const struct cal_tracker_site *first = a, *second = b;
    return first->allocations != second->allocations ? first->allocations > second->allocations
                                                     : first->bytes > second->bytes;
}

/* Under the lock: all blocks, in memory of *MAPPED bytes; NULL: none, or no memory. */
static struct cal_tracker_block *copy_blocks(const struct cal_tracker *tracker, size_t *mapped)
{
    *mapped = tracker->slots_used * sizeof(struct cal_tracker_block);
    struct cal_tracker_block *blocks = *mapped == 0 ? NULL : cal__memory_map(*mapped);
    size_t count = 0;
    for (size_t i = 0; blocks != NULL && i < tracker->slots_size; i++) {
        const struct slot *slot = &tracker->slots[i];
        if (slot->address == 0)
            continue;
        struct cal_tracker_block *block = &blocks[count++];
        *block = (struct cal_tracker_block){.address = (void *)slot->address,
                                            .bytes = slot->bytes,
                                            .time = slot->time,
                                            .thread = slot->thread};
        memcpy(block->frames, slot->place->frames, sizeof block->frames);
    }
    if (blocks != NULL)
        cal__sort(blocks, sizeof *blocks, count, is_lower);
    return blocks;
}

CAL_EXPORT size_t cal_tracker_leaks(struct cal_tracker *tracker, struct cal_tracker_block *blocks,
                                    size_t count)
{
    size_t mapped;
    cal__mutex_acquire(&tracker->lock);
    size_t there = tracker->slots_used;
    struct cal_tracker_block *all = count == 0 ? NULL : copy_blocks(tracker, &mapped);
    cal__mutex_release(&tracker->lock);
    if (all != NULL) {
        memcpy(blocks, all, (there < count ? there : count) * sizeof *blocks);
        cal__memory_unmap(all, mapped);
    } else if (count != 0 && there != 0) {
        /* Without memory to sort them in, none can be told. */
        memset(blocks, 0, count * sizeof *blocks);
    }
    return there;
}

struct profile {
    size_t mapped;
    struct cal_tracker_profile profile;
    struct cal_tracker_site sites[];
};

CAL_EXPORT struct cal_tracker_profile *cal_tracker_profile(struct cal_tracker *tracker)
{
    cal__mutex_acquire(&tracker->lock);
    size_t bytes = sizeof(struct profile) + tracker->places_used * sizeof(struct cal_tracker_site);
    struct profile *result = cal__memory_map(bytes);
    size_t count = 0;
    for (size_t i = 0; result != NULL && i < tracker->places_size; i++) {
        const struct place *place = tracker->places[i];
        if (place == NULL)
            continue;
        struct cal_tracker_site *site = &result->sites[count++];
        *site = (struct cal_tracker_site){.allocations = place->allocations,
                                          .bytes = place->bytes,
                                          .live = place->live,
                                          .live_bytes = place->live_bytes};
        memcpy(site->frames, place->frames, sizeof site->frames);
        result->profile.live += place->live;
        result->profile.live_bytes += place->live_bytes;
    }
    if (result != NULL) {
        cal__sort(result->sites, sizeof result->sites[0], count, is_hotter);
        result->mapped = bytes;
        result->profile.total_allocations = tracker->allocations;
        result->profile.total_bytes_allocated = tracker->bytes;
        result->profile.total_allocation_time = tracker->time;
        result->profile.site_count = count;
        result->profile.sites = result->sites;
    }
    cal__mutex_release(&tracker->lock);
    if (result == NULL)
        errno = ENOMEM;
    return result == NULL ? NULL : &result->profile;
}

CAL_EXPORT void cal_tracker_profile_free(struct cal_tracker_profile *profile)
{
    if (profile == NULL)
        return;
    struct profile *whole = (struct profile *)((char *)profile - offsetof(struct profile, profile));
    cal__memory_unmap(whole, whole->mapped);
}

/* Text. */

static int say(struct cal__note *note, int descriptor)
{
    note->bytes[note->length++] = '\n';
    for (size_t at = 0; at < note->length;) {
        ssize_t written = write(descriptor, note->bytes + at, note->length - at);
        if (written < 0 && errno != EINTR)
            return -errno;
        at += written < 0 ? 0 : (size_t)written;
    }
    note->length = 0;
    return 0;
}

static int say_frames(void *const *frames, int descriptor)
{
    int result = 0;
    for (size_t i = 0; i < CAL_TRACKER_FRAMES && frames[i] != NULL && result == 0; i++) {
        struct cal__note note = {.length = 0};
        uintptr_t address = (uintptr_t)frames[i];
        uint32_t module = cal__modules_find(address - 1);
        cal__note_string(&note, "    ");
        if (module != CAL_MODULE_NONE) {
            const char *path = cal__module(module)->path;
            cal__note_bytes(&note, path, strlen(path));
            cal__note_string(&note, "+");
            address -= cal__module(module)->bias;
        }
        cal__note_hexadecimal(&note, address - 1);
        result = say(&note, descriptor);
    }
    return result;
}

static int say_count(const char *before, size_t blocks, size_t bytes, const char *after,
                     int descriptor)
{
    struct cal__note note = {.length = 0};
    cal__note_string(&note, before);
    cal__note_decimal(&note, blocks);
    cal__note_string(&note, blocks == 1 ? " block, " : " blocks, ");
    cal__note_decimal(&note, bytes);
    cal__note_string(&note, bytes == 1 ? " byte" : " bytes");
    cal__note_string(&note, after);
    return say(&note, descriptor);
}

CAL_EXPORT int cal_tracker_report(struct cal_tracker *tracker, int descriptor)
{
    struct cal_tracker_profile *profile = cal_tracker_profile(tracker);
    if (profile == NULL)
        return -ENOMEM;
    int result = say_count("allocated: ", profile->total_allocations,
                           profile->total_bytes_allocated, "", descriptor);
    if (result == 0)
        result = say_count("not taken back: ", profile->live, profile->live_bytes, "", descriptor);
    for (size_t i = 0; i < profile->site_count && result == 0; i++) {
        const struct cal_tracker_site *site = &profile->sites[i];
        result = say_count("", site->allocations, site->bytes, " were allocated at", descriptor);
        if (result == 0)
            result = say_frames(site->frames, descriptor);
        if (result == 0 && site->live != 0)
            result = say_count("  and of these not taken back: ", site->live, site->live_bytes, "",
                               descriptor);
    }
    cal_tracker_profile_free(profile);
    return result;
}
