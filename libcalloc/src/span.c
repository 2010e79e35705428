#include "span.h"

#include "annotate.h"
#include "lock.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "place.h"

/* Bin i holds runs of i + 1 granules, the last one all that are longer. */
#define BINS 64
/* The first segment is small because most processes are; the next ones let a few hundred slabs
 * share a mapping; later ones grow with the heap, to keep the number of mappings low. */
#define FIRST_SEGMENT ((size_t)16)
#define SEGMENT       ((size_t)64)
#define SEGMENT_MAX   ((size_t)1024)
/* What one call purges at most before it goes back to its own work; the next one goes on. */
#define PURGE_RUNS 64

#define PAGES_PER_CHUNK 31

struct chunk {
    struct chunk *next;
    struct cal__page pages[PAGES_PER_CHUNK];
};

struct run_set {
    uint64_t nonempty; /* bit i: bin i has runs */
    struct cal__page *bin[BINS];
    size_t granules;
    size_t runs;
};

static struct cal__lock lock;
static struct run_set dirty;
static struct run_set clean;
/* Dirty runs in the order in which they are to be purged. */
static struct cal__page *oldest;
static struct cal__page *newest;
static struct chunk *chunks;
static struct cal__page *unused_pages;
static size_t segment_granules;

_Static_assert(sizeof(struct chunk) == 4096, "a chunk of descriptors fills a kernel page");
_Static_assert(BINS == SEGMENT, "the last bin holds the runs of segment size");

/* Descriptors. */

