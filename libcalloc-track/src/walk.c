/* A stack is walked frame by frame, by the rows of the places it passes through, from the innermost
 * frame on, until a frame is met that is in the same state as one of the stack before: at the same place in
 * the code, with the same stack pointer, and the same frame pointer where that matters. Then its caller is in
 * the state of that stack's next frame if the words that the row reads from the stack are still what they were,
 * and so on outwards: two loads and compares for each frame instead of a look into the table. So the result
 * is that of a walk, and memory is read only where a walk would read it, whatever became of the stack in
 * between: longjmp, exceptions, coroutines, or another stack at the same place.
 *
 * The frame pointer of a frame matters ("needs") where an outer frame's CFA is relative to it and it has not
 * been saved in between: most code keeps other things in it. */
#include "walk.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unwind.h>

#include "memory.h"
#include "nodes.h"
#include "process.h"
#include "rows.h"

/* Registers of a frame. */
struct state {
    uint64_t place;
    uintptr_t sp;
    uintptr_t bp;
#if defined(__aarch64__)
    uintptr_t lr; /* of a frame that has not saved it; else 0 */
#endif
};

struct cal__walk_entry {
    uint64_t place;
    uintptr_t sp;
    uintptr_t bp;
    const uintptr_t
        *ra_at; /* where the return address is; NULL: the caller is found by walking only */
    const uintptr_t *bp_at; /* where the caller's frame pointer is; NULL: where this one's is */
    uint32_t frame;
    uint32_t node;
    uint32_t words; /* number of the last one of it and all outer frames, if it is kept */
    bool needs;
    bool uses;    /* its CFA is relative to the frame pointer */
    bool forgets; /* the caller's frame pointer has nothing to do with this one */
    bool last;    /* there is no caller, as long as the return address stays 0 or the row says so */
};

/* A word of the stack and what was there. */
struct cal__walk_word {
    const uintptr_t *at;
    uintptr_t value;
};

/* At the most: the return address and the frame pointer. And one for all. */
enum { WORDS_OF_FRAME = 2 };

static size_t words_bytes(uint32_t capacity)
{
    return (1 + (size_t)capacity * WORDS_OF_FRAME) * sizeof(struct cal__walk_word);
}

_Static_assert(sizeof(struct cal__walk_entry) == 56, "as docs/decisions/stack-walks.md says");

#if defined(__aarch64__)
/* Return addresses may be signed. */
#    define PLACE(address) ((address) & (CAL_PLACE_EXACT - 1))
#else
#    define PLACE(address) ((address) & ((UINT64_C(1) << 48) - 1))
#endif

/* The frame that this is expanded in. */
#if defined(__x86_64__)
#    define HERE(here)                                                                     \
        do {                                                                               \
            uintptr_t pc_, sp_, bp_;                                                       \
            __asm__ volatile("leaq 0(%%rip), %0\n\tmovq %%rsp, %1\n\tmovq %%rbp, %2"       \
                             : "=&r"(pc_), "=&r"(sp_), "=&r"(bp_));                        \
            (here) = (struct state){.place = pc_ | CAL_PLACE_EXACT, .sp = sp_, .bp = bp_}; \
        } while (0)
#else
#    define HERE(here)                                                                           \
        do {                                                                                     \
            uintptr_t pc_, sp_, bp_, lr_;                                                        \
            __asm__ volatile("adr %0, .\n\tmov %1, sp\n\tmov %2, x29\n\tmov %3, x30"             \
                             : "=&r"(pc_), "=&r"(sp_), "=&r"(bp_), "=&r"(lr_));                  \
            (here) =                                                                             \
                (struct state){.place = pc_ | CAL_PLACE_EXACT, .sp = sp_, .bp = bp_, .lr = lr_}; \
        } while (0)
#endif

/* libgcc's way from one frame to its caller. */

struct search {
    const struct state *from;
    struct state *to;
    bool met;
    bool found;
};

CAL_READS_STACK static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *argument)
{
    struct search *search = argument;
    int exact = 0;
    uintptr_t address = _Unwind_GetIPInfo(context, &exact);
    struct state state = {
        .place = PLACE(address) | (exact != 0 ? CAL_PLACE_EXACT : 0),
        .sp = _Unwind_GetCFA(context),
#if defined(__x86_64__)
        .bp = (uintptr_t)_Unwind_GetGR(context, 6),
#else
        .bp = (uintptr_t)_Unwind_GetGR(context, 29),
#endif
    };
    if (search->met) {
        *search->to = state;
        search->found = address != 0;
        return _URC_END_OF_STACK;
    }
    search->met = state.place == search->from->place && state.sp == search->from->sp;
    return _URC_NO_REASON;
}

