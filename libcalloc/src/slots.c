#include "slots.h"

#include <errno.h>
#include <string.h>

#include "annotate.h"
#include "large.h"
#include "map.h"
#include "message.h"
#include "metadata.h"
#include "os.h"
#include "span.h"

/* Records wait for their next use on a shelf of their class; those of large blocks have one too. */
#define SHELVES (CAL_SLOTS_LARGE_SHELF + 1)

#define played cal__slots_played

/* Of one in so many choices off the short way the record is looked at. */
#define LOOK_SHARE 4

/* Guards the shelves, and the pages that could not be given back. */
static struct cal__lock lock;
static struct cal__link unused[SHELVES];

/* Pages that are in nobody's hands, but of which the kernel refused to make a part accessible again: a queue
 * through `next`. They keep their records. */
static struct cal__link faulting_first, faulting_last;
static _Atomic size_t faulting_pages;

const struct cal_slots *cal__slots_role(void)
{
    return atomic_load_explicit(&cal__sealed.playing, memory_order_acquire) ? &played : NULL;
}

size_t cal__slots_extra_of(const struct cal_slots *role)
{
    bool says =
        role != NULL && role->size >= offsetof(struct cal_slots, extra) + sizeof role->extra;
    return says ? role->extra : 0;
}

void cal__slots_play(const struct cal_slots *role, bool early)
{
    cal__link_start(role, early);
    cal__map_guard();
}

/* Records. */

static size_t words_of(uint32_t slots)
{
    return (slots + 63U) / 64;
}

static struct cal__slots *take_from_shelf(unsigned shelf)
{
    cal__lock_acquire(&lock);
    struct cal__slots *slots = cal__link_get(&unused[shelf]);
    if (slots != NULL) {
        if (CAL_UNLIKELY(slots->shelf != shelf || slots->sum != (uintptr_t)slots))
            cal__link_broken(slots);
        unused[shelf] = slots->next_unused;
    }
    cal__lock_release(&lock);
    return slots;
}

/* What a record says of itself and must not change while it is in use. The pointers in it are what the role reads,
 * and cannot be encoded. */
static uint64_t sum_of(const struct cal__slots *slots)
{
    const struct cal_slab *slab = &slots->slab;
    uint64_t sum = (uintptr_t)slots;
    sum = cal__link_sum(sum, (uintptr_t)slab->first);
    sum = cal__link_sum(sum, slab->block_size);
    sum = cal__link_sum(sum, slab->room);
    sum = cal__link_sum(sum, (uintptr_t)slab->marks);
    sum = cal__link_sum(sum, (uintptr_t)slab->state);
    sum = cal__link_sum(sum, (uintptr_t)slab->free_slots);
    sum = cal__link_sum(sum, (uintptr_t)slots->resting);
    sum = cal__link_sum(sum, (uintptr_t)slab->address);
    sum = cal__link_sum(sum, slab->length);
    sum = cal__link_sum(sum, slots->factor);
    sum = cal__link_sum(sum, (uint64_t)slab->slots << 32 | slots->few);
    return cal__link_sum(sum, slots->shelf);
}

void cal__slots_check(const struct cal__page *page)
{
    const struct cal__slots *slots = cal__page_slots(page);
    if (CAL_UNLIKELY(slots == NULL || cal__slots_page(slots) != page ||
                     slots->sum != sum_of(slots)))
        cal__link_broken(page);
}

void cal__slots_seal(struct cal__slots *slots)
{
    slots->sum = sum_of(slots);
}

void cal__slots_publish(struct cal__page *page, struct cal__slots *slots)
{
    cal__slots_seal(slots);
    cal__link_store(&page->slots, slots, memory_order_release);
}

static size_t state_bytes(uint32_t slots)
{
    return played.state_bytes == NULL ? 0 : played.state_bytes(slots);
}

static void set_mark(struct cal__slots *slots, uint32_t slot, uint32_t mark)
{
    __atomic_store_n(&slots->slab.marks[slot], mark, __ATOMIC_RELAXED);
}

