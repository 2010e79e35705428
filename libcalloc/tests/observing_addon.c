/* An add-on that observes, bound before the first allocation: the other tests run with it too. It sees that what it is
 * told is possible, reads what it may, and sets errno where that is not to be seen. */
#include <calloc/hooks.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what)
{
    (void)!write(STDERR_FILENO, what, strlen(what));
    abort();
}

/* The first and the last byte. */
static void touch(const volatile char *block, size_t bytes)
{
    if (bytes != 0) {
        (void)block[0];
        (void)block[bytes - 1];
    }
}

static void saw_allocated(void *block, size_t requested, size_t usable)
{
    if (usable < requested || (uintptr_t)block % 16 != 0)
        fail("observed: a block that is too small or not aligned\n");
    touch(block, usable);
}

static void saw_freeing(void *block, size_t usable)
{
    touch(block, usable);
    errno = EXDEV;
}

static const struct cal_observer observer = {
    .size = sizeof observer, .allocated = saw_allocated, .freeing = saw_freeing};

extern const struct cal_hooks cal_addon_track;
__attribute__((visibility("default")))
const struct cal_hooks cal_addon_track = {.size = sizeof cal_addon_track,
                                          .version = CAL_HOOKS_VERSION,
                                          .name = "observing",
                                          .component_version = "1.0",
                                          .observer = &observer};