static CAL_COLD bool step_by_libgcc(const struct state *from, struct state *to)
{
    struct search search = {.from = from, .to = to};
    _Unwind_Backtrace(look, &search);
    return search.found;
}

/* A handler's caller is what the kernel interrupted. */
CAL_READS_STACK static CAL_COLD void step_out_of_signal(const struct state *from, struct state *to)
{
#if defined(__x86_64__)
    const ucontext_t *context = (const ucontext_t *)from->sp;
    to->place = (uint64_t)context->uc_mcontext.gregs[REG_RIP] | CAL_PLACE_EXACT;
    to->sp = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
    to->bp = (uintptr_t)context->uc_mcontext.gregs[REG_RBP];
#else
    const ucontext_t *context = (const ucontext_t *)(from->sp + sizeof(siginfo_t));
    to->place = context->uc_mcontext.pc | CAL_PLACE_EXACT;
    to->sp = context->uc_mcontext.sp;
    to->bp = context->uc_mcontext.regs[29];
    to->lr = context->uc_mcontext.regs[30];
#endif
}

enum outcome { GOES_ON, LAST, LOST };

/* Code that was made at run time, or that nobody wrote call frame information for, mostly keeps a frame pointer. It is
 * believed where it points into the thread's own stack, not far up. */
enum { UNKNOWN_FRAME_MAX = 64 << 10 };

static bool has_frame_pointer(const struct state *state, uintptr_t stack_end)
{
    return state->sp < stack_end && state->bp >= state->sp &&
           state->bp - state->sp <= UNKNOWN_FRAME_MAX && state->bp % 8 == 0 &&
           state->bp < stack_end - 2 * sizeof(uintptr_t);
}

/* The main thread's stack ends at its start; in others the thread pointer lies behind it. */
static CAL_COLD uintptr_t find_stack_end(const struct state *state)
{
    extern void *__libc_stack_end;
    uintptr_t main_end = (uintptr_t)__libc_stack_end, end = (uintptr_t)__builtin_thread_pointer();
    if (state->sp < main_end && (end < state->sp || end > main_end))
        end = main_end;
    return end;
}

/* A CFA that cannot be: frames are not that large. */
#define FRAME_MAX (UINT64_C(1) << 30)

/* From the frame STATE to its caller; what ENTRY says of it is how. */
CAL_READS_STACK CAL_INLINE enum outcome step(struct state *state, struct cal__row row,
                                             uintptr_t stack_end, struct cal__walk_entry *entry)
{
    uintptr_t cfa;
    *entry = (struct cal__walk_entry){
        .place = state->place, .sp = state->sp, .bp = state->bp, .frame = row.frame};
    if (CAL_LIKELY(row.kind == CAL_ROW_SP)) {
        cfa = state->sp + (uintptr_t)((intptr_t)row.offset * 8);
    } else if (row.kind == CAL_ROW_BP) {
        cfa = state->bp + (uintptr_t)((intptr_t)row.offset * 8);
        entry->uses = true;
    } else {
        struct state next = *state;
        entry->uses = row.kind != CAL_ROW_SIGNAL;
        entry->forgets = row.kind != CAL_ROW_END;
        switch (row.kind) {
        case CAL_ROW_BP_AT:
            next.sp = *(const uintptr_t *)(state->bp + (uintptr_t)((intptr_t)row.offset * 8));
            next.place = PLACE(*(const uintptr_t *)(next.sp - (uintptr_t)row.ra * 8));
            next.bp = *(const uintptr_t *)state->bp;
            break;
        case CAL_ROW_SIGNAL:
            step_out_of_signal(state, &next);
            break;
        case CAL_ROW_OTHER:
            if (!step_by_libgcc(state, &next))
                return LOST;
            break;
        case CAL_ROW_END:
            entry->uses = false;
            entry->last = true;
            return LAST;
        default:
            entry->uses = true;
            if (!has_frame_pointer(state, stack_end))
                return LOST;
            next.sp = state->bp + 2 * sizeof(uintptr_t);
            next.place = PLACE(((const uintptr_t *)state->bp)[1]);
            next.bp = *(const uintptr_t *)state->bp;
            break;
        }
        *state = next;
        return (next.place & ~CAL_PLACE_EXACT) != 0 ? GOES_ON : LAST;
    }
    if (CAL_UNLIKELY(cfa - state->sp - 1 >= FRAME_MAX || cfa % 8 != 0))
        return LOST;
    uintptr_t address;
#if defined(__aarch64__)
    if (row.ra == 0) {
        /* It has not saved it, or has just called: only the innermost one may do so. */
        if (state->lr == 0)
            return LOST;
        address = state->lr;
    } else
#endif
    {
        entry->ra_at = (const uintptr_t *)(cfa - (uintptr_t)row.ra * 8);
        address = *entry->ra_at;
    }
    if (row.bp != 0) {
        entry->bp_at = (const uintptr_t *)(cfa - (uintptr_t)row.bp * 8);
        state->bp = *entry->bp_at;
    }
    state->sp = cfa;
    state->place = PLACE(address);
#if defined(__aarch64__)
    state->lr = 0;
#endif
    entry->last = state->place == 0;
    return entry->last ? LAST : GOES_ON;
}

