#include "hold.h"

#include <errno.h>
#include <sys/mman.h>

#include "quarantine.h"
#include "slab.h"

/* Places for the smallest blocks would be more; what is beyond them leaves earlier. */
enum { RANDOM_PLACES = 256, QUEUE_PLACES = 4096 };

/* NONE: nothing was freed yet. */
enum stage { NONE, HOLDING, ENDED };

struct hold {
    enum stage stage;
    struct cal__quarantine quarantine;
};

static __thread struct hold hold __attribute__((tls_model("initial-exec")));

static size_t memory_bytes(void)
{
    return cal__quarantine_memory(RANDOM_PLACES, QUEUE_PLACES);
}

/* Without memory for it the thread has none; the next block tries again. */
static CAL_COLD bool begin(void)
{
    int saved = errno;
    void *memory =
        mmap(NULL, memory_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    if (memory == MAP_FAILED)
        return false;
    if (!cal__quarantine_initialize(&hold.quarantine, memory, RANDOM_PLACES, QUEUE_PLACES,
                                    cal__hardened.settings.quarantine)) {
        munmap(memory, memory_bytes());
        return false;
    }
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
        cal__slab_leave(out.block);
    return true;
}

void cal__hold_drain(void)
{
    struct cal__quarantined out;
    while (hold.stage == HOLDING && cal__quarantine_drain(&hold.quarantine, &out))
        cal__slab_leave(out.block);
}

void cal__hold_end(void)
{
    cal__hold_drain();
    if (hold.stage == HOLDING)
        munmap(hold.quarantine.entries, memory_bytes());
    hold.stage = ENDED;
}

size_t cal__hold_bytes(void)
{
    return hold.stage == HOLDING ? hold.quarantine.bytes : 0;
}