static bool is_free(const struct cal__slots *slots, uint32_t slot)
{
    return (slots->slab.free_slots[slot / 64] >> slot % 64) & 1;
}

/* SLOT may be any number. */
static bool can_be_taken(const struct cal__slots *slots, uint32_t slot)
{
    return slot < slots->slab.slots && is_free(slots, slot);
}

/* Records wait as they come from the system, zeros but for their heads. Those of slabs that were hardly used, of
 * which little was touched, so cost little to make and to use again. */
void cal__slots_record_delete(struct cal__slots *slots)
{
    const struct cal_slab *slab = &slots->slab;
    uint32_t used = slots->withholds ? slab->slots : slots->reach;
    memset(slab->marks, 0, used * sizeof *slab->marks);
    memset(slab->free_slots, 0, words_of(slab->slots) * sizeof *slab->free_slots);
    memset(slots->resting, 0, words_of(slab->slots) * sizeof *slots->resting);
    memset(slab->state, 0, state_bytes(slab->slots));
    slots->sum = (uintptr_t)slots;
    cal__lock_acquire(&lock);
    slots->next_unused = unused[slots->shelf];
    cal__link_set(&unused[slots->shelf], slots);
    cal__lock_release(&lock);
}

/* Bits for so many slots. */
static void set_all(uint64_t *bits, uint32_t slots)
{
    memset(bits, 0xff, slots / 64 * sizeof *bits);
    if (slots % 64 != 0)
        bits[slots / 64] = ((uint64_t)1 << slots % 64) - 1;
}

/* A record for COUNT slots, all free; NULL without memory. */
struct cal__slots *cal__slots_record_new(struct cal__page *page, unsigned shelf, uint32_t count)
{
    size_t head = cal__round_up(sizeof(struct cal__slots), CAL_ALIGNMENT);
    size_t bits = words_of(count) * sizeof(uint64_t);
    size_t marks = cal__round_up(count * sizeof(uint32_t), CAL_ALIGNMENT);
    size_t state = state_bytes(count);
    if (state > CAL_REQUEST_MAX)
        return NULL;
    state = cal__round_up(state, CAL_ALIGNMENT);
    struct cal__slots *slots = take_from_shelf(shelf);
    if (slots == NULL)
        slots = cal__metadata_allocate(head + state + 2 * bits + marks);
    if (slots == NULL)
        return NULL;
    char *start = (char *)slots;
    *slots = (struct cal__slots){
        .slab = {.size = sizeof slots->slab,
                 .address = cal__page_start(page),
                 .length = cal__page_bytes(page),
                 .first = cal__page_start(page),
                 .slots = count,
                 .fresh = page->zeroed,
                 .state = start + head,
                 .free_slots = (uint64_t *)(void *)(start + head + state),
                 .marks = (uint32_t *)(void *)(start + head + state + 2 * bits)},
        .resting = (uint64_t *)(void *)(start + head + state + bits),
        .next = CAL_SLOT_ANY,
        .page = {cal__link_encoded(page)},
        .shelf = shelf,
    };
    set_all(slots->slab.free_slots, count);
    return slots;
}

size_t cal__slots_room(size_t block_size)
{
    return cal__annotating == CAL_ANNOTATE_NONE ? block_size : block_size - CAL_ANNOTATE_REDZONE;
}

/* Lets the role see the slab first; false without memory, and then the page is released. *USABLE: the slots it may
 * be used for. */
