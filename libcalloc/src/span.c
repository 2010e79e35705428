#include "span.h"

#include <errno.h>
#include <string.h>

#include "annotate.h"
#include "lock.h"
#include "options.h"
#include "os.h"
#include "place.h"
#include "runs.h"

/* The first segment is small because most processes are; the next ones let a few hundred slabs
 * share a mapping; later ones grow with the heap, to keep the number of mappings low. */
#define FIRST_SEGMENT ((size_t)16)
#define SEGMENT       ((size_t)CAL_RUNS_LONG)
#define SEGMENT_MAX   ((size_t)1024)
/* What one call purges at most before it goes back to its own work; the next one goes on. */
#define PURGE_RUNS 64
/* Free memory may come on top of the most that was ever in use by a share of that. */
#define RETAINED_SHARE 16
#define RUN_GRANULES   (CAL_RUN_MAX >> CAL_GRANULE_SHIFT)
/* To move a run of any length costs about as much as the page faults of half a granule, but each is
 * a mapping of the kernel's from then on: no shorter ones, and no more of them for one block. */
#define PART_MIN ((size_t)2)
/* Nor what moving has left in pieces shorter than this on average. */
#define PIECE_MIN ((size_t)2)
#define PARTS_MAX 64
/* Where only the limit asks for it, so much is moved at once. */
#define MOVE_MIN ((size_t)32)

static struct cal__lock lock;
static size_t segment_granules;
static size_t huge_granules; /* of those, in HUGE pages */
static size_t in_use;        /* by pages of all kinds, of slabs what takes memory */
static size_t most_in_use;

static void page_reset(struct cal__page *page, enum cal__page_kind kind)
{
    atomic_store_explicit(&page->origin, CAL_ORIGIN_NOBODY, memory_order_relaxed);
    atomic_store_explicit(&page->heap, NULL, memory_order_relaxed);
    atomic_store_explicit(&page->remote, 0, memory_order_relaxed);
    atomic_store_explicit(&page->carved, 0, memory_order_relaxed);
    page->free = NULL;
    page->countdown = 0;
    atomic_store_explicit(&page->limit, 0, memory_order_relaxed);
    page->target = 0;
    page->block_size = 0;
    page->capacity = 0;
    page->list = CAL_LIST_NONE;
    page->next.word = page->previous.word = 0;
    page->returned_next.word = 0;
    atomic_store_explicit(&page->merged, NULL, memory_order_relaxed);
    page->size = 0;
    page->queued = false;
    page->kind = (uint8_t)kind;
}
/* Segments. */

