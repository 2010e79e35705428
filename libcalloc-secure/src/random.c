#include "random.h"

#include <errno.h>
#include <linux/random.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "latch.h"
#include "wipe.h"

_Atomic uint32_t cal__random_generation = 1;

/* LATCH guards all. Held for some microseconds, and for one system call per process. */
static struct {
    struct cal__latch latch;
    uint32_t generation; /* when it was last seeded; 0: never */
    bool strong;
    bool refused; /* for good */
    unsigned char key[CAL_CHACHA_KEY];
} root;

/* Counter and nonce are always these: no key is used twice. */
static const unsigned char no_nonce[CAL_CHACHA_NONCE];

/* One of the chunks that the root's key is made of. */
struct chunk {
    uint64_t words[CAL_CHACHA_KEY / sizeof(uint64_t)];
};

_Static_assert(sizeof(struct chunk) == CAL_CHACHA_KEY, "a chunk is as long as the key");

/* The block function adds its input to its output, so there is no way back from the new key to the
 * old one or to the chunk; what either of them had of chance the new key has. */
static void absorb(struct chunk *chunk)
{
    struct chunk key;
    unsigned char output[CAL_CHACHA_OUTPUT];
    memcpy(&key, root.key, sizeof key);
    for (size_t i = 0; i < sizeof key.words / sizeof key.words[0]; i++)
        key.words[i] ^= chunk->words[i];
    cal__chacha(&key, 0, no_nonce, CAL_RANDOM_ROOT_ROUNDS, output);
    memcpy(root.key, output, sizeof root.key);
    cal__wipe(output, sizeof output);
    cal__wipe(&key, sizeof key);
    cal__wipe(chunk, sizeof *chunk);
}

/* Not by libc's getrandom(), which is a cancellation point. */
static bool ask_kernel(struct chunk *chunk)
{
    if (root.refused)
        return false;
    long got = syscall(SYS_getrandom, chunk, sizeof *chunk, GRND_NONBLOCK);
    if (got == (long)sizeof *chunk)
        return true;
    /* EAGAIN: early at boot, and not for long. Whoever answers anything else will do so again. */
    root.refused = got >= 0 || (errno != EAGAIN && errno != EINTR);
    return false;
}

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec now = {0};
    /* Only where it is no system call. */
    if (getauxval(AT_SYSINFO_EHDR) != 0)
        clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t cycles(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    return 0;
#endif
}

/* The kernel's 16 random bytes at exec are libc's secrets, too: they go in here and never come out. */
static void absorb_surroundings(bool with_process)
{
    struct chunk chunk = {{0}};
    const void *at_exec = (const void *)getauxval(AT_RANDOM);
    if (at_exec != NULL)
        memcpy(chunk.words, at_exec, 16);
    chunk.words[2] = nanoseconds(CLOCK_MONOTONIC);
    chunk.words[3] = nanoseconds(CLOCK_REALTIME);
    absorb(&chunk);
    chunk.words[0] = cycles();
    chunk.words[1] = (uintptr_t)&chunk ^ (uint64_t)getauxval(AT_SYSINFO_EHDR) << 17;
    chunk.words[2] = (uintptr_t)&root ^ (uint64_t)(uintptr_t)&syscall << 17;
    chunk.words[3] = with_process ? (uint64_t)syscall(SYS_getpid) : 0;
    absorb(&chunk);
}

static void seed(void)
{
    int saved = errno;
    struct chunk chunk = {{0}};
    root.strong = ask_kernel(&chunk);
    absorb(&chunk);
    /* Two children may have the rest in common. */
    absorb_surroundings(!root.strong);
    errno = saved;
}

/* The latch is held. */
static void seed_if_needed(void)
{
    uint32_t generation = atomic_load_explicit(&cal__random_generation, memory_order_relaxed);
    if (root.generation != generation) {
        seed();
        root.generation = generation;
    }
}

void cal__random_start(void)
{
    cal__latch_acquire(&root.latch);
    seed_if_needed();
    cal__latch_release(&root.latch);
}

void cal__random_forked(void)
{
    /* What another thread was doing to the root's key in the parent does no harm: it is random bytes
     * in any state, and has others mixed in before it is used. */
    cal__latch_reset(&root.latch);
    uint32_t next = atomic_load_explicit(&cal__random_generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&cal__random_generation, next != 0 ? next : 1, memory_order_relaxed);
}

bool cal__random_is_strong(void)
{
    cal__latch_acquire(&root.latch);
    bool strong = root.strong;
    cal__latch_release(&root.latch);
    return strong;
}

static void take_key(unsigned char *key)
{
    unsigned char output[CAL_CHACHA_OUTPUT];
    cal__latch_acquire(&root.latch);
    seed_if_needed();
    cal__chacha(root.key, 0, no_nonce, CAL_RANDOM_ROOT_ROUNDS, output);
    memcpy(root.key, output, sizeof root.key);
    cal__latch_release(&root.latch);
    memcpy(key, output + sizeof root.key, CAL_CHACHA_KEY);
    cal__wipe(output, sizeof output);
}

CAL_NOINLINE void cal__random_refill(struct cal__random *random)
{
    uint32_t generation = atomic_load_explicit(&cal__random_generation, memory_order_relaxed);
    if (CAL_UNLIKELY(random->generation != generation)) {
        take_key(random->bytes);
        random->generation = generation;
    }
    cal__chacha(random->bytes, 0, no_nonce, CAL_RANDOM_ROUNDS, random->bytes);
    random->left = CAL_RANDOM_SPAN;
}

void cal__random_bytes(struct cal__random *random, void *memory, size_t size)
{
    unsigned char *bytes = memory;
    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), bytes += sizeof(uint64_t)) {
        uint64_t word = cal__random_64(random);
        memcpy(bytes, &word, sizeof word);
    }
    if (size != 0) {
        uint64_t word = cal__random_64(random);
        memcpy(bytes, &word, size);
    }
}

void cal__random_end(struct cal__random *random)
{
    cal__wipe(random, sizeof *random);
}

/* LIMIT numbers of 2^32 share what is left when 2^32 is divided by it; these are drawn again. */
CAL_COLD uint32_t cal__random_retry(struct cal__random *random, uint32_t limit, uint64_t product)
{
    uint32_t surplus = (uint32_t)-limit % limit;
    while ((uint32_t)product < surplus)
        product = (uint64_t)cal__random_32(random) * limit;
    return (uint32_t)(product >> 32);
}

CAL_COLD uint32_t cal__random_retry_small(struct cal__random *random, uint32_t limit,
                                          uint32_t product)
{
    uint32_t surplus = (65536 - limit) % limit;
    while ((uint16_t)product < surplus)
        product = (uint32_t)cal__random_16(random) * limit;
    return product >> 16;
}
