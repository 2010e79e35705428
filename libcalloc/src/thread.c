#include "thread.h"

#include <pthread.h>
#include <string.h>
#include <sys/single_threaded.h>

#include "annotate.h"
#include "gather.h"
#include "hooks.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "place.h"
#include "slots.h"
#include "span.h"

static struct cal__lock registry_lock;
static struct cal__link heaps;
static struct cal__link unused_heaps;
static uint64_t keys_used;
/* Serves threads that allocate after their heap was handed over. It is always in direct mode, so no
 * page names an owner, and all frees of its blocks are remote frees. */
struct cal__heap cal__heap_late;
static struct cal__lock late_lock;

static struct cal__lock start_lock;
static _Atomic bool started;
static pthread_key_t end_key;
static bool have_end_key;

/* The main thread's heap needs no mapping. */
static struct cal__heap first_heap;

static __thread bool thread_ended __attribute__((tls_model("initial-exec")));
/* Where the thread that forks is the only one, no lock is taken for it: nobody else can hold one, and each lies in
 * another page that parent and child would have to copy. Should the thread hold one itself, in a handler of a signal
 * that came amid an allocation, both go on with that. */
static __thread bool forks_alone __attribute__((tls_model("initial-exec")));

static void thread_end(void *argument);
static void before_fork(void);
static void after_fork_in_parent(void);
static void after_fork_in_child(void);

/* Before the first allocation of the process. Nothing here may allocate. */
static CAL_COLD void start(void)
{
    cal__lock_acquire(&start_lock);
    if (!atomic_load_explicit(&started, memory_order_relaxed)) {
        cal__options_initialize();
        /* Before the add-ons, which have less of a say where a tool has one. */
        bool annotating = cal__annotate_start();
        cal__hooks_start();
        if (annotating)
            cal__thread_set_direct(true, false);
        have_end_key = pthread_key_create(&end_key, thread_end) == 0;
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
        atomic_store_explicit(&started, true, memory_order_release);
    }
    cal__lock_release(&start_lock);
}

#define FOR_EACH_HEAP(heap)                                                 \
    for (struct cal__heap *heap = cal__thread_first_heap(); (heap) != NULL; \
         (heap) = cal__link_get(&(heap)->next))

static void heap_link(struct cal__heap *heap)
{
    cal__link_set(&heap->self, heap);
    heap->next = heaps;
    cal__link_set(&heaps, heap);
}

/* A heap that nobody uses, an old one if there is one. */
static struct cal__heap *heap_find(void)
{
    struct cal__heap *heap = cal__link_get(&unused_heaps);
    if (heap != NULL) {
        if (CAL_UNLIKELY(heap->in_use || cal__link_get(&heap->self) != heap))
            cal__link_broken(heap);
        unused_heaps = heap->next_unused;
        return heap;
    }
    /* That is beside other data, without guard pages. */
    heap = first_heap.in_use || cal__link_guards() ? cal__metadata_allocate(sizeof *heap)
                                                   : &first_heap;
    if (heap == NULL)
        return NULL;
    heap_link(heap);
    if (keys_used + 1 < CAL_HEAP_KEYS)
        heap->key = ++keys_used * CAL_HEAP_KEY;
    return heap;
}

static void heap_put(struct cal__heap *heap)
{
    atomic_fetch_sub_explicit(&cal__heaps_used, 1, memory_order_relaxed);
    heap->thread = 0;
    heap->in_use = false;
    heap->next_unused = unused_heaps;
    cal__link_set(&unused_heaps, heap);
}

struct cal__heap *cal__heap_late_enter(void)
{
    cal__lock_acquire(&registry_lock);
    if (!cal__heap_late.in_use) {
        cal__heap_late.in_use = true;
        cal__heap_late.direct = CAL_DIRECT;
        heap_link(&cal__heap_late);
    }
    cal__lock_release(&registry_lock);
    cal__lock_acquire(&late_lock);
    cal__heap_follow_slots(&cal__heap_late);
    return &cal__heap_late;
}

void cal__heap_late_leave(void)
{
    cal__lock_release(&late_lock);
}

CAL_COLD struct cal__heap *cal__heap_get(void)
{
    struct cal__heap *heap = cal__thread_heap;
    if (CAL_LIKELY(heap != &cal__heap_empty))
        return heap;
    if (!atomic_load_explicit(&started, memory_order_acquire))
        start();
    if (thread_ended)
        return &cal__heap_late;
    cal__lock_acquire(&registry_lock);
    heap = heap_find();
    if (heap != NULL) {
        heap->in_use = true;
        atomic_fetch_add_explicit(&cal__heaps_used, 1, memory_order_relaxed);
        heap->thread = cal__thread_pointer();
    }
    cal__lock_release(&registry_lock);
    if (heap == NULL)
        return NULL;
    cal__heap_follow_mode(heap);
    cal__thread_heap = heap;
    cal__thread_key = heap->key;
    /* May allocate when the program has used up the first keys; it finds the heap in place. */
    if (have_end_key)
        pthread_setspecific(end_key, heap);
    cal__hooks_thread_start();
    return heap;
}

