/* Random numbers for secrets and for choices that an attacker must not foresee.
 *
 * One root for the process, many streams below it, each used by one thread at a time. A stream is
 * ChaCha with 8 rounds and fast key erasure (Bernstein, "Fast-key-erasure random-number generators",
 * 2017): of each 256 bytes the first 32 are the next key, and each byte is erased when it is handed
 * out. So whoever reads the state of a stream learns what it will give from then on, and nothing of
 * what it gave. The root, which hands out keys, works in the same way with 20 rounds.
 *
 * 8 rounds, because the attacks that are published end between 7 and 8 rounds and are far from practical
 * ones there, and because OpenBSD's authors and Aumasson ("Too Much Crypto", 2019) hold 8 for enough;
 * here numbers are only to be unpredictable, and nothing is encrypted. 20 would cost two and a half times
 * as much at each refill.
 *
 * Secrets come from getrandom(2), without blocking, once when the first stream is filled and once in
 * a child of fork() that draws any. AT_RANDOM, the clocks and the layout of the address space are mixed in
 * in any case; where getrandom is refused they, the process id and, in a child, the parent's key are all
 * there is. Nothing here fails. */
#ifndef CAL_RANDOM_H
#define CAL_RANDOM_H

#include <stdatomic.h>
#include <string.h>

#include "base.h"
#include "chacha.h"

enum {
    CAL_RANDOM_ROUNDS = 8,
    CAL_RANDOM_ROOT_ROUNDS = 20,
    CAL_RANDOM_SPAN = CAL_CHACHA_OUTPUT - CAL_CHACHA_KEY /* bytes that a refill gives */
};

/* All zeros is a new stream, filled when it is first used.
 *   bytes[0 .. 32)           the key of the next refill
 *   bytes[32 .. 32 + left)   not handed out yet
 *   bytes[32 + left .. 256)  zeros, but for what was too short for a longer number */
struct cal__random {
    _Alignas(16) unsigned char bytes[CAL_CHACHA_OUTPUT];
    uint32_t left;
    uint32_t generation; /* that of the process when the key came from the root; 0: never */
};

_Static_assert(sizeof(struct cal__random) == 272, "four cache lines and a bit");

/* Counts the forks from the first process to this one; never 0. */
extern _Atomic uint32_t cal__random_generation;

/* Seeds the root now. Without it the first refill does. Whoever calls it while the process starts may
 * draw in a sandbox later that kills on getrandom. Thread-safe. Preserves errno. */
void cal__random_start(void);

/* In the child of a fork, before any stream is used: all streams are other ones from now on, as soon
 * as they are used, and no earlier is getrandom called. To be called by the only thread there is.
 * Makes no system call. */
void cal__random_forked(void);

/* Whether the root had the kernel's random numbers when it was last seeded. Thread-safe. */
bool cal__random_is_strong(void);

/* Fills the stream, with a new key if it needs one. Preserves errno. */
void cal__random_refill(struct cal__random *random);

/* SIZE bytes of any length at MEMORY. */
void cal__random_bytes(struct cal__random *random, void *memory, size_t size);

/* What a stream that is not used any more still knows. It may be used again. */
void cal__random_end(struct cal__random *random);

/* The draws below take some ten instructions, and a refill of about a thousand each 224 bytes. They
 * preserve errno. */

CAL_INLINE void cal__random_need(struct cal__random *random, uint32_t size)
{
    uint32_t generation = atomic_load_explicit(&cal__random_generation, memory_order_relaxed);
    if (CAL_UNLIKELY(random->left < size || random->generation != generation))
        cal__random_refill(random);
}

CAL_INLINE void cal__random_take(struct cal__random *random, void *value, uint32_t size)
{
    cal__random_need(random, size);
    random->left -= size;
    unsigned char *source = random->bytes + CAL_CHACHA_KEY + random->left;
    memcpy(value, source, size);
    memset(source, 0, size);
}

CAL_INLINE uint16_t cal__random_16(struct cal__random *random)
{
    uint16_t value;
    cal__random_take(random, &value, sizeof value);
    return value;
}

CAL_INLINE uint32_t cal__random_32(struct cal__random *random)
{
    uint32_t value;
    cal__random_take(random, &value, sizeof value);
    return value;
}

CAL_INLINE uint64_t cal__random_64(struct cal__random *random)
{
    uint64_t value;
    cal__random_take(random, &value, sizeof value);
    return value;
}

/* The rare other tries of the two below. */
uint32_t cal__random_retry(struct cal__random *random, uint32_t limit, uint64_t product);
uint32_t cal__random_retry_small(struct cal__random *random, uint32_t limit, uint32_t product);

/* 0 to LIMIT - 1, each as likely as every other; 0 for a limit of 0. After Lemire, "Fast Random Integer
 * Generation in an Interval" (2019): a multiplication, and a division only where the number drawn may
 * have to be drawn again, with a probability of LIMIT / 2^32. */
CAL_INLINE uint32_t cal__random_below(struct cal__random *random, uint32_t limit)
{
    uint64_t product = (uint64_t)cal__random_32(random) * limit;
    if (CAL_UNLIKELY((uint32_t)product < limit))
        return cal__random_retry(random, limit, product);
    return (uint32_t)(product >> 32);
}

/* The same for a LIMIT of up to 2^16, with two bytes instead of four; a division with a probability of
 * LIMIT / 2^16. */
CAL_INLINE uint32_t cal__random_below_small(struct cal__random *random, uint32_t limit)
{
    uint32_t product = (uint32_t)cal__random_16(random) * limit;
    if (CAL_UNLIKELY((uint16_t)product < limit))
        return cal__random_retry_small(random, limit, product);
    return product >> 16;
}

#endif