/* Maps GRANULES granules, the first a multiple of ALIGNMENT, as a clean free run. */
static bool map_segment(size_t granules, size_t alignment)
{
    /* AddressSanitizer knows nothing of the bytes before the first block but what we say of them. */
    size_t guard = CAL_UNLIKELY(cal__annotating == CAL_ANNOTATE_ASAN) ? alignment : 0;
    if (CAL_UNLIKELY(cal__options.huge_pages != 0) && granules >= CAL_HUGE_GRANULES)
        alignment = cal__max(alignment, CAL_HUGE_GRANULES);
    size_t whole = granules + guard;
    void *address = cal__place_map(whole, alignment);
    if (address == NULL)
        return false;
    uint64_t first = cal__granule_of(address) + guard;
    struct cal__page *run = cal__map_reserve(first, granules) ? cal__page_new() : NULL;
    if (run == NULL) {
        cal__place_unmap(address, whole);
        return false;
    }
    if (CAL_UNLIKELY(cal__annotating != CAL_ANNOTATE_NONE))
        cal__annotate_region(address, whole << CAL_GRANULE_SHIFT);
    segment_granules += granules;
    cal__page_set_range(run, first, granules);
    run->zeroed = true;
    run->list = CAL_LIST_NONE;
    cal__runs_insert(run);
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

/* Purging. */

enum purge_mode { purge_expired, purge_excess, purge_dirty, unmap_everything };

/* Clean memory costs nothing but addresses and, where it lies between others, mappings of the kernel's:
 * what is beyond this share of what is in use, and some, is unmapped where it is long. */
#define CLEAN_SHARE 2

static size_t clean_excess(void)
{
    size_t enough = in_use / CLEAN_SHARE + SEGMENT_MAX;
    return cal__runs_clean.granules - cal__min(cal__runs_clean.granules, enough);
}

/* What may be in use and retained together. */
static size_t limit(void)
{
    return most_in_use + most_in_use / RETAINED_SHARE;
}

/* Dirty granules on top of what the option allows ... */
static size_t above_option(void)
{
    size_t kept = cal__options.retain >> CAL_GRANULE_SHIFT;
    return cal__runs_dirty.granules - cal__min(cal__runs_dirty.granules, kept);
}

/* ... and on top of what there may be while fresh memory comes into use. */
static size_t excess(void)
{
    size_t both = in_use + cal__runs_dirty.granules;
    return cal__max(both - cal__min(both, limit()), above_option());
}

static bool worth_unmapping(const struct cal__page *run, enum purge_mode mode)
{
    size_t granules = cal__page_granules(run);
    bool in_the_way = mode == unmap_everything || (mode <= purge_excess && run->zeroed);
    /* Under AddressSanitizer segments stay, or the guards before them would be left over. */
    return cal__annotating != CAL_ANNOTATE_ASAN &&
           (granules >= SEGMENT || (in_the_way && cal__place_may_scatter()));
}

/* A run that was taken out is about to be unmapped: what would be left alone between holes goes too. */
static void take_clean_neighbours(struct cal__page *run)
{
    uint64_t first = cal__page_first(run);
    uint64_t end = first + cal__page_granules(run);
    struct cal__page *neighbours[2] = {cal__map_find(first - 1), cal__map_find(end)};
    for (int i = 0; i < 2; i++) {
        struct cal__page *neighbour = neighbours[i];
        if (neighbour == NULL || neighbour->kind != CAL_PAGE_FREE || !neighbour->zeroed)
            continue;
        cal__runs_remove(neighbour);
        first = cal__min(first, cal__page_first(neighbour));
        end = cal__max(end, cal__page_first(neighbour) + cal__page_granules(neighbour));
        cal__page_delete(neighbour);
    }
    cal__page_set_range(run, first, end - first);
}

/* Takes the next run to give back out of the sets, so that the system call is made without the
 * lock; nobody else can reach the run then. */
static struct cal__page *purge_next(enum purge_mode mode, uint64_t now)
{
    struct cal__page *run = NULL;
    if (mode <= purge_excess && clean_excess() != 0) {
        run = cal__runs_long(&cal__runs_clean);
        if (worth_unmapping(run, mode)) {
            cal__runs_remove(run);
            return run;
        }
    }
    run = cal__runs_oldest();
    if (run != NULL && (mode == purge_excess || (mode == purge_expired && run->expiry > now))) {
        size_t above = mode == purge_excess ? excess() : above_option();
        if (above == 0)
            return NULL;
        if (above < cal__page_granules(run))
            return cal__runs_cut(run, above, 1);
    }
    /* Then what is not in the queue, the long ones first, which can be unmapped. Once one of these is
     * refused there is nothing more to do. */
    if (run == NULL && mode >= purge_dirty) {
        run = cal__runs_long(&cal__runs_clean);
        if (run != NULL && !worth_unmapping(run, mode))
            run = NULL;
    }
    if (run == NULL && mode >= purge_dirty)
        run = cal__runs_long(&cal__runs_dirty);
    if (run != NULL)
        cal__runs_remove(run);
    return run;
}

static bool purge(enum purge_mode mode)
{
    uint64_t now = cal__os_milliseconds();
    bool any = false;
    for (unsigned i = 0; mode > purge_excess || i < PURGE_RUNS; i++) {
        cal__lock_acquire(&lock);
        struct cal__page *run = purge_next(mode, now);
        bool unmapping = run != NULL && worth_unmapping(run, mode);
        if (unmapping)
            take_clean_neighbours(run);
        cal__lock_release(&lock);
        if (run == NULL)
            return any;
        size_t granules = cal__page_granules(run);
        void *address = cal__page_start(run);
        bool last_try = mode == purge_excess || !cal__runs_queued(run);
        bool unmapped =
            unmapping &&
            (granules >= SEGMENT ? cal__place_unmap : cal__place_unmap_hole)(address, granules);
        bool purged = !unmapped && !run->zeroed && cal__place_purge(address, granules);
        cal__lock_acquire(&lock);
        if (unmapped) {
            segment_granules -= granules;
            cal__page_delete(run);
        } else {
            run->zeroed |= purged;
            run->list = run->zeroed ? CAL_LIST_NONE : CAL_LIST_REFUSED;
            cal__runs_insert(run);
        }
        cal__lock_release(&lock);
        bool refused = !unmapped && !purged;
        /* What was refused is in the queue no more, and there may be longer ones behind it. */
        if (refused && last_try)
            return any;
        any |= !refused;
    }
    return any;
}

/* Which memory a page is to have. */
enum preference { prefer_dirty, prefer_clean, insist_on_clean };

/* Where a slab is to lie by chance, it is one of so many places in a run, and what is left over on both sides is used up,
 * in any order, before another run is cut in pieces. */
#define PLACES ((size_t)16)

/* Memory that was used is cut from the shortest run that fits, at either end: anywhere in any run, pieces would be left that
 * nothing but the smallest slabs fit into, and others would take new memory, for which the old is given back. */
static struct cal__page *cut_somewhere(struct cal__page *run, size_t granules)
{
    size_t length = cal__page_granules(run);
    if (!run->zeroed)
        return cal__runs_cut_at(run, granules, cal__link_place(2) * (length - granules));
    return cal__runs_cut_at(run, granules,
                            cal__link_place(cal__min(length / granules, PLACES)) * granules);
}

static struct cal__page *find(const struct cal__run_set *set, size_t granules, size_t alignment,
                              bool somewhere)
{
    struct cal__page *run = CAL_UNLIKELY(somewhere) && set == &cal__runs_clean
                                ? cal__runs_any(set, granules, PLACES)
                                : NULL;
    return run != NULL ? run : cal__runs_find(set, granules, alignment);
}

static struct cal__page *allocate_locked(size_t granules, size_t alignment,
                                         enum preference preference, bool somewhere)
{
    bool dirty_first = preference == prefer_dirty;
    struct cal__page *run =
        find(dirty_first ? &cal__runs_dirty : &cal__runs_clean, granules, alignment, somewhere);
    if (run == NULL && preference != insist_on_clean)
        run =
            find(dirty_first ? &cal__runs_clean : &cal__runs_dirty, granules, alignment, somewhere);
    if (run == NULL && grow(granules, alignment))
        run = cal__runs_find(&cal__runs_clean, granules, alignment);
    if (run == NULL && preference == insist_on_clean)
        run = cal__runs_find(&cal__runs_dirty, granules, alignment);
    if (run == NULL)
        return NULL;
    return CAL_UNLIKELY(somewhere) ? cut_somewhere(run, granules)
                                   : cal__runs_cut(run, granules, alignment);
}

static bool is_large(const struct cal__page *page)
{
    return page->kind == CAL_PAGE_RUN || page->kind == CAL_PAGE_HUGE;
}

/* What the map must know of a page: all of one whose blocks may begin anywhere, and only up to its
 * start, which is in the first granule but for guard space, of a large block. */
static size_t mapped_granules(const struct cal__page *page)
{
    return is_large(page) ? (size_t)1 + page->reach : cal__page_granules(page);
}

static void count(const struct cal__page *page, size_t added)
{
    in_use += added;
    most_in_use = cal__max(most_in_use, in_use);
    if (page->kind == CAL_PAGE_HUGE)
        huge_granules += added;
}

/* Backing clean memory with pages that are retained. */

/* Takes dirty runs for at most GRANULES granules out of their set, the longest ones if no single one
 * serves; a list through `next`. */
static struct cal__page *parts_take(size_t granules)
{
    struct cal__page *parts = NULL;
    for (unsigned i = 0; i < PARTS_MAX && granules >= PART_MIN; i++) {
        struct cal__page *run = cal__runs_find(&cal__runs_dirty, granules, 1);
        if (run == NULL)
            run = cal__runs_longest(&cal__runs_dirty);
        if (run == NULL || cal__page_granules(run) < PART_MIN)
            break;
        run = cal__runs_cut(run, cal__min(granules, cal__page_granules(run)), 1);
        if (run == NULL)
            break;
        granules -= cal__page_granules(run);
        cal__page_set_next(run, parts);
        parts = run;
    }
    return parts;
}

static void insert_rest(struct cal__page *run, uint64_t first, size_t granules, bool clean)
{
    run->zeroed = clean;
    run->list = CAL_LIST_NONE;
    run->expiry = cal__os_milliseconds() + cal__options.purge_delay;
    cal__page_set_range(run, first, granules);
    cal__runs_insert(run);
}

/* A run that was taken out has lost its first MOVED granules, of which the first MAPPED are mapped anew;
 * what is left is dirty still. */
static void part_done(struct cal__page *part, size_t moved, size_t mapped)
{
    uint64_t first = cal__page_first(part);
    size_t left = cal__page_granules(part) - moved;
    struct cal__page *rest = left != 0 && mapped != 0 ? cal__page_new() : NULL;
    if (left != 0 && mapped != 0 && rest == NULL &&
        cal__place_unmap((void *)(first << CAL_GRANULE_SHIFT), mapped))
        mapped = 0;
    segment_granules -= moved - mapped;
    if (left != 0 && (mapped == 0 || rest != NULL))
        insert_rest(rest != NULL ? rest : part, first + moved, left, false);
    if (mapped != 0)
        insert_rest(part, first, mapped, true);
    else if (left == 0)
        cal__page_delete(part);
}

/* Moves retained pages under the GRANULES granules from FIRST on, which are clean and in nobody's
 * hands; returns how many, from the start, have pages now. */
static size_t back(uint64_t first, size_t granules)
{
    if (granules < PART_MIN || cal__annotating != CAL_ANNOTATE_NONE || !cal__place_may_scatter())
        return 0;
    cal__lock_acquire(&lock);
    struct cal__page *parts = parts_take(granules);
    cal__lock_release(&lock);
    size_t backed = 0;
    bool refused = false;
    while (parts != NULL) {
        struct cal__page *part = parts;
        parts = cal__page_next(part);
        size_t length = cal__page_granules(part);
        void *destination = (void *)((first + backed) << CAL_GRANULE_SHIFT);
        size_t mapped = 0;
        bool whole = cal__place_pieces(cal__page_start(part), length) <= 1 + length / PIECE_MIN;
        size_t moved = refused || !whole
                           ? 0
                           : cal__place_move(cal__page_start(part), length, destination, &mapped);
        refused |= whole && moved != length;
        backed += moved;
        cal__lock_acquire(&lock);
        part_done(part, moved, mapped);
        cal__lock_release(&lock);
    }
    return backed;
}

/* The GRANULES granules from FIRST on, which are clean, are about to be used by a block of WHOLE
 * granules: gives them pages that are retained, to one no longer than CAL_RUN_MAX only as many as the
 * limit asks for, and gives back what is retained beyond it then. ZERO: all is to read as zeros still.
 * False when memory is wanted now and there is none. */
static bool prepare(size_t whole, uint64_t first, size_t granules, bool zero)
{
    /* Zeros would have to be written, also where the program never looks. */
    size_t wanted = zero && whole > RUN_GRANULES ? 0 : granules;
    if (whole <= RUN_GRANULES) {
        cal__lock_acquire(&lock);
        size_t above = excess();
        cal__lock_release(&lock);
        wanted = above == 0 ? 0 : cal__min(granules, cal__max(above, MOVE_MIN));
    }
    size_t backed = back(first, wanted);
    if (zero && backed != 0)
        memset((void *)(first << CAL_GRANULE_SHIFT), 0, backed << CAL_GRANULE_SHIFT);
    bool done = true;
    if (CAL_UNLIKELY(cal__options.prefault != 0) && backed < granules)
        done = cal__os_populate((void *)((first + backed) << CAL_GRANULE_SHIFT),
                                (granules - backed) << CAL_GRANULE_SHIFT) != -ENOMEM;
    purge(purge_excess);
    return done;
}

struct cal__page *cal__span_allocate(size_t granules, size_t alignment, enum cal__page_kind kind,
                                     bool zeroed)
{
    cal__lock_acquire(&lock);
    bool large = kind == CAL_PAGE_RUN || kind == CAL_PAGE_HUGE;
    if (CAL_UNLIKELY(cal__options.huge_pages != 0) && granules >= CAL_HUGE_GRANULES)
        alignment = cal__max(alignment, CAL_HUGE_GRANULES);
    bool above = large && in_use + granules + cal__runs_dirty.granules > limit();
    /* Zeros cost less to write than new pages, which something retained would have to go for; but not in
     * a long block, of which a program may use little. */
    enum preference preference = !zeroed                   ? prefer_dirty
                                 : granules > RUN_GRANULES ? insist_on_clean
                                 : above                   ? prefer_dirty
                                                           : prefer_clean;
    struct cal__page *page =
        allocate_locked(granules, alignment, preference,
                        kind == CAL_PAGE_SLOTS && alignment == 1 && cal__link_scatters());
    bool ready = true;
    if (page != NULL) {
        page_reset(page, kind);
        page->reach = 0;
        page->touched = large || !page->zeroed ? (uint16_t)granules : 0;
        count(page, large ? granules : page->touched);
        cal__map_set(page, cal__page_first(page), mapped_granules(page));
        bool some =
            cal__runs_dirty.granules >= PART_MIN && (above || (kind == CAL_PAGE_HUGE && !zeroed));
        ready = !large || !page->zeroed || !(some || cal__options.prefault != 0);
        page->zeroed = page->zeroed && (ready || zeroed);
    }
    cal__lock_release(&lock);
    if (CAL_LIKELY(ready) || prepare(granules, cal__page_first(page), granules, zeroed))
        return page;
    cal__span_release(page);
    return NULL;
}

void cal__span_touch(struct cal__page *page, size_t granules)
{
    cal__lock_acquire(&lock);
    count(page, granules - page->touched);
    page->touched = (uint16_t)granules;
    bool above = cal__runs_dirty.granules != 0 && excess() != 0;
    cal__lock_release(&lock);
    if (CAL_UNLIKELY(above))
        purge(purge_excess);
}

void cal__span_reach(struct cal__page *page, size_t granules)
{
    cal__lock_acquire(&lock);
    size_t known = page->reach + 1U;
    if (granules > known) {
        cal__map_set(page, cal__page_first(page) + known, granules - known);
        page->reach = (uint16_t)(granules - 1);
    }
    cal__lock_release(&lock);
}

void cal__span_release(struct cal__page *page)
{
    cal__lock_acquire(&lock);
    cal__map_clear(page, cal__page_first(page), mapped_granules(page));
    count(page, -(is_large(page) ? cal__page_granules(page) : page->touched));
    page_reset(page, CAL_PAGE_NONE);
    page->zeroed = false;
    page->expiry = cal__os_milliseconds() + cal__options.purge_delay;
    cal__runs_insert(page);
    cal__lock_release(&lock);
    cal__span_purge_expired();
}

/* What a run may grow over at once. */
#define NEIGHBOURS 8

/* Takes GRANULES granules from FIRST on out of the sets; *CLEAN_FROM is where those begin that have
 * no pages. False and no change when they are not all free. */
static bool take_range(uint64_t first, size_t granules, uint64_t *clean_from)
{
    struct cal__page *runs[NEIGHBOURS];
    unsigned runs_count = 0;
    size_t found = 0;
    while (found < granules && runs_count < NEIGHBOURS) {
        struct cal__page *run = cal__map_find(first + found);
        if (run == NULL || run->kind != CAL_PAGE_FREE || cal__page_first(run) != first + found)
            return false;
        found += cal__page_granules(run);
        runs[runs_count++] = run;
    }
    if (found < granules)
        return false;
    /* The last one first: it alone may need a descriptor for what it has too much. */
    struct cal__page *last = runs[runs_count - 1];
    runs[runs_count - 1] = cal__runs_cut(last, cal__page_granules(last) - (found - granules), 1);
    if (runs[runs_count - 1] == NULL)
        return false;
    *clean_from = first + granules;
    for (unsigned i = runs_count; i-- > 0;) {
        if (runs[i]->kind == CAL_PAGE_FREE)
            cal__runs_remove(runs[i]);
        if (runs[i]->zeroed &&
            cal__page_first(runs[i]) + cal__page_granules(runs[i]) == *clean_from)
            *clean_from = cal__page_first(runs[i]);
        cal__page_delete(runs[i]);
    }
    return true;
}

bool cal__span_extend(struct cal__page *page, size_t granules)
{
    size_t old = cal__page_granules(page);
    uint64_t end = cal__page_first(page) + granules;
    uint64_t clean_from = end;
    cal__lock_acquire(&lock);
    bool done = take_range(cal__page_first(page) + old, granules - old, &clean_from);
    if (done) {
        atomic_store_explicit(&page->granules, (uint32_t)granules, memory_order_relaxed);
        count(page, granules - old);
    }
    cal__lock_release(&lock);
    if (done && clean_from != end && !prepare(granules, clean_from, end - clean_from, false)) {
        cal__span_shrink(page, old);
        return false;
    }
    return done;
}

void cal__span_shrink(struct cal__page *page, size_t granules)
{
    cal__lock_acquire(&lock);
    struct cal__page *rest = cal__page_new();
    /* Without a descriptor for it the end simply stays part of the block. */
    if (rest != NULL) {
        size_t old = cal__page_granules(page);
        count(page, granules - old);
        atomic_store_explicit(&page->granules, (uint32_t)granules, memory_order_relaxed);
        cal__page_set_range(rest, cal__page_first(page) + granules, old - granules);
        rest->zeroed = false;
        rest->list = CAL_LIST_NONE;
        rest->expiry = cal__os_milliseconds() + cal__options.purge_delay;
        cal__runs_insert(rest);
    }
    cal__lock_release(&lock);
    cal__span_purge_expired();
}

/* A clean run to move to, with room to grow on if there is that much address space. */
static struct cal__page *take_target(size_t granules)
{
    size_t roomy = granules + granules / 4;
    struct cal__page *run = cal__runs_find(&cal__runs_clean, roomy, 1);
    if (run == NULL && (grow(roomy, 1) || grow(granules, 1)))
        run = cal__runs_find(&cal__runs_clean, granules, 1);
    return run == NULL ? NULL : cal__runs_cut(run, granules, 1);
}

static void swap_ranges(struct cal__page *page, struct cal__page *other)
{
    uint64_t first = cal__page_first(page);
    size_t granules = cal__page_granules(page);
    cal__map_clear(page, first, 1);
    cal__page_set_range(page, cal__page_first(other), cal__page_granules(other));
    cal__map_set(page, cal__page_first(page), 1);
    cal__page_set_range(other, first, granules);
}

bool cal__span_move(struct cal__page *page, size_t granules)
{
    size_t old = cal__page_granules(page);
    cal__lock_acquire(&lock);
    struct cal__page *other = take_target(granules);
    if (other != NULL)
        count(page, granules - old);
    cal__lock_release(&lock);
    if (other == NULL)
        return false;
    bool done = prepare(granules, cal__page_first(other) + old, granules - old, false);
    size_t moved = 0;
    size_t mapped = 0;
    if (done) {
        /* The map lets go of the old address before the kernel can give it to somebody else. */
        cal__lock_acquire(&lock);
        swap_ranges(page, other);
        cal__lock_release(&lock);
        moved = cal__place_move(cal__page_start(other), old, cal__page_start(page), &mapped);
        done = moved != 0;
    }
    size_t left = (old - moved) << CAL_GRANULE_SHIFT;
    if (done && left != 0)
        memcpy(cal__page_start(page) + (moved << CAL_GRANULE_SHIFT),
               cal__page_start(other) + (moved << CAL_GRANULE_SHIFT), left);
    cal__lock_acquire(&lock);
    if (!done) {
        if (cal__page_granules(page) != old)
            swap_ranges(page, other);
        count(page, old - granules);
    }
    part_done(other, moved, mapped);
    cal__lock_release(&lock);
    return done;
}

void cal__span_set_huge(struct cal__page *page)
{
    cal__lock_acquire(&lock);
    page->kind = CAL_PAGE_HUGE;
    huge_granules += cal__page_granules(page);
    cal__lock_release(&lock);
}

/* Giving back. */

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
        .segment_bytes = (segment_granules - huge_granules) << CAL_GRANULE_SHIFT,
        .dirty_bytes = cal__runs_dirty.granules << CAL_GRANULE_SHIFT,
        .clean_bytes = cal__runs_clean.granules << CAL_GRANULE_SHIFT,
        .dirty_runs = cal__runs_dirty.runs,
        .clean_runs = cal__runs_clean.runs,
    };
    cal__lock_release(&lock);
    return statistics;
}

bool cal__span_walk(bool (*visit)(struct cal__page *page, void *argument), void *argument)
{
    cal__lock_acquire(&lock);
    bool complete = cal__page_visit(visit, argument);
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
