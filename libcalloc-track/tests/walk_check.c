/* A library to preload with the core: at each allocation, or one of a few, it unwinds the stack as the library does, by
 * way of the stack before and without it, by libgcc and by libunwind, and compares. At exit it writes to the file of
 * WALK_CHECK how many stacks were looked at, how many differ, and the first of these. Allocates nothing. */
#define UNW_LOCAL_ONLY
#include <calloc/hooks.h>
#include <fcntl.h>
#include <libunwind.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

#include "memory.h"
#include "modules.h"
#include "nodes.h"
#include "note.h"
#include "rows.h"
#include "walk.h"

enum { DEPTH = 512 };

struct stack {
    uintptr_t addresses[DEPTH];
    size_t count;
};

static __thread struct cal__walk walk __attribute__((tls_model("initial-exec")));
static __thread bool busy __attribute__((tls_model("initial-exec")));
static __thread unsigned passed __attribute__((tls_model("initial-exec")));
static unsigned every = 1;
static _Atomic unsigned long looked, differing, shorter, frames, refused;
static const char *path;
static struct stack first[2];

static _Unwind_Reason_Code take(struct _Unwind_Context *context, void *argument)
{
    struct stack *stack = argument;
    uintptr_t address = _Unwind_GetIP(context);
    if (address != 0 && stack->count < DEPTH)
        stack->addresses[stack->count++] = address;
    return _URC_NO_REASON;
}

/* False: libunwind says itself that it cannot go on from what it has. */
static bool take_by_libunwind(struct stack *stack)
{
    unw_context_t context;
    unw_cursor_t cursor;
    unw_word_t address = 0;
    int more = 1;
    stack->count = 0;
    if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0)
        return false;
    while (more > 0 && stack->count < DEPTH && unw_get_reg(&cursor, UNW_REG_IP, &address) == 0 &&
           address != 0) {
        stack->addresses[stack->count++] = address;
        more = unw_step(&cursor);
    }
    return more >= 0;
}

/* Those of the program: frames up to the last one that is in this library or the core. */
static void drop_inner(struct stack *stack)
{
    size_t from = 0;
    for (size_t i = 0; i < stack->count; i++) {
        uint32_t module = cal__modules_find(stack->addresses[i] - 1);
        if (module == CAL_MODULE_NONE || !cal__module(module)->hidden)
            break;
        from = i + 1;
    }
    memmove(stack->addresses, stack->addresses + from,
            (stack->count - from) * sizeof stack->addresses[0]);
    stack->count -= from;
}

/* Which of our frames are the program's is known from the node. */
static bool read_node(uint32_t node, struct stack *stack)
{
    stack->count = 0;
    for (; node > CAL_NODE_UNKNOWN && stack->count < DEPTH; node = cal__node(node).parent)
        stack->addresses[stack->count++] = cal__frame(cal__node(node).frame)->address;
    return node == CAL_NODE_ROOT;
}

static bool alike(const struct stack *ours, const struct stack *theirs)
{
    /* libgcc calls an address its end that ours leaves out, and the other way round: one frame more. */
    size_t count = ours->count < theirs->count ? ours->count : theirs->count;
    size_t more = ours->count + theirs->count - 2 * count;
    return more <= 1 &&
           memcmp(ours->addresses, theirs->addresses, count * sizeof ours->addresses[0]) == 0;
}

/* As far as libunwind got, where it gave up. */
static bool is_beginning_of(const struct stack *ours, const struct stack *theirs)
{
    return theirs->count <= ours->count + 1 &&
           memcmp(ours->addresses, theirs->addresses,
                  (theirs->count < ours->count ? theirs->count : ours->count) *
                      sizeof ours->addresses[0]) == 0;
}

static void remember(const struct stack *ours, const struct stack *theirs)
{
    if (differing++ == 0) {
        first[0] = *ours;
        first[1] = *theirs;
    }
}

static void check(uint32_t node)
{
    static __thread struct stack ours, plain, theirs, third;
    bool complete = read_node(node, &ours);
    plain.count = cal__walk_plain(plain.addresses, DEPTH);
    theirs.count = 0;
    _Unwind_Backtrace(take, &theirs);
    /* It takes ten times as long as all the others. */
    bool both = looked % 8 == 0, whole = both && take_by_libunwind(&third);
    drop_inner(&plain);
    drop_inner(&theirs);
    drop_inner(&third);
    looked++;
    frames += ours.count;
    if (!complete)
        shorter++;
    if (ours.count == DEPTH || theirs.count == DEPTH)
        return;
    if (!alike(&ours, &theirs) || !alike(&plain, &theirs))
        remember(alike(&ours, &theirs) ? &plain : &ours, &theirs);
    else if (!both)
        return;
    else if (whole ? !alike(&ours, &third) : !is_beginning_of(&ours, &third))
        remember(&ours, &third);
    if (!whole)
        refused++;
}

static void allocated(void *block, size_t requested, size_t usable)
{
    (void)block;
    (void)requested;
    (void)usable;
    if (busy || ++passed % every != 0)
        return;
    busy = true;
    walk.limit = CAL_WALK_DEPTH_MAX;
    check(cal__walk_stack(&walk));
    busy = false;
}

static void say_stack(int file, const char *name, const struct stack *stack)
{
    for (size_t i = 0; i < stack->count; i++) {
        struct cal__note note = {.length = 0};
        uint32_t number = cal__modules_find(stack->addresses[i] - 1);
        cal__note_string(&note, name);
        cal__note_string(&note, " ");
        if (number != CAL_MODULE_NONE)
            cal__note_string(&note, cal__module(number)->path);
        cal__note_string(&note, " ");
        cal__note_hexadecimal(&note,
                              stack->addresses[i] -
                                  (number != CAL_MODULE_NONE ? cal__module(number)->bias : 0));
        cal__note_write(&note, file);
    }
}

static void exiting(void)
{
    struct cal__note note = {.length = 0};
    int file = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    busy = true;
    cal__note_decimal(&note, looked);
    cal__note_string(&note, " ");
    cal__note_decimal(&note, differing);
    cal__note_string(&note, " ");
    cal__note_decimal(&note, shorter);
    cal__note_string(&note, " ");
    cal__note_decimal(&note, frames);
    cal__note_string(&note, " ");
    cal__note_decimal(&note, refused);
    cal__note_write(&note, file);
    say_stack(file, "ours", &first[0]);
    say_stack(file, "theirs", &first[1]);
    close(file);
}

static const struct cal_observer observer = {.size = sizeof observer, .allocated = allocated};
static const struct cal_lifecycle lifecycle = {.size = sizeof lifecycle, .exiting = exiting};
static const struct cal_hooks hooks = {
    .size = sizeof hooks,
    .version = CAL_HOOKS_VERSION,
    .name = "walk-check",
    .component_version = "1",
    .observer = &observer,
    .lifecycle = &lifecycle,
};

__attribute__((constructor)) static void start(void)
{
    const char *number = getenv("WALK_CHECK_EVERY");
    path = getenv("WALK_CHECK");
    every = number == NULL ? 1 : (unsigned)atoi(number);
    if (every == 0)
        every = 1;
    cal__modules_start(NULL);
    cal__walk_start();
    /* Else it has a lock around that of the loader, which its cache is filled under. */
    unw_set_caching_policy(unw_local_addr_space, UNW_CACHE_NONE);
    if (path != NULL && cal__nodes_start())
        cal_hooks_register(&hooks);
}
