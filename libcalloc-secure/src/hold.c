#include "hold.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>

#include "guard.h"
#include "latch.h"
#include "quarantine.h"
#include "slab.h"

/* Places for the smallest blocks would be more; what is beyond them leaves earlier. There is a random one for each KiB of
 * the limit and one of the queue for each 32 bytes, as far as there are: so blocks of up to half a KiB come to the queue, and
 * places that are never used cost no memory. */
enum {
    RANDOM_PLACES = 256,
    RANDOM_PLACES_LEAST = 16,
    BYTES_PER_RANDOM_PLACE = 1024,
    QUEUE_PLACES = 4096,
    QUEUE_PLACES_LEAST = 256,
    BYTES_PER_QUEUE_PLACE = 32,
};

/* Where all are to leave, so many do at a time. */
enum { MANY = 128 };

/* When the time of a block has come so many leave: their slabs and marks are not in the cache, and several can be
 * fetched at the same time. They leave early by a part of the limit at the most. */
enum { TOGETHER = 8, EARLY_SHARE = 8 };

struct hold {
    struct cal__latch latch;        /* guards the quarantine */
    bool left_behind;               /* in the child of a fork: its thread does not exist */
    enum cal__guard before, behind; /* pages beside it */
    struct hold *next;
    struct cal__quarantine quarantine;
    uint64_t entries[RANDOM_PLACES + QUEUE_PLACES];
};

/* Guards the list of all; taken before the latch of one. */
static struct cal__latch list_latch;
static struct hold *holds;

/* NULL: nothing was freed yet. */
static __thread struct hold *own __attribute__((tls_model("initial-exec")));
static __thread bool ended __attribute__((tls_model("initial-exec")));

/* Whole pages, between two for guards. */
static size_t memory_bytes(void)
{
    size_t page = cal__hardened.page;
    return ((sizeof(struct hold) + page - 1) & ~(page - 1)) + 2 * page;
}

