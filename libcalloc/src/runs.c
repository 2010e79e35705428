#include "runs.h"

#include "map.h"
#include "metadata.h"

#define PAGES_PER_CHUNK 31

struct chunk {
    struct cal__link next;
    struct cal__page pages[PAGES_PER_CHUNK];
};

struct cal__run_set cal__runs_dirty;
struct cal__run_set cal__runs_clean;
static struct cal__link oldest;
static struct cal__link newest;
static struct cal__link chunks;
static struct cal__link unused_pages;

_Static_assert(sizeof(struct chunk) == 4096, "a chunk of descriptors fills a kernel page");

/* Descriptors. */

static void unused_push(struct cal__page *page)
{
    page->next = unused_pages;
    cal__link_set(&unused_pages, page);
}

struct cal__page *cal__page_new(void)
{
    if (unused_pages.word == 0) {
        struct chunk *chunk = cal__metadata_allocate(sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        chunk->next = chunks;
        cal__link_set(&chunks, chunk);
        for (size_t i = PAGES_PER_CHUNK; i-- > 0;)
            unused_push(&chunk->pages[i]);
    }
    struct cal__page *page = cal__link_get(&unused_pages);
    if (CAL_UNLIKELY(page->kind != CAL_PAGE_NONE || cal__page_first(page) != 0))
        cal__link_broken(page);
    unused_pages = page->next;
    cal__page_set_next(page, NULL);
    return page;
}

void cal__page_delete(struct cal__page *page)
{
    atomic_store_explicit(&page->granules, 0, memory_order_relaxed);
    atomic_store_explicit(&page->tag, 0, memory_order_release);
    page->kind = CAL_PAGE_NONE;
    unused_push(page);
}

void cal__page_set_range(struct cal__page *page, uint64_t first, size_t granules)
{
    /* Before the tag, which lets readers look at it. */
    atomic_store_explicit(&page->granules, (uint32_t)granules, memory_order_relaxed);
    atomic_store_explicit(&page->tag, first, memory_order_release);
}

bool cal__page_visit(bool (*visit)(struct cal__page *page, void *argument), void *argument)
{
    for (struct chunk *chunk = cal__link_get(&chunks); chunk != NULL;
         chunk = cal__link_get(&chunk->next))
        for (size_t i = 0; i < PAGES_PER_CHUNK; i++)
            if (chunk->pages[i].kind != CAL_PAGE_NONE && !visit(&chunk->pages[i], argument))
                return false;
    return true;
}

/* Free runs. */

static unsigned bin_of(size_t granules)
{
    return (unsigned)cal__min(granules, CAL_RUNS_LONG) - 1;
}

static struct cal__run_set *set_of(const struct cal__page *run)
{
    return run->zeroed ? &cal__runs_clean : &cal__runs_dirty;
}

/* The map knows a free run by its two ends. */
static void map_ends(struct cal__page *run, bool present)
{
    uint64_t first = cal__page_first(run);
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
    struct cal__page *newer = cal__link_get(older != NULL ? &older->newer : &oldest);
    cal__link_set(&run->older, older);
    cal__link_set(&run->newer, newer);
    cal__link_set(newer != NULL ? &newer->older : &newest, run);
    cal__link_set(older != NULL ? &older->newer : &oldest, run);
}

static void queue_remove(struct cal__page *run)
{
    struct cal__page *newer = cal__link_get(&run->newer);
    struct cal__page *older = cal__link_get(&run->older);
    struct cal__link *from_newer = newer != NULL ? &newer->older : &newest;
    struct cal__link *from_older = older != NULL ? &older->newer : &oldest;
    if (CAL_UNLIKELY(cal__link_get(from_newer) != run || cal__link_get(from_older) != run))
        cal__link_broken(run);
    *from_newer = run->older;
    *from_older = run->newer;
}

bool cal__runs_queued(const struct cal__page *run)
{
    return !run->zeroed && run->list != CAL_LIST_REFUSED;
}

static void run_link(struct cal__page *run, struct cal__page *older)
{
    struct cal__run_set *set = set_of(run);
    unsigned bin = bin_of(cal__page_granules(run));
    cal__page_list_push(&set->bin[bin], run);
    set->nonempty |= (uint64_t)1 << bin;
    set->granules += cal__page_granules(run);
    set->runs++;
    run->kind = CAL_PAGE_FREE;
    if (cal__runs_queued(run))
        queue_insert(run, older);
    map_ends(run, true);
}

void cal__runs_remove(struct cal__page *run)
{
    struct cal__run_set *set = set_of(run);
    unsigned bin = bin_of(cal__page_granules(run));
    cal__page_list_remove(&set->bin[bin], NULL, run);
    if (set->bin[bin].word == 0)
        set->nonempty &= ~((uint64_t)1 << bin);
    set->granules -= cal__page_granules(run);
    set->runs--;
    run->kind = CAL_PAGE_NONE;
    if (cal__runs_queued(run))
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
        age->older = cal__link_get(&part->older);
    /* A part that was refused says nothing of the others. */
    bool refused = part->list == CAL_LIST_REFUSED;
    bool larger = cal__page_granules(part) > age->granules;
    if (age->list == CAL_LIST_REFUSED ? !refused || larger : !refused && larger)
        *age =
            (struct age){cal__page_granules(part), part->expiry,
                         cal__runs_queued(part) ? cal__link_get(&part->older) : NULL, part->list};
    cal__runs_remove(part);
    cal__page_delete(part);
}

static bool joins(const struct cal__page *run, const struct cal__page *neighbour)
{
    return neighbour != NULL && neighbour->kind == CAL_PAGE_FREE &&
           neighbour->zeroed == run->zeroed;
}

void cal__runs_insert(struct cal__page *run)
{
    uint64_t first = cal__page_first(run);
    size_t granules = cal__page_granules(run);
    struct age age = {granules, run->expiry, cal__link_get(&newest), run->list};
    struct cal__page *left = cal__map_find(first - 1);
    if (joins(run, left)) {
        first = cal__page_first(left);
        granules += cal__page_granules(left);
        absorb(left, &age);
    }
    struct cal__page *right = cal__map_find(first + granules);
    if (joins(run, right)) {
        granules += cal__page_granules(right);
        absorb(right, &age);
    }
    cal__page_set_range(run, first, granules);
    run->expiry = age.expiry;
    run->list = age.list;
    run_link(run, age.older);
}

struct cal__page *cal__runs_oldest(void)
{
    return cal__link_get(&oldest);
}

/* Granules to skip at the start of RUN to reach a multiple of ALIGNMENT. */
static size_t misalignment(const struct cal__page *run, size_t alignment)
{
    return (size_t)(-cal__page_first(run) & (alignment - 1));
}

static bool run_fits(const struct cal__page *run, size_t granules, size_t alignment)
{
    return cal__page_granules(run) >= granules + misalignment(run, alignment);
}

struct cal__page *cal__runs_find(const struct cal__run_set *set, size_t granules, size_t alignment)
{
    uint64_t candidates = set->nonempty & (~(uint64_t)0 << bin_of(granules));
    for (; candidates != 0; candidates &= candidates - 1) {
        unsigned bin = (unsigned)__builtin_ctzll(candidates);
        struct cal__page *best = NULL;
        for (struct cal__page *run = cal__link_get(&set->bin[bin]); run != NULL;
             run = cal__page_next(run)) {
            if (!run_fits(run, granules, alignment))
                continue;
            if (bin != CAL_RUNS_LONG - 1)
                return run;
            if (best == NULL || cal__page_granules(run) < cal__page_granules(best))
                best = run;
        }
        if (best != NULL)
            return best;
    }
    return NULL;
}

struct cal__page *cal__runs_any(const struct cal__run_set *set, size_t granules, size_t longest)
{
    uint64_t places = 0;
    for (size_t length = granules; length <= longest; length++)
        if (set->bin[bin_of(length)].word != 0)
            places += length / granules;
    uint64_t chosen = cal__link_place(places);
    for (size_t length = granules; length <= longest; length++) {
        const struct cal__link *bin = &set->bin[bin_of(length)];
        if (bin->word != 0 && chosen < length / granules)
            return cal__link_get(bin);
        chosen -= bin->word != 0 ? length / granules : 0;
    }
    return NULL;
}

struct cal__page *cal__runs_long(const struct cal__run_set *set)
{
    return set->nonempty == 0 ? NULL
                              : cal__link_get(&set->bin[63 - __builtin_clzll(set->nonempty)]);
}

struct cal__page *cal__runs_longest(const struct cal__run_set *set)
{
    struct cal__page *best = cal__runs_long(set);
    for (struct cal__page *run = best; run != NULL; run = cal__page_next(run))
        if (cal__page_granules(run) > cal__page_granules(best))
            best = run;
    return best;
}

static void leave_rest(const struct cal__page *run, struct cal__page *rest, uint64_t first,
                       size_t granules, struct cal__page *older)
{
    rest->zeroed = run->zeroed;
    rest->expiry = run->expiry;
    rest->list = run->list;
    cal__page_set_range(rest, first, granules);
    run_link(rest, older);
}

struct cal__page *cal__runs_cut(struct cal__page *run, size_t granules, size_t alignment)
{
    return cal__runs_cut_at(run, granules, misalignment(run, alignment));
}

struct cal__page *cal__runs_cut_at(struct cal__page *run, size_t granules, size_t head)
{
    uint64_t first = cal__page_first(run);
    size_t tail = cal__page_granules(run) - head - granules;
    struct cal__page *before = NULL;
    struct cal__page *after = NULL;
    if ((head != 0 && (before = cal__page_new()) == NULL) ||
        (tail != 0 && (after = cal__page_new()) == NULL)) {
        if (before != NULL)
            cal__page_delete(before);
        return NULL;
    }
    struct cal__page *older = cal__runs_queued(run) ? cal__link_get(&run->older) : NULL;
    cal__runs_remove(run);
    cal__page_set_range(run, first + head, granules);
    if (before != NULL)
        leave_rest(run, before, first, head, older);
    if (after != NULL)
        leave_rest(run, after, first + head + granules, tail, older);
    return run;
}
