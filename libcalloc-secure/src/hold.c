#include "hold.h"

#include <errno.h>
#include <sys/mman.h>

#include "guard.h"
#include "quarantine.h"
#include "slab.h"

/* Places for the smallest blocks would be more; what is beyond them leaves earlier. */
enum { RANDOM_PLACES = 256, QUEUE_PLACES = 4096 };

/* NONE: nothing was freed yet. */
enum stage { NONE, HOLDING, ENDED };

struct hold {
    enum stage stage;
    struct cal__quarantine quarantine;
    enum cal__guard before, behind; /* of its entries */
};

static __thread struct hold hold __attribute__((tls_model("initial-exec")));

/* Whole pages, between two for guards. */
static size_t memory_bytes(void)
{
    size_t mask = CAL_HARDENED_PAGE - 1;
    return ((cal__quarantine_memory(RANDOM_PLACES, QUEUE_PLACES) + mask) & ~mask) +
           2 * (size_t)CAL_HARDENED_PAGE;
}

static char *start_of(void)
{
    return (char *)hold.quarantine.entries - CAL_HARDENED_PAGE;
}

/* With larger pages of the kernel's there are none. */
static void guard(void)
{
    if (!cal__hardened.settings.metadata)
        return;
    hold.before = cal__guard_install(start_of(), CAL_HARDENED_PAGE);
    hold.behind =
        cal__guard_install(start_of() + memory_bytes() - CAL_HARDENED_PAGE, CAL_HARDENED_PAGE);
    hold.quarantine.secret = cal__random_64(cal__hardened_random());
}

static void unmap(void)
{
    munmap(start_of(), memory_bytes());
    cal__guard_forget(hold.before);
    cal__guard_forget(hold.behind);
}

/* Without memory for it the thread has none; the next block tries again. */
static CAL_COLD bool begin(void)
{
    int saved = errno;
    char *memory =
        mmap(NULL, memory_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    if (memory == MAP_FAILED)
        return false;
    if (!cal__quarantine_initialize(&hold.quarantine, memory + CAL_HARDENED_PAGE, RANDOM_PLACES,
                                    QUEUE_PLACES, cal__hardened.settings.quarantine)) {
        munmap(memory, memory_bytes());
        return false;
    }
    guard();
    hold.stage = HOLDING;
    return true;
}

bool cal__hold_block_long(void *block, size_t size)
{
    if (CAL_UNLIKELY(hold.stage != HOLDING) && (hold.stage == ENDED || !begin()))
        return false;
    struct cal__random *random = cal__hardened_random();
    if (!cal__quarantine_push(&hold.quarantine, random, block, size))
        return false;
    struct cal__quarantined out;
    while (cal__quarantine_pop(&hold.quarantine, random, &out))
        cal__slab_leave(out.block, out.size);
    return true;
}

void cal__hold_drain(void)
{
    struct cal__quarantined out;
    while (hold.stage == HOLDING && cal__quarantine_drain(&hold.quarantine, &out))
        cal__slab_leave(out.block, out.size);
}

void cal__hold_end(void)
{
    cal__hold_drain();
    if (hold.stage == HOLDING)
        unmap();
    hold.stage = ENDED;
}

size_t cal__hold_bytes(void)
{
    return hold.stage == HOLDING ? hold.quarantine.bytes : 0;
}