/* An array of twice the size, or the first one, with what was in it; NULL: no memory. */
static void *larger(const void *array, size_t old_bytes, size_t bytes)
{
    void *fresh = cal__memory_map(bytes);
    if (fresh != NULL && old_bytes != 0)
        memcpy(fresh, array, old_bytes);
    return fresh;
}

/* A word that differs from what it was at any time. */
static const uintptr_t differs_always[1];
#define DIFFERS ((struct cal__walk_word){differs_always, 1})

static CAL_COLD bool grow(struct cal__walk *walk)
{
    uint32_t old = walk->capacity, capacity = old == 0 ? 128 : old * 2;
    size_t old_bytes = old * sizeof *walk->kept, bytes = capacity * sizeof *walk->kept;
    struct cal__walk_entry *kept = larger(walk->kept, old_bytes, bytes);
    struct cal__walk_entry *fresh = larger(walk->fresh, old_bytes, bytes);
    struct cal__walk_word *words =
        larger(walk->words, old == 0 ? 0 : words_bytes(old), words_bytes(capacity));
    if (kept == NULL || fresh == NULL || words == NULL) {
        cal__memory_unmap(kept, bytes);
        cal__memory_unmap(fresh, bytes);
        cal__memory_unmap(words, words_bytes(capacity));
        return false;
    }
    cal__memory_unmap(walk->kept, old_bytes);
    cal__memory_unmap(walk->fresh, old_bytes);
    if (old != 0)
        cal__memory_unmap(walk->words, words_bytes(old));
    words[0] = DIFFERS;
    walk->kept = kept;
    walk->fresh = fresh;
    walk->words = words;
    walk->capacity = capacity;
    walk->innermost = walk->kept_count == 0 ? NULL : &kept[walk->kept_count - 1];
    if (walk->found == NULL)
        walk->found = cal__memory_map(CAL_WALK_FOUND * sizeof *walk->found);
    return true;
}

void cal__walk_end(struct cal__walk *walk)
{
    size_t bytes = walk->capacity * sizeof *walk->kept;
    cal__memory_unmap(walk->kept, bytes);
    cal__memory_unmap(walk->fresh, bytes);
    if (walk->capacity != 0)
        cal__memory_unmap(walk->words, words_bytes(walk->capacity));
    cal__memory_unmap(walk->found, CAL_WALK_FOUND * sizeof *walk->found);
    *walk = (struct cal__walk){.limit = walk->limit};
}

/* Words 1 to the last are those of the kept frames, from the outermost on: frame by frame what makes its caller the next
 * outer one, as long as none has changed. The last in order is to be looked at first. A frame whose caller is
 * found by walking only has one that differs; so has word 0, behind which there is nothing. */

/* Those of ENTRY behind number LAST; the last one's number. */
CAL_READS_STACK CAL_INLINE uint32_t put_words(struct cal__walk_word *words, uint32_t last,
                                              const struct cal__walk_entry *entry,
                                              const struct cal__walk_entry *caller)
{
    if (!entry->last && (caller == NULL || entry->ra_at == NULL)) {
        words[++last] = DIFFERS;
        return last;
    }
    if (!entry->last && caller->needs && entry->bp_at != NULL)
        words[++last] = (struct cal__walk_word){entry->bp_at, caller->bp};
    if (entry->ra_at != NULL)
        words[++last] = (struct cal__walk_word){entry->ra_at, *entry->ra_at};
    return last;
}

/* From the inner end on, one by one, as a word of an outer frame may be read only where those of all inner ones are what
 * they were. The number of the first that differs; 0: none does. */
CAL_READS_STACK CAL_INLINE uint32_t compare_words(const struct cal__walk_word *words, uint32_t last)
{
    const struct cal__walk_word *word = &words[last];
    while (*word->at == word->value)
        word--;
    return (uint32_t)(word - words);
}

