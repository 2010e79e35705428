/* An add-on for tests: the table `cal_addon_track`, which the core finds as a weak symbol when this
 * library is preloaded after it. It counts what it sees, from the first allocation on. */
#include <stdatomic.h>
#include <string.h>

#include <calloc/hooks.h>

#include "addon.h"

static struct addon_counts counts;
static _Atomic size_t allocated, freed, resized;

static void saw_allocated(void *block, size_t requested, size_t usable)
{
    (void)requested;
    (void)usable;
    if (allocated++ == 0)
        counts.first_block = block;
}

static void saw_freeing(void *block, size_t usable)
{
    (void)block;
    (void)usable;
    freed++;
}

static void saw_resized(void *block, size_t old_usable, size_t requested, size_t usable)
{
    (void)block;
    (void)old_usable;
    (void)requested;
    (void)usable;
    resized++;
}

static void note(const char *text, size_t length)
{
    size_t used = strlen(counts.options);
    if (used + length + 2 > sizeof counts.options)
        return;
    memcpy(counts.options + used, text, length);
    counts.options[used + length] = ';';
}

static int start(void)
{
    counts.early = allocated;
    note("start", 5);
    return 0;
}

static const struct cal_observer observer = {.size = sizeof observer,
                                             .allocated = saw_allocated,
                                             .freeing = saw_freeing,
                                             .resized = saw_resized};

extern const struct cal_hooks cal_addon_track;
const struct cal_hooks cal_addon_track = {.size = sizeof cal_addon_track,
                                          .version = CAL_HOOKS_VERSION,
                                          .name = "test",
                                          .component_version = "1",
                                          .observer = &observer,
                                          .option = note,
                                          .start = start};

struct addon_counts addon_counts(void)
{
    counts.allocated = allocated;
    counts.freed = freed;
    counts.resized = resized;
    return counts;
}