static struct cal__page *page_new(void)
{
    if (unused_pages == NULL) {
        struct chunk *chunk = cal__metadata_allocate(sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        chunk->next = chunks;
        chunks = chunk;
        for (size_t i = PAGES_PER_CHUNK; i-- > 0;) {
            chunk->pages[i].next = unused_pages;
            unused_pages = &chunk->pages[i];
        }
    }
    struct cal__page *page = unused_pages;
    unused_pages = page->next;
    page->next = NULL;
    return page;
}

static void page_delete(struct cal__page *page)
{
    atomic_store_explicit(&page->granules, 0, memory_order_relaxed);
    atomic_store_explicit(&page->tag, 0, memory_order_release);
    page->kind = CAL_PAGE_NONE;
    page->next = unused_pages;
    unused_pages = page;
}

/* The range is written before the tag that lets readers look at it. */
static void page_set_range(struct cal__page *page, uint64_t first, size_t granules)
{
    atomic_store_explicit(&page->granules, (uint32_t)granules, memory_order_relaxed);
    atomic_store_explicit(&page->tag, first, memory_order_release);
}

static uint64_t page_first(const struct cal__page *page)
{
    return atomic_load_explicit(&page->tag, memory_order_relaxed);
}

static void page_reset(struct cal__page *page, enum cal__page_kind kind)
{
    atomic_store_explicit(&page->origin, CAL_ORIGIN_NOBODY, memory_order_relaxed);
    atomic_store_explicit(&page->heap, NULL, memory_order_relaxed);
    atomic_store_explicit(&page->remote, 0, memory_order_relaxed);
    atomic_store_explicit(&page->carved, 0, memory_order_relaxed);
    page->free = NULL;
    page->countdown = 0;
    page->limit = 0;
    page->target = 0;
    page->block_size = 0;
    page->capacity = 0;
    page->list = CAL_LIST_NONE;
    page->next = page->previous = NULL;
    page->returned_next = NULL;
    atomic_store_explicit(&page->merged, NULL, memory_order_relaxed);
    page->size = 0;
    page->queued = false;
    page->kind = (uint8_t)kind;
}

/* Free runs. */

static unsigned bin_of(size_t granules)
{
    return (unsigned)cal__min(granules, BINS) - 1;
}

static struct run_set *set_of(const struct cal__page *run)
{
    return run->zeroed ? &clean : &dirty;
}

/* The map knows a free run by its two ends. */
static void map_ends(struct cal__page *run, bool present)
{
    uint64_t first = page_first(run);
    uint64_t last = first + cal__page_granules(run) - 1;
    void (*change)(struct cal__page *, uint64_t, size_t) = present ? cal__map_set : cal__map_clear;
    change(run, first, 1);
    if (last != first)
        change(run, last, 1);
}

/* The queue of dirty runs is in the order of their expiry: a run goes in behind OLDER, whose place it
 * takes over or behind which it belongs; NULL: first. */
static void queue_insert(struct cal__page *run, struct cal__page *older)
{
    run->older = older;
    run->newer = older != NULL ? older->newer : oldest;
    *(run->newer != NULL ? &run->newer->older : &newest) = run;
    *(older != NULL ? &older->newer : &oldest) = run;
}

static void queue_remove(struct cal__page *run)
{
    *(run->newer != NULL ? &run->newer->older : &newest) = run->older;
    *(run->older != NULL ? &run->older->newer : &oldest) = run->newer;
}

/* A dirty run that the kernel refused to take back (locked memory, seccomp) is in no queue: it is
 * not tried again until memory is short. */
static bool in_queue(const struct cal__page *run)
{
    return !run->zeroed && run->list != CAL_LIST_REFUSED;
}

static void run_link(struct cal__page *run, struct cal__page *older)
{
    struct run_set *set = set_of(run);
    unsigned bin = bin_of(cal__page_granules(run));
    run->previous = NULL;
    run->next = set->bin[bin];
    if (run->next != NULL)
        run->next->previous = run;
    set->bin[bin] = run;
    set->nonempty |= (uint64_t)1 << bin;
    set->granules += cal__page_granules(run);
    set->runs++;
    run->kind = CAL_PAGE_FREE;
    if (in_queue(run))
        queue_insert(run, older);
    map_ends(run, true);
}

static void run_unlink(struct cal__page *run)
{
    struct run_set *set = set_of(run);
    unsigned bin = bin_of(cal__page_granules(run));
    if (run->next != NULL)
        run->next->previous = run->previous;
    if (run->previous != NULL)
        run->previous->next = run->next;
    else if ((set->bin[bin] = run->next) == NULL)
        set->nonempty &= ~((uint64_t)1 << bin);
    set->granules -= cal__page_granules(run);
    set->runs--;
    run->kind = CAL_PAGE_NONE;
    if (in_queue(run))
        queue_remove(run);
    map_ends(run, false);
}

/* What a run that grows together keeps: the age of its largest part, and with it the place in the
 * queue. So a small part that comes and goes does not keep a large one from being purged. */
struct age {
    size_t granules; /* of that part */
    uint64_t expiry;
    struct cal__page *older;
    uint8_t list;
};

static void absorb(struct cal__page *part, struct age *age)
{
    /* The part that leaves the queue may be the one whose place was to be taken. */
    if (age->older == part)
        age->older = part->older;
    /* A part that was refused says nothing of the others. */
    bool refused = part->list == CAL_LIST_REFUSED;
    bool larger = cal__page_granules(part) > age->granules;
    if (age->list == CAL_LIST_REFUSED ? !refused || larger : !refused && larger)
        *age = (struct age){cal__page_granules(part), part->expiry,
                            in_queue(part) ? part->older : NULL, part->list};
    run_unlink(part);
    page_delete(part);
}

static bool joins(const struct cal__page *run, const struct cal__page *neighbour)
{
    return neighbour != NULL && neighbour->kind == CAL_PAGE_FREE &&
           neighbour->zeroed == run->zeroed;
}

/* Puts a run, whose map entries are cleared, among the free ones and joins it to its neighbours. If
 * it is not joined its expiry is the latest of all. */
static void run_insert(struct cal__page *run)
{
    uint64_t first = page_first(run);
    size_t granules = cal__page_granules(run);
    struct age age = {granules, run->expiry, newest, run->list};
    struct cal__page *left = cal__map_find(first - 1);
    if (joins(run, left)) {
        first = page_first(left);
        granules += cal__page_granules(left);
        absorb(left, &age);
    }
    struct cal__page *right = cal__map_find(first + granules);
    if (joins(run, right)) {
        granules += cal__page_granules(right);
        absorb(right, &age);
    }
    page_set_range(run, first, granules);
    run->expiry = age.expiry;
    run->list = age.list;
    run_link(run, age.older);
}

/* Granules to skip at the start of RUN to reach a multiple of ALIGNMENT. */
static size_t misalignment(const struct cal__page *run, size_t alignment)
{
    return (size_t)(-page_first(run) & (alignment - 1));
}

static bool run_fits(const struct cal__page *run, size_t granules, size_t alignment)
{
    return cal__page_granules(run) >= granules + misalignment(run, alignment);
}

/* The smallest run that fits; within a bin the one freed last, which is the warmest. */
static struct cal__page *run_find(const struct run_set *set, size_t granules, size_t alignment)
{
    uint64_t candidates = set->nonempty & (~(uint64_t)0 << bin_of(granules));
    for (; candidates != 0; candidates &= candidates - 1) {
        unsigned bin = (unsigned)__builtin_ctzll(candidates);
        struct cal__page *best = NULL;
        for (struct cal__page *run = set->bin[bin]; run != NULL; run = run->next) {
            if (!run_fits(run, granules, alignment))
                continue;
            if (bin != BINS - 1)
                return run;
            if (best == NULL || cal__page_granules(run) < cal__page_granules(best))
                best = run;
        }
        if (best != NULL)
            return best;
    }
    return NULL;
}

static void leave_rest(const struct cal__page *run, struct cal__page *rest, uint64_t first,
                       size_t granules, struct cal__page *older)
{
    rest->zeroed = run->zeroed;
    rest->expiry = run->expiry;
    rest->list = run->list;
    page_set_range(rest, first, granules);
    run_link(rest, older);
}

/* Cuts GRANULES granules out of a free run; what is left on both sides stays free. NULL and no
 * change when there are no descriptors for the rest. */
static struct cal__page *run_cut(struct cal__page *run, size_t granules, size_t alignment)
{
    uint64_t first = page_first(run);
    size_t head = misalignment(run, alignment);
    size_t tail = cal__page_granules(run) - head - granules;
    struct cal__page *before = NULL;
    struct cal__page *after = NULL;
    if ((head != 0 && (before = page_new()) == NULL) ||
        (tail != 0 && (after = page_new()) == NULL)) {
        if (before != NULL)
            page_delete(before);
        return NULL;
    }
    struct cal__page *older = in_queue(run) ? run->older : NULL;
    run_unlink(run);
    page_set_range(run, first + head, granules);
    if (before != NULL)
        leave_rest(run, before, first, head, older);
    if (after != NULL)
        leave_rest(run, after, first + head + granules, tail, older);
    return run;
}

/* Segments. */

/* Maps GRANULES granules, the first a multiple of ALIGNMENT, as a clean free run. */
static bool map_segment(size_t granules, size_t alignment)
{
    /* AddressSanitizer knows nothing of the bytes before the first block but what we say of them. */
    size_t guard = CAL_UNLIKELY(cal__annotating == CAL_ANNOTATE_ASAN) ? alignment : 0;
    size_t whole = granules + guard;
    void *address = cal__place_map(whole, alignment);
    if (address == NULL)
        return false;
    uint64_t first = cal__granule_of(address) + guard;
    struct cal__page *run = cal__map_reserve(first, granules) ? page_new() : NULL;
    if (run == NULL) {
        cal__place_unmap(address, whole);
        return false;
    }
    if (CAL_UNLIKELY(cal__annotating != CAL_ANNOTATE_NONE))
        cal__annotate_region(address, whole << CAL_GRANULE_SHIFT);
    segment_granules += granules;
    page_set_range(run, first, granules);
    run->zeroed = true;
    run->list = CAL_LIST_NONE;
    run_insert(run);
    return true;
}

/* Maps at least GRANULES granules, contiguous, more if there is more. */
static bool grow(size_t granules, size_t alignment)
{
    size_t wanted = FIRST_SEGMENT;
    if (segment_granules != 0) {
        wanted = cal__max(SEGMENT, cal__min(segment_granules / 8, SEGMENT_MAX));
        wanted = cal__round_up(wanted, SEGMENT / 2);
    }
    for (wanted = cal__max(wanted, granules); !map_segment(wanted, alignment);) {
        if (wanted == granules)
            return false;
        wanted = cal__max(wanted / 2, granules);
    }
    return true;
}

static struct cal__page *allocate_locked(size_t granules, size_t alignment, bool zeroed)
{
    const struct run_set *sets[2] = {zeroed ? &clean : &dirty, zeroed ? &dirty : &clean};
    for (int i = 0; i < 2; i++) {
        struct cal__page *run = run_find(sets[i], granules, alignment);
        if (run != NULL)
            return run_cut(run, granules, alignment);
    }
    if (!grow(granules, alignment))
        return NULL;
    struct cal__page *run = run_find(&clean, granules, alignment);
    return run == NULL ? NULL : run_cut(run, granules, alignment);
}

/* What the map must know of a page: all of a slab, whose blocks may begin anywhere, and only the
 * first granule of a large block. */
static size_t mapped_granules(const struct cal__page *page)
{
    return page->kind == CAL_PAGE_SLAB ? cal__page_granules(page) : 1;
}

struct cal__page *cal__span_allocate(size_t granules, size_t alignment, enum cal__page_kind kind,
                                     bool zeroed)
{
    cal__lock_acquire(&lock);
    struct cal__page *page = allocate_locked(granules, alignment, zeroed);
    if (page != NULL) {
        page_reset(page, kind);
        cal__map_set(page, page_first(page), mapped_granules(page));
    }
    cal__lock_release(&lock);
    return page;
}

void cal__span_release(struct cal__page *page)
{
    cal__lock_acquire(&lock);
    cal__map_clear(page, page_first(page), mapped_granules(page));
    page_reset(page, CAL_PAGE_NONE);
    page->zeroed = false;
    page->expiry = cal__os_milliseconds() + cal__options.purge_delay;
    run_insert(page);
    cal__lock_release(&lock);
    cal__span_purge_expired();
}

bool cal__span_extend(struct cal__page *page, size_t granules)
{
    cal__lock_acquire(&lock);
    bool done = false;
    size_t old = cal__page_granules(page);
    uint64_t end = page_first(page) + old;
    struct cal__page *right = cal__map_find(end);
    if (right != NULL && right->kind == CAL_PAGE_FREE && page_first(right) == end &&
        cal__page_granules(right) >= granules - old) {
        struct cal__page *part = run_cut(right, granules - old, 1);
        if (part != NULL) {
            page_delete(part);
            atomic_store_explicit(&page->granules, (uint32_t)granules, memory_order_relaxed);
            done = true;
        }
    }
    cal__lock_release(&lock);
    return done;
}

void cal__span_shrink(struct cal__page *page, size_t granules)
{
    cal__lock_acquire(&lock);
    struct cal__page *rest = page_new();
    /* Without a descriptor for it the end simply stays part of the block. */
    if (rest != NULL) {
        size_t old = cal__page_granules(page);
        atomic_store_explicit(&page->granules, (uint32_t)granules, memory_order_relaxed);
        page_set_range(rest, page_first(page) + granules, old - granules);
        rest->zeroed = false;
        rest->list = CAL_LIST_NONE;
        rest->expiry = cal__os_milliseconds() + cal__options.purge_delay;
        run_insert(rest);
    }
    cal__lock_release(&lock);
    cal__span_purge_expired();
}

void cal__span_donate(struct cal__page *page, size_t size, bool zeroed)
{
    size_t granules = size >> CAL_GRANULE_SHIFT;
    cal__lock_acquire(&lock);
    cal__map_clear(page, page_first(page), 1);
    page_reset(page, CAL_PAGE_NONE);
    if (granules != 0 && cal__map_reserve(page_first(page), granules)) {
        page_set_range(page, page_first(page), granules);
        page->zeroed = zeroed;
        page->expiry = cal__os_milliseconds() + cal__options.purge_delay;
        segment_granules += granules;
        run_insert(page);
    } else {
        page_delete(page);
    }
    cal__lock_release(&lock);
}

struct cal__page *cal__span_register(void *address, size_t size)
{
    uint64_t first = cal__granule_of(address);
    cal__lock_acquire(&lock);
    struct cal__page *page = NULL;
    if (cal__map_reserve(first, 1) && (page = page_new()) != NULL) {
        page_reset(page, CAL_PAGE_HUGE);
        page->size = size;
        page->block_size = 0;
        /* Only the first granule matters: a pointer into the middle is not one we handed out. */
        page_set_range(page, first, 1);
        cal__map_set(page, first, 1);
    }
    cal__lock_release(&lock);
    return page;
}

bool cal__span_rebase(struct cal__page *page, void *address)
{
    uint64_t first = cal__granule_of(address);
    cal__lock_acquire(&lock);
    bool done = cal__map_reserve(first, 1);
    if (done) {
        cal__map_clear(page, page_first(page), 1);
        page_set_range(page, first, 1);
        cal__map_set(page, first, 1);
    }
    cal__lock_release(&lock);
    return done;
}

void cal__span_hide(struct cal__page *page)
{
    cal__lock_acquire(&lock);
    cal__map_clear(page, page_first(page), 1);
    cal__lock_release(&lock);
}

void cal__span_unregister(struct cal__page *page)
{
    cal__lock_acquire(&lock);
    cal__map_clear(page, page_first(page), 1);
    page_delete(page);
    cal__lock_release(&lock);
}

/* Purging. */

enum purge_mode { purge_expired, purge_dirty, unmap_everything };

/* Takes the next run to give back out of the sets, so that the system call is made without the
 * lock; nobody else can reach the run then. */
static struct cal__page *purge_next(enum purge_mode mode, uint64_t now)
{
    struct cal__page *run = oldest;
    if (mode == purge_expired && run != NULL && run->expiry > now)
        return NULL;
    if (run == NULL && mode == unmap_everything && clean.nonempty != 0)
        run = clean.bin[__builtin_ctzll(clean.nonempty)];
    if (run == NULL && mode == unmap_everything && dirty.nonempty != 0)
        run = dirty.bin[__builtin_ctzll(dirty.nonempty)];
    if (run == NULL && mode == purge_dirty)
        run = clean.bin[BINS - 1];
    /* Last what was refused before: if it is again, there is nothing more to do. */
    if (run == NULL && mode == purge_dirty && dirty.nonempty != 0)
        run = dirty.bin[__builtin_ctzll(dirty.nonempty)];
    if (run != NULL)
        run_unlink(run);
    return run;
}

static bool purge(enum purge_mode mode)
{
    uint64_t now = cal__os_milliseconds();
    bool any = false;
    for (unsigned i = 0; mode != purge_expired || i < PURGE_RUNS; i++) {
        cal__lock_acquire(&lock);
        struct cal__page *run = purge_next(mode, now);
        cal__lock_release(&lock);
        if (run == NULL)
            return any;
        size_t granules = cal__page_granules(run);
        size_t bytes = granules << CAL_GRANULE_SHIFT;
        void *address = cal__page_start(run);
        /* Under AddressSanitizer segments stay, or the guards before them would be left over. */
        bool unmapped = (mode == unmap_everything || granules >= SEGMENT) &&
                        cal__annotating != CAL_ANNOTATE_ASAN && cal__place_unmap(address, granules);
        bool purged = !unmapped && !run->zeroed && cal__os_purge(address, bytes);
        cal__lock_acquire(&lock);
        if (unmapped) {
            segment_granules -= granules;
            page_delete(run);
        } else {
            run->zeroed |= purged;
            run->list = run->zeroed ? CAL_LIST_NONE : CAL_LIST_REFUSED;
            run_insert(run);
        }
        cal__lock_release(&lock);
        if (!unmapped && !purged)
            return any;
        any = true;
    }
    return any;
}

void cal__span_purge_expired(void)
{
    purge(purge_expired);
}

bool cal__span_purge_all(void)
{
    return purge(purge_dirty);
}

bool cal__span_unmap_all(void)
{
    return purge(unmap_everything);
}

/* Looking at it from outside. */

struct cal__span_statistics cal__span_statistics(void)
{
    cal__lock_acquire(&lock);
    struct cal__span_statistics statistics = {
        .segment_bytes = segment_granules << CAL_GRANULE_SHIFT,
        .dirty_bytes = dirty.granules << CAL_GRANULE_SHIFT,
        .clean_bytes = clean.granules << CAL_GRANULE_SHIFT,
        .dirty_runs = dirty.runs,
        .clean_runs = clean.runs,
    };
    cal__lock_release(&lock);
    return statistics;
}

bool cal__span_walk(bool (*visit)(struct cal__page *page, void *argument), void *argument)
{
    bool complete = true;
    cal__lock_acquire(&lock);
    for (struct chunk *chunk = chunks; chunk != NULL && complete; chunk = chunk->next) {
        for (size_t i = 0; i < PAGES_PER_CHUNK && complete; i++) {
            if (chunk->pages[i].kind != CAL_PAGE_NONE)
                complete = visit(&chunk->pages[i], argument);
        }
    }
    cal__lock_release(&lock);
    return complete;
}

void cal__span_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__span_unlock(bool in_child)
{
    cal__lock_release_after_fork(&lock, in_child);
}