/* Hands everything over. What the thread frees from now on goes the way of other threads' frees;
 * what later destructors allocate comes from the heap for that. */
static void thread_end(void *argument)
{
    struct cal__heap *heap = argument;
    cal__hooks_thread_end();
    cal__thread_heap = &cal__heap_empty;
    cal__thread_key = 0;
    thread_ended = true;
    cal__annotate_begin();
    cal__remote_abandon_all(heap);
    cal__annotate_end();
    cal__lock_acquire(&registry_lock);
    heap_put(heap);
    cal__lock_release(&registry_lock);
}

void cal__thread_lock(void)
{
    cal__lock_acquire(&registry_lock);
}

void cal__thread_unlock(void)
{
    cal__lock_release(&registry_lock);
}

struct cal__heap *cal__thread_first_heap(void)
{
    return cal__link_get(&heaps);
}

static bool disown(struct cal__page *page, void *argument)
{
    (void)argument;
    if (page->kind == CAL_PAGE_SLAB)
        cal__page_set_owner(page, NULL);
    return true;
}

void cal__thread_set_direct(bool direct, bool again)
{
    unsigned mode = atomic_load_explicit(&cal__heap_mode, memory_order_relaxed);
    bool changes = (mode % 2 != 0) != direct;
    if (!changes && !again)
        return;
    atomic_store_explicit(&cal__heap_mode, mode + (changes ? 1 : 2), memory_order_release);
    if (direct)
        cal__span_walk(disown, NULL);
    struct cal__heap *heap = cal__thread_heap;
    if (heap != &cal__heap_empty)
        cal__heap_follow_mode(heap);
}

/* Fork. The child has one thread, and structures that are whole because all locks were held. */

static void heaps_lock(void)
{
    FOR_EACH_HEAP(heap)
    cal__lock_acquire(&heap->lock);
}

static void heaps_unlock(bool in_child)
{
    FOR_EACH_HEAP(heap)
    cal__lock_release_after_fork(&heap->lock, in_child);
}

static void unlock_all(bool in_child)
{
    if (forks_alone)
        return;
    cal__metadata_unlock(in_child);
    cal__place_unlock(in_child);
    cal__span_unlock(in_child);
    cal__slots_unlock(in_child);
    cal__merged_unlock(in_child);
    cal__remote_unlock(in_child);
    heaps_unlock(in_child);
    cal__lock_release_after_fork(&late_lock, in_child);
    cal__lock_release_after_fork(&registry_lock, in_child);
}

static void before_fork(void)
{
    forks_alone = __libc_single_threaded;
    /* First and last, so that who is told that a fork ends is who was told that it begins. */
    if (!forks_alone)
        cal__hooks_lock();
    cal__hooks_fork_prepare();
    if (forks_alone)
        return;
    cal__lock_acquire(&registry_lock);
    cal__lock_acquire(&late_lock);
    heaps_lock();
    cal__remote_lock();
    cal__merged_lock();
    cal__slots_lock();
    cal__span_lock();
    cal__place_lock();
    cal__metadata_lock();
}

static void after_fork_in_parent(void)
{
    unlock_all(false);
    cal__hooks_fork_parent();
    if (!forks_alone)
        cal__hooks_unlock(false);
}

/* A page whose owner did not come along. Its thread may have been anywhere outside a lock, so no
 * link to other pages is trusted, and of the blocks it had at hand none are: they are lost, at
 * most one page's worth for each class. Counts are such that "used" is never too low. */
static bool orphan(struct cal__page *page, void *argument)
{
    struct cal__heap *own = argument;
    struct cal__heap *heap = cal__page_heap(page);
    if (!cal__page_is_slab(page) || heap == own || heap == &cal__heap_late || heap == NULL)
        return true;
    page->queued = false;
    page->returned_next.word = 0;
    page->next.word = page->previous.word = 0;
    page->list = CAL_LIST_NONE;
    cal__page_set_owner(page, NULL);
    cal__remote_orphan(page);
    return true;
}

static void after_fork_in_child(void)
{
    struct cal__heap *own = cal__thread_heap;
    unlock_all(true);
    bool others = false;
    /* While all pages and heaps are as they were: any of them may get blocks back. */
    FOR_EACH_HEAP(heap)
    if (heap != own)
        cal__gather_inherit(heap);
    FOR_EACH_HEAP(heap)
    {
        /* The parent makes its choices by those at hand; this process is to make others. */
        if (heap->choices_left != 0) {
            memset(heap->choices, 0, sizeof heap->choices);
            __atomic_store_n(&heap->choices_left, 0, __ATOMIC_RELAXED);
        }
        if (heap == own || heap == &cal__heap_late || !heap->in_use)
            continue;
        others = true;
        /* All but its place in the registry and what it counted. */
        memset(heap->free, 0, sizeof heap->free);
        memset(heap->bins, 0, sizeof heap->bins);
        atomic_store_explicit(&heap->returned, 0, memory_order_relaxed);
        heap_put(heap);
    }
    cal__annotate_begin();
    if (others)
        cal__span_walk(orphan, own);
    cal__annotate_end();
    cal__hooks_fork_child();
    if (!forks_alone)
        cal__hooks_unlock(true);
}