static struct hold *map(void)
{
    int saved = errno;
    char *memory =
        mmap(NULL, memory_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    return memory == MAP_FAILED ? NULL : (void *)(memory + cal__hardened.page);
}

static void unmap(struct hold *hold)
{
    enum cal__guard before = hold->before, behind = hold->behind;
    int saved = errno;
    munmap((char *)hold - cal__hardened.page, memory_bytes());
    errno = saved;
    cal__guard_forget(before);
    cal__guard_forget(behind);
}

static void protect(struct hold *hold)
{
    if (!cal__hardened.settings.metadata)
        return;
    size_t page = cal__hardened.page;
    char *start = (char *)hold - page;
    hold->before = cal__guard_install(start, page);
    hold->behind = cal__guard_install(start + memory_bytes() - page, page);
    hold->quarantine.secret = cal__random_64(cal__hardened_random());
}

/* A power of two between the two. */
static uint32_t places(size_t limit, size_t bytes_per_place, uint32_t least, uint32_t most)
{
    uint32_t count = most;
    while (count > least && count * bytes_per_place > limit)
        count /= 2;
    return count;
}

/* Without memory for it the thread has none; the next block tries again. */
static CAL_COLD struct hold *begin(void)
{
    struct hold *hold = map();
    if (hold == NULL)
        return NULL;
    size_t limit = cal__hardened.settings.quarantine;
    uint32_t random = places(limit, BYTES_PER_RANDOM_PLACE, RANDOM_PLACES_LEAST, RANDOM_PLACES);
    uint32_t queue = places(limit, BYTES_PER_QUEUE_PLACE, QUEUE_PLACES_LEAST, QUEUE_PLACES);
    if (!cal__quarantine_initialize(&hold->quarantine, hold->entries, random, queue, limit)) {
        unmap(hold);
        return NULL;
    }
    protect(hold);
    cal__latch_acquire(&list_latch);
    hold->next = holds;
    holds = hold;
    cal__latch_release(&list_latch);
    own = hold;
    return hold;
}

static void acquire(struct hold *hold, bool alone)
{
    if (!alone)
        cal__latch_acquire(&hold->latch);
}

static void release(struct hold *hold, bool alone)
{
    if (!alone)
        cal__latch_release(&hold->latch);
}

static void leave(const struct cal__quarantined *blocks, size_t count)
{
    struct cal_slab *slabs[TOGETHER];
    uint32_t slots[TOGETHER];
    for (size_t done = 0; done < count; done += TOGETHER) {
        size_t some = count - done < TOGETHER ? count - done : TOGETHER;
        for (size_t i = 0; i < some; i++)
            slabs[i] = cal_slot_find(blocks[done + i].block, &slots[i]);
        for (size_t i = 0; i < some; i++)
            cal__slab_leave(slabs[i], slots[i], blocks[done + i].block, blocks[done + i].size);
    }
}

static bool may_leave(const struct cal__quarantine *quarantine)
{
    if (quarantine->queued == 0)
        return false;
    size_t left = quarantine->bytes - cal__quarantine_first_size(quarantine);
    return left >= quarantine->limit - quarantine->limit / EARLY_SHARE ||
           quarantine->queued > quarantine->queue - TOGETHER;
}

static size_t pop(struct hold *hold, struct cal__random *random, struct cal__quarantined *out)
{
    struct cal__quarantine *quarantine = &hold->quarantine;
    size_t count = 0;
    while (count < TOGETHER &&
           (cal__quarantine_pop(quarantine, random, &out[count]) ||
            (may_leave(quarantine) && cal__quarantine_pop_queue(quarantine, &out[count]))))
        count++;
    return count;
}

/* Those whose time has come, of which after a large block there may be many, and a few of the next. */
static CAL_NOINLINE void let_leave(struct hold *hold, struct cal__random *random, bool alone)
{
    for (bool more = true; more;) {
        /* With a value, as gcc's analyzer does not follow the loop that fills it. */
        struct cal__quarantined out[TOGETHER] = {{.block = NULL}};
        acquire(hold, alone);
        size_t count = pop(hold, random, out);
        more = cal__quarantine_is_due(&hold->quarantine);
        release(hold, alone);
        leave(out, count);
    }
}

bool cal__hold_block_long(void *block, size_t size)
{
    struct hold *hold = own;
    if (CAL_UNLIKELY(hold == NULL) && (ended || (hold = begin()) == NULL))
        return false;
    struct cal__random *random = cal__hardened_random();
    /* Nobody else comes into being meanwhile. */
    bool alone = __libc_single_threaded;
    acquire(hold, alone);
    bool taken = cal__quarantine_push(&hold->quarantine, random, block, size);
    bool due = taken && cal__quarantine_is_due(&hold->quarantine);
    release(hold, alone);
    if (CAL_UNLIKELY(due))
        let_leave(hold, random, alone);
    return taken;
}

/* Draining. */

static size_t length_of(const struct hold *hold)
{
    return (size_t)hold->quarantine.waiting + hold->quarantine.queued;
}

static size_t drain(struct hold *hold, struct cal__quarantined *out)
{
    size_t count = 0;
    while (count < MANY && cal__quarantine_drain(&hold->quarantine, &out[count]))
        count++;
    return count;
}

static void unlink_locked(const struct hold *hold)
{
    struct hold **place = &holds;
    while (*place != hold)
        place = &(*place)->next;
    *place = hold->next;
}

static size_t length_of_all(void)
{
    size_t length = 0;
    cal__latch_acquire(&list_latch);
    for (struct hold *hold = holds; hold != NULL; hold = hold->next) {
        cal__latch_acquire(&hold->latch);
        length += length_of(hold);
        cal__latch_release(&hold->latch);
    }
    cal__latch_release(&list_latch);
    return length;
}

/* Of the first that has any. One that was left behind has no further use. */
static size_t take_some(struct cal__quarantined *out)
{
    size_t count = 0;
    struct hold *useless = NULL;
    cal__latch_acquire(&list_latch);
    for (struct hold *hold = holds; hold != NULL && count == 0; hold = hold->next) {
        cal__latch_acquire(&hold->latch);
        count = drain(hold, out);
        if (hold->left_behind && length_of(hold) == 0)
            useless = hold;
        cal__latch_release(&hold->latch);
    }
    if (useless != NULL)
        unlink_locked(useless);
    cal__latch_release(&list_latch);
    if (useless != NULL)
        unmap(useless);
    return count;
}

bool cal__hold_drain(void)
{
    struct cal__quarantined out[MANY];
    /* Not what others put there meanwhile: they may go on for ever. */
    size_t left = length_of_all();
    bool any = left != 0;
    for (size_t count; left != 0 && (count = take_some(out)) != 0;) {
        leave(out, count);
        left -= count < left ? count : left;
    }
    return any;
}

void cal__hold_end(void)
{
    struct hold *hold = own;
    ended = true;
    own = NULL;
    if (hold == NULL)
        return;
    cal__latch_acquire(&list_latch);
    unlink_locked(hold);
    cal__latch_release(&list_latch);
    struct cal__quarantined out[MANY];
    for (size_t count; (count = drain(hold, out)) != 0;)
        leave(out, count);
    unmap(hold);
}

size_t cal__hold_bytes(void)
{
    struct hold *hold = own;
    if (hold == NULL)
        return 0;
    cal__latch_acquire(&hold->latch);
    size_t bytes = hold->quarantine.bytes;
    cal__latch_release(&hold->latch);
    return bytes;
}

/* Fork. */

void cal__hold_lock(void)
{
    cal__latch_acquire(&list_latch);
    for (struct hold *hold = holds; hold != NULL; hold = hold->next)
        cal__latch_acquire(&hold->latch);
}

void cal__hold_unlock(bool in_child)
{
    for (struct hold *hold = holds; hold != NULL; hold = hold->next) {
        if (!in_child) {
            cal__latch_release(&hold->latch);
            continue;
        }
        cal__latch_reset(&hold->latch);
        hold->left_behind |= hold != own;
    }
    if (in_child)
        cal__latch_reset(&list_latch);
    else
        cal__latch_release(&list_latch);
}