bool cal__slots_record_open(struct cal__slots *slots, uint32_t *usable)
{
    struct cal__page *page = cal__slots_page(slots);
    *usable = slots->slab.slots;
    if (played.open == NULL)
        return true;
    if (!played.open(&slots->slab)) {
        cal__slots_record_delete(slots);
        cal__span_release(page);
        return false;
    }
    for (size_t word = 0; word < words_of(slots->slab.slots); word++) {
        uint32_t first = (uint32_t)(64 * word);
        uint32_t count = (uint32_t)cal__min(slots->slab.slots - first, 64);
        uint64_t withheld = ~slots->slab.free_slots[word];
        withheld &= count == 64 ? UINT64_MAX : ((uint64_t)1 << count) - 1;
        for (; withheld != 0; withheld &= withheld - 1) {
            set_mark(slots, first + (uint32_t)__builtin_ctzll(withheld), CAL_MARK_WITHHELD);
            slots->withholds = true;
            --*usable;
        }
    }
    if (*usable != 0)
        return true;
    cal__slots_publish(page, slots);
    cal__slots_release(page);
    return false;
}

/* So many are let in at a time at the least, for a choice among them; fewer of large ones, of which each
 * costs pages of its own. */
static uint32_t least_choice(const struct cal__slots *slots)
{
    size_t size = slots->slab.block_size;
    return size <= 256 ? 16 : size <= 1024 ? 8 : size <= 16384 ? 4 : 2;
}

/* The next slots of the slab are at hand, one more at least if there is one that the role does not withhold:
 * a kernel page of them, and enough for a choice. */
static void extend(struct cal__slots *slots)
{
    uint32_t step = (uint32_t)cal__max(CAL_OS_PAGE / slots->slab.block_size, least_choice(slots));
    uint32_t first = slots->at_hand;
    while (slots->at_hand == first && slots->reach < slots->slab.slots) {
        uint32_t end = (uint32_t)cal__min(slots->reach + step, slots->slab.slots);
        for (uint32_t slot = slots->reach; slot < end; slot++) {
            if (cal_slot_mark(&slots->slab, slot) == CAL_MARK_WITHHELD)
                continue;
            slots->slab.free_slots[slot / 64] |= (uint64_t)1 << slot % 64;
            slots->at_hand++;
        }
        slots->reach = end;
    }
    /* They count as cut. */
    struct cal__page *page = cal__slots_page(slots);
    atomic_store_explicit(&page->carved,
                          (uint16_t)(cal__page_carved(page) + slots->at_hand - first),
                          memory_order_relaxed);
}

/* What rests is at hand, all but what was freed last. */
static void end_rest(struct cal__slots *slots)
{
    uint64_t last = (uint64_t)1 << slots->last_freed % 64;
    bool held = slots->rest > 1 && (slots->resting[slots->last_freed / 64] & last) != 0;
    for (size_t i = 0; i < words_of(slots->slab.slots); i++) {
        slots->slab.free_slots[i] |= slots->resting[i];
        slots->resting[i] = 0;
    }
    slots->at_hand += slots->rest - held;
    slots->rest = held;
    if (held) {
        slots->slab.free_slots[slots->last_freed / 64] &= ~last;
        slots->resting[slots->last_freed / 64] = last;
    }
}

/* What rests has had its time when it is a part of what is there. */
static bool has_rested(const struct cal__slots *slots)
{
    return slots->rest >= cal__max(least_choice(slots), slots->reach / 4);
}

/* Little is at hand, but not all is used. What rests comes when it has had its time, or nothing else is left. */
static void replenish(struct cal__slots *slots)
{
    if (has_rested(slots))
        end_rest(slots);
    else
        extend(slots);
    if (slots->at_hand == 0)
        end_rest(slots);
    slots->first_word = 0;
}

bool cal__slots_open(struct cal__page *page)
{
    struct cal__slots *slots = cal__slots_record_new(page, page->size_class, page->capacity);
    if (slots == NULL) {
        cal__span_release(page);
        return false;
    }
    slots->slab.block_size = page->block_size;
    slots->slab.room = cal__slots_room(page->block_size);
    uint32_t usable;
    if (!cal__slots_record_open(slots, &usable))
        return false;
    memset(slots->slab.free_slots, 0, words_of(page->capacity) * sizeof(uint64_t));
    slots->factor = page->factor;
    slots->few = least_choice(slots) / 2 - 1;
    page->capacity = (uint16_t)usable;
    page->size = 1;
    /* Any of it may be used next. */
    if (cal__page_granules(page) > page->touched)
        cal__span_touch(page, cal__page_granules(page));
    cal__slots_publish(page, slots);
    return true;
}