/* KEPT[i] is in the state of a frame of this stack. How many frames of it are not those of this stack any
 * more: 0, all outer ones are; else the number of the frame is one less. */
CAL_READS_STACK CAL_INLINE uint32_t verify(const struct cal__walk *walk, uint32_t i)
{
    uint32_t differs = compare_words(walk->words, walk->kept[i].words);
    if (CAL_LIKELY(differs == 0))
        return 0;
    while (i != 0 && walk->kept[i - 1].words >= differs)
        i--;
    return i + 1;
}

/* A walk under way. */
struct progress {
    struct cal__walk *walk;
    struct state state;
    uint32_t at;    /* frames of the last stack from here inwards were passed */
    uint32_t fresh; /* frames that were found */
    bool failed;    /* there was no memory */
};

/* The frames FIRST down to that before LAST of the last stack are frames of this one, and the state becomes LAST's;
 * its frame pointer is what was saved last. False: no memory, and the state is in between. */
CAL_READS_STACK static bool take_over(struct progress *progress, uint32_t first, uint32_t last)
{
    struct cal__walk *walk = progress->walk;
    for (uint32_t i = first; i > last; i--) {
        if (progress->fresh == walk->capacity && !grow(walk))
            return false;
        struct cal__walk_entry *entry = &walk->fresh[progress->fresh++];
        *entry = walk->kept[i];
        entry->bp = progress->state.bp;
        if (entry->bp_at != NULL)
            progress->state.bp = *entry->bp_at;
    }
    progress->state.place = walk->kept[last].place;
    progress->state.sp = walk->kept[last].sp;
    return true;
}

CAL_INLINE uint32_t find_node(const struct cal__walk *walk, uint32_t parent, uint32_t frame)
{
    uint64_t node = (uint64_t)parent << 32 | frame;
    if (CAL_UNLIKELY(walk->found == NULL))
        return cal__nodes_find(parent, frame);
    struct cal__walk_found *found =
        &walk->found[node * UINT64_C(0x9e3779b97f4a7c15) >> 52 & (CAL_WALK_FOUND - 1)];
    if (CAL_LIKELY(found->node == node && node != 0))
        return (uint32_t)found->number;
    uint32_t number = cal__nodes_find(parent, frame);
    /* The parent in its place, for want of memory, is not for ever. */
    if (number != parent)
        *found = (struct cal__walk_found){.node = node, .number = number};
    return number;
}

/* The frames that were found are put before those that are still there, KEPT of them. */
CAL_READS_STACK static uint32_t assemble(struct progress *progress, uint32_t kept, uint32_t node)
{
    struct cal__walk *walk = progress->walk;
    while (kept + progress->fresh > walk->capacity) {
        if (!grow(walk)) {
            cal__walk_forget(walk);
            return CAL_NODE_UNKNOWN;
        }
    }
    bool needs = kept != 0 && walk->kept[kept - 1].needs;
    for (uint32_t i = progress->fresh; i-- > 0;) {
        struct cal__walk_entry *entry = &walk->kept[kept++];
        *entry = walk->fresh[i];
        needs = entry->uses || (needs && entry->bp_at == NULL && !entry->forgets);
        entry->needs = needs;
        if (entry->frame != 0 && entry->frame != CAL_FILE_NONE)
            node = find_node(walk, node, entry->frame);
        entry->node = node;
        const struct cal__walk_entry *caller = kept == 1 ? NULL : entry - 1;
        uint32_t words = caller == NULL ? 0 : caller->words;
        entry->words = put_words(walk->words, words, entry, caller);
    }
    walk->kept_count = kept;
    walk->innermost = kept == 0 ? NULL : &walk->kept[kept - 1];
    return node;
}

/* Looks for the frame of the state in the last stack. True: it is there, and all outer ones are the same. */
CAL_READS_STACK CAL_INLINE bool meet(struct progress *progress)
{
    struct cal__walk *walk = progress->walk;
    const struct state *state = &progress->state;
    while (progress->at != 0 && walk->kept[progress->at - 1].sp < state->sp)
        progress->at--;
    if (progress->at == 0)
        return false;
    const struct cal__walk_entry *entry = &walk->kept[progress->at - 1];
    if (entry->sp != state->sp || entry->place != state->place ||
        (entry->needs && entry->bp != state->bp))
        return false;
    uint32_t differs = verify(walk, progress->at - 1);
    if (differs == 0)
        return true;
    /* From the frame that is the last one that is the same, on foot again. */
    uint32_t last = differs - 1;
    progress->failed = !take_over(progress, progress->at - 1, last);
    progress->at = last;
    return false;
}