/* False: the role says that it faults still. */
static bool close_and_release(struct cal__page *page)
{
    struct cal__slots *slots = cal__page_slots(page);
    cal__slots_check(page);
    slots->slab.faulting = false;
    if (played.close != NULL)
        played.close(&slots->slab);
    if (CAL_UNLIKELY(slots->slab.faulting))
        return false;
    /* A walk, which has this lock all the time, must not find a record that has another use meanwhile. */
    cal__span_lock();
    cal__link_store(&page->slots, NULL, memory_order_relaxed);
    cal__span_unlock(false);
    cal__slots_record_delete(slots);
    cal__span_release(page);
    return true;
}

static CAL_COLD void queue_faulting(struct cal__page *page)
{
    cal__link_set(&page->next, NULL);
    cal__lock_acquire(&lock);
    struct cal__page *last = cal__link_get(&faulting_last);
    cal__link_set(cal__link_get(&faulting_first) == NULL ? &faulting_first : &last->next, page);
    cal__link_set(&faulting_last, page);
    atomic_fetch_add_explicit(&faulting_pages, 1, memory_order_relaxed);
    cal__lock_release(&lock);
}

/* Asks for COUNT pages, those first that have waited longest. */
static CAL_COLD void retry(size_t count)
{
    for (; count != 0; count--) {
        cal__lock_acquire(&lock);
        struct cal__page *page = cal__link_get(&faulting_first);
        if (page != NULL) {
            faulting_first = page->next;
            cal__link_set(&page->next, NULL);
            atomic_fetch_sub_explicit(&faulting_pages, 1, memory_order_relaxed);
        }
        cal__lock_release(&lock);
        if (page == NULL || close_and_release(page))
            continue;
        queue_faulting(page);
    }
}

void cal__slots_retry(void)
{
    retry(atomic_load_explicit(&faulting_pages, memory_order_relaxed));
}

void cal__slots_release(struct cal__page *page)
{
    if (CAL_UNLIKELY(!close_and_release(page))) {
        /* Nobody needs what is in it any more. */
        cal__os_purge(cal__page_start(page), cal__page_bytes(page));
        queue_faulting(page);
    } else if (CAL_UNLIKELY(atomic_load_explicit(&faulting_pages, memory_order_relaxed) != 0)) {
        /* Two, so that the queue gets shorter. */
        retry(2);
    }
}

/* Slots. */

static uint32_t first_free(struct cal__slots *slots)
{
    while (slots->first_word < words_of(slots->slab.slots) &&
           slots->slab.free_slots[slots->first_word] == 0)
        slots->first_word++;
    if (CAL_UNLIKELY(slots->first_word >= words_of(slots->slab.slots)))
        cal__link_broken(slots);
    return slots->first_word * 64 +
           (uint32_t)__builtin_ctzll(slots->slab.free_slots[slots->first_word]);
}

/* There is a free slot in some word, none beyond the reach. */
static CAL_NOINLINE void choose_word(struct cal__slots *slots)
{
    uint32_t words = (uint32_t)words_of(slots->reach);
    uint32_t word = (uint32_t)(played.random() >> 32) % words;
    for (uint32_t looked_at = 0; slots->slab.free_slots[word] == 0; looked_at++) {
        if (CAL_UNLIKELY(looked_at == words))
            cal__link_broken(slots);
        word = word + 1 == words ? 0 : word + 1;
    }
    slots->word = word;
}

static void withdraw(struct cal__slots *slots, struct cal__page *page, uint32_t slot)
{
    slots->slab.free_slots[slot / 64] &= ~((uint64_t)1 << slot % 64);
    slots->at_hand--;
    page->countdown++;
}

static uint32_t take_first(struct cal__slots *slots, struct cal__page *page)
{
    uint32_t slot = first_free(slots);
    withdraw(slots, page, slot);
    return slot;
}