CAL_READS_STACK static CAL_NOINLINE uint32_t walk_on(struct progress *progress)
{
    struct cal__walk *walk = progress->walk;
    for (;;) {
        if (meet(progress)) {
            uint32_t kept = progress->at;
            if (CAL_LIKELY(kept + progress->fresh <= walk->limit))
                return assemble(progress, kept, walk->kept[kept - 1].node);
            if (progress->fresh < walk->limit)
                take_over(progress, kept - 1, kept - 1 - (walk->limit - progress->fresh));
            return assemble(progress, 0, CAL_NODE_UNKNOWN);
        }
        if (progress->fresh >= walk->limit)
            return assemble(progress, 0, CAL_NODE_UNKNOWN);
        if (CAL_UNLIKELY(progress->failed || (progress->fresh == walk->capacity && !grow(walk)))) {
            cal__walk_forget(walk);
            return CAL_NODE_UNKNOWN;
        }
        struct cal__row row = cal__rows_find(progress->state.place);
        enum outcome outcome =
            step(&progress->state, row, walk->stack_end, &walk->fresh[progress->fresh++]);
        if (outcome != GOES_ON)
            return assemble(progress, 0, outcome == LAST ? CAL_NODE_ROOT : CAL_NODE_UNKNOWN);
    }
}

static _Atomic bool ready;

/* The stack is not the one before. */
CAL_READS_STACK static CAL_NOINLINE uint32_t walk_from(struct cal__walk *walk, struct state here)
{
    struct progress progress = {.walk = walk, .state = here};
    uint32_t epoch = atomic_load_explicit(&cal__rows_epoch, memory_order_acquire);
    if (CAL_UNLIKELY(walk->epoch != epoch)) {
        walk->epoch = epoch;
        cal__walk_forget(walk);
    }
    if (CAL_UNLIKELY(walk->stack_end == 0)) {
        if (!atomic_load_explicit(&ready, memory_order_acquire))
            return CAL_NODE_UNKNOWN;
        walk->stack_end = find_stack_end(&progress.state);
    }
    progress.at = walk->kept_count;
    return walk_on(&progress);
}

/* About 15 instructions, and five for each frame, where the stack is the one before. */
CAL_READS_STACK CAL_NOINLINE uint32_t cal__walk_stack(struct cal__walk *walk)
{
    struct state here;
    HERE(here);
    const struct cal__walk_entry *innermost = walk->innermost;
    if (CAL_LIKELY(innermost != NULL && innermost->sp == here.sp &&
                   innermost->place == here.place &&
                   (!innermost->needs || innermost->bp == here.bp) &&
                   walk->epoch == atomic_load_explicit(&cal__rows_epoch, memory_order_acquire) &&
                   compare_words(walk->words, innermost->words) == 0))
        return innermost->node;
    return walk_from(walk, here);
}

CAL_READS_STACK CAL_NOINLINE size_t cal__walk_plain(uintptr_t *addresses, size_t count)
{
    struct state state;
    HERE(state);
    size_t found = 0;
    uintptr_t end = find_stack_end(&state);
    enum outcome outcome = GOES_ON;
    while (outcome == GOES_ON && found < count) {
        struct cal__walk_entry entry;
        outcome = step(&state, cal__rows_find(state.place), end, &entry);
        if (outcome == GOES_ON)
            addresses[found++] = state.place & ~CAL_PLACE_EXACT;
    }
    return found;
}

static _Unwind_Reason_Code stop(struct _Unwind_Context *context, void *argument)
{
    (void)context;
    (void)argument;
    return _URC_END_OF_STACK;
}

/* Linked statically without --eh-frame-hdr, call frame information is there for nobody, and libgcc would abort. No
 * row leads to it then. */
static void make_ready(void)
{
    struct dl_find_object object = {.dlfo_eh_frame = NULL};
    if (_dl_find_object((void *)make_ready, &object) == 0 && object.dlfo_eh_frame != NULL)
        _Unwind_Backtrace(stop, NULL);
    atomic_store_explicit(&ready, true, memory_order_release);
}

/* Without a loader, libc itself allocates before it can tell where code lies: libgcc aborts then, and
 * _dl_find_object() crashes in the call of malloc() that makes its tables. */
void cal__walk_start(void)
{
    if (cal__process_has_loader())
        make_ready();
}

/* Before any constructor of the program. */
__attribute__((constructor(101))) static void constructed(void)
{
    if (!atomic_load_explicit(&ready, memory_order_relaxed))
        make_ready();
}