/* False when all slots are used. The last one at hand would be no choice, so there are to be some more. */
static bool have_at_hand(struct cal__page *page, struct cal__slots *slots)
{
    if (CAL_LIKELY(slots->at_hand > slots->few))
        return true;
    /* What others have freed comes before memory that was never used. */
    cal__remote_collect(page, 0);
    if (cal__page_used(page) == page->capacity)
        return false;
    replenish(slots);
    return true;
}

/* Returns where the first is. Whoever forks meanwhile, in the handler of a signal, has a child that says there are none:
 * it draws all of them anew, as what was drawn before is the parent's. */
static uint32_t fill_choices(struct cal__heap *heap)
{
    uint32_t filling;
    do {
        filling = UINT32_MAX;
        __atomic_store_n(&heap->choices_left, filling, __ATOMIC_RELAXED);
        for (size_t i = 0; i < CAL_HEAP_CHOICES; i += sizeof(uint64_t)) {
            uint64_t random = played.random();
            memcpy(heap->choices + i, &random, sizeof random);
        }
    } while (!__atomic_compare_exchange_n(&heap->choices_left, &filling, CAL_HEAP_CHOICES, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return CAL_HEAP_CHOICES - 1;
}

/* There is a slot at hand. */
static void choose_next(struct cal__slots *slots, struct cal__page *page, struct cal__heap *heap)
{
    if (CAL_UNLIKELY(slots->word >= words_of(slots->slab.slots)))
        cal__link_broken(slots);
    if (slots->slab.free_slots[slots->word] == 0)
        choose_word(slots);
    uint32_t choice = cal__slots_choice(heap);
    if (choice >= CAL_HEAP_CHOICES)
        choice = fill_choices(heap);
    /* Now and then all of the record is looked at. Nobody can foresee when. */
    if (heap->choices[choice] % LOOK_SHARE == 0)
        cal__slots_check(page);
    cal__slots_choose_next(slots, heap, slots->slab.free_slots[slots->word], choice);
}

/* There is a slot at hand. The next is chosen too, so that the short way finds it; but for it no more is cut than there
 * was: what the program, and others, free until then comes first. */
static uint32_t take_random(struct cal__slots *slots, struct cal__page *page,
                            struct cal__heap *heap)
{
    if (slots->next == CAL_SLOT_ANY)
        choose_next(slots, page, heap);
    uint32_t slot = slots->next;
    if (CAL_UNLIKELY(!can_be_taken(slots, slot)))
        cal__link_broken(slots);
    withdraw(slots, page, slot);
    slots->next = CAL_SLOT_ANY;
    if (slots->at_hand <= slots->few && has_rested(slots))
        replenish(slots);
    if (slots->at_hand > slots->few)
        choose_next(slots, page, heap);
    return slot;
}

/* There is a slot at hand; CAL_SLOT_ANY if the role has held the last one. */
static uint32_t take_chosen(struct cal__slots *slots, struct cal__page *page,
                            struct cal__heap *heap)
{
    if (CAL_LIKELY(played.choose == NULL))
        return played.random == NULL ? take_first(slots, page) : take_random(slots, page, heap);
    uint32_t slot = played.choose(&slots->slab);
    if (!can_be_taken(slots, slot))
        return CAL_SLOT_ANY;
    withdraw(slots, page, slot);
    return slot;
}

void *cal__slots_take(struct cal__heap *heap, struct cal__page *page, uint32_t *slot)
{
    uint64_t address = cal__slots_address(page);
    if (CAL_UNLIKELY(address > CAL_SLOTS_LAST))
        cal__link_broken(page);
    struct cal__slots *slots = (struct cal__slots *)address;
    /* What the heap says is its page is another one, or a copy. */
    if (CAL_UNLIKELY(page->list != CAL_LIST_CURRENT || cal__page_heap(page) != heap ||
                     slots->page.word * CAL_PLAIN_LOAD(cal__sealed.decode) != (uintptr_t)page))
        cal__link_broken(page);
    if (slots->next == CAL_SLOT_ANY && !have_at_hand(page, slots))
        return NULL;
    *slot = take_chosen(slots, page, heap);
    if (CAL_UNLIKELY(*slot == CAL_SLOT_ANY)) {
        /* The role may have held what was left. */
        if (!have_at_hand(page, slots))
            return NULL;
        *slot = take_first(slots, page);
    }
    heap->taken[page->size_class]++;
    return cal__slots_block(slots, *slot);
}

static bool is_resting(const struct cal__slots *slots, uint32_t slot)
{
    return (slots->resting[slot / 64] >> slot % 64) & 1;
}

void cal__slots_put_remote(struct cal__slots *slots, uint32_t slot)
{
    if (CAL_UNLIKELY(is_free(slots, slot) || is_resting(slots, slot)))
        cal__fatal("double free", cal__slots_block(slots, slot));
    cal__slots_put(slots, slot);
}

void *cal__slots_next(const struct cal__page *page, const void *block)
{
    const struct cal__slots *slots = cal__page_slots(page);
    uint32_t slot = cal__slots_index(slots, block);
    if (CAL_UNLIKELY(slot == CAL_SLOT_ANY))
        cal__link_broken(page);
    uint32_t mark = cal_slot_mark(&slots->slab, slot);
    if (CAL_UNLIKELY(mark < CAL_SLOT_LAST || mark >= CAL_MARK_KEPT ||
                     (mark >= CAL_SLOT_LINK && mark - CAL_SLOT_LINK >= slots->slab.slots)))
        cal__fatal("double free", block);
    return mark == CAL_SLOT_LAST ? NULL : cal__slots_block(slots, mark - CAL_SLOT_LINK);
}

void cal__slots_set_next(struct cal__page *page, void *block, const void *next)
{
    struct cal__slots *slots = cal__page_slots(page);
    uint32_t following = next == NULL ? 0 : cal__slots_index(slots, next);
    if (CAL_UNLIKELY(following == CAL_SLOT_ANY))
        cal__link_broken(page);
    uint32_t mark = next == NULL ? CAL_SLOT_LAST : CAL_SLOT_LINK + following;
    /* Whoever sees it sees the zeros that an add-on wrote before, too. */
    cal_slot_set_mark(&slots->slab, cal__slots_index(slots, block), mark);
}

/* Giving back. */

void cal__slots_give(struct cal__slots *slots, uint32_t slot)
{
    struct cal__page *page = cal__slots_page(slots);
    if (CAL_UNLIKELY(page->kind != CAL_PAGE_SLOTS)) {
        cal__slots_large_give(page);
    } else if (CAL_UNLIKELY(cal__page_heap(page) != cal__thread_heap)) {
        cal__remote_push_slot(page, cal__slots_block(slots, slot));
    } else {
        cal__slots_put_own(slots, page, slot);
    }
}

uint32_t cal__slots_rebuild(struct cal__page *page)
{
    cal__slots_check(page);
    struct cal__slots *slots = cal__page_slots(page);
    uint32_t used = 0, carved = 0;
    size_t bytes = words_of(slots->slab.slots) * sizeof(uint64_t);
    slots->first_word = slots->at_hand = slots->rest = 0;
    slots->next = CAL_SLOT_ANY;
    memset(slots->slab.free_slots, 0, bytes);
    memset(slots->resting, 0, bytes);
    for (uint32_t slot = 0; slot < slots->reach; slot++) {
        uint32_t mark = cal_slot_mark(&slots->slab, slot);
        if (mark == CAL_MARK_WITHHELD)
            continue;
        carved++;
        if (mark >= CAL_MARK_KEPT) {
            used++;
            continue;
        }
        if (mark != CAL_MARK_NEVER)
            set_mark(slots, slot, CAL_SLOT_FREED);
        slots->slab.free_slots[slot / 64] |= (uint64_t)1 << slot % 64;
        slots->at_hand++;
    }
    atomic_store_explicit(&page->carved, (uint16_t)carved, memory_order_relaxed);
    return used;
}

uint32_t cal__slots_live(const struct cal__slots *slots)
{
    uint32_t live = 0;
    for (uint32_t slot = 0; slot < slots->slab.slots; slot++)
        live += cal_slot_mark(&slots->slab, slot) >> 31;
    return live;
}

void cal__slots_lock(void)
{
    cal__lock_acquire(&lock);
}

void cal__slots_unlock(bool in_child)
{
    cal__lock_release_after_fork(&lock, in_child);
}

/* What the add-on asks. */

/* The map knows a large block up to its start only: the next below that is in the map. Of a live block
 * nothing lies in between. */
static CAL_NOINLINE struct cal__page *page_below(uint64_t granule)
{
    size_t most = cal__slots_longest();
    struct cal__page *page = NULL;
    for (size_t i = 1; page == NULL && i < most && i < granule; i++)
        page = cal__map_find(granule - i);
    return page;
}

/* The slot that ADDRESS lies in, whatever it is; NULL for none. */
static struct cal__slots *slot_around(const void *address, uint32_t *slot)
{
    uint64_t granule = cal__granule_of(address);
    struct cal__page *page = cal__map_find(granule);
    if (CAL_UNLIKELY(page == NULL))
        page = page_below(granule);
    struct cal__slots *slots = page == NULL ? NULL : cal__slots_of(page);
    if (slots == NULL || (const char *)address < (const char *)slots->slab.first)
        return NULL;
    size_t number =
        (size_t)((const char *)address - (const char *)slots->slab.first) / slots->slab.block_size;
    *slot = (uint32_t)number;
    return number < slots->slab.slots ? slots : NULL;
}

/* The same for the start of a block in a slab of many, which is what is asked for most: without a division, and
 * what the map has at first is enough. */
CAL_INLINE struct cal__slots *slot_at(const void *block, uint32_t *slot)
{
    const struct cal__page *page = cal__map_candidate(block);
    struct cal__slots *slots = page->kind == CAL_PAGE_SLOTS ? cal__page_slots(page) : NULL;
    *slot = slots == NULL ? CAL_SLOT_ANY : cal__slots_index(slots, block);
    return CAL_LIKELY(*slot != CAL_SLOT_ANY) ? slots : NULL;
}

/* The record that a block which is live or kept belongs to, and its slot. */
CAL_INLINE struct cal__slots *find(const void *block, uint32_t *slot)
{
    struct cal__slots *slots = slot_at(block, slot);
    if (slots == NULL && (slots = slot_around(block, slot)) == NULL)
        return NULL;
    return cal_slot_mark(&slots->slab, *slot) >= CAL_MARK_KEPT ? slots : NULL;
}

CAL_EXPORT struct cal_slab *cal_slot_find(const void *address, uint32_t *slot)
{
    uint32_t any;
    struct cal__slots *slots = find(address, slot != NULL ? slot : &any);
    return slots == NULL ? NULL : &slots->slab;
}

CAL_EXPORT int cal_slot_release(void *block)
{
    uint32_t slot;
    struct cal__slots *slots = find(block, &slot);
    uint32_t mark;
    if (slots == NULL || cal__slots_block(slots, slot) != block ||
        !cal__mark_is_kept(mark = cal_slot_mark(&slots->slab, slot)) ||
        !__atomic_compare_exchange_n(&slots->slab.marks[slot], &mark, CAL_SLOT_FREED, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return -EINVAL;
    cal__annotate_begin();
    cal__slots_give(slots, slot);
    cal__annotate_end();
    return 0;
}

CAL_EXPORT int cal_slot_hold(struct cal_slab *slab, uint32_t slot)
{
    struct cal__slots *slots = (struct cal__slots *)slab;
    if (slot >= slab->slots || !is_free(slots, slot))
        return -EINVAL;
    set_mark(slots, slot, CAL_MARK_KEPT);
    withdraw(slots, cal__slots_page(slots), slot);
    return 0;
}
