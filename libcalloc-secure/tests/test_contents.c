/* What is in blocks of the hardened heap, behind them and before them. */
#include <sys/wait.h>

#include "cases.h"

/* Around the borders of classes, and where blocks by themselves begin. */
static const size_t borders[] = {1024, 2048, 4096, 5120, 8192, 16384, 65536, 98304, 131072};
enum { BORDERS = sizeof borders / sizeof *borders };

/* Every byte of the slack is looked at, up to SIZE's own. With `ignore` the number of errors is told. */
static void every_byte_of(size_t size)
{
    unsigned char *block = opaque(malloc(size));
    require(block != NULL);
    size_t room = room_of(block);
    require(room >= size + (size <= 131072 ? 8 : 0));
    memset(block, 0, size);
    for (size_t i = size; i < room; i++) {
        for (unsigned bit = 1; bit < 256; bit <<= 5) {
            block[i] ^= (unsigned char)bit;
            require(cal_secure_validate() == 1);
            block[i] ^= (unsigned char)bit;
        }
    }
    require(cal_secure_validate() == 0);
    free(block);
}

static void every_byte_of_small_blocks(void)
{
    for (size_t size = 1; size <= 300; size += repeated(20) >= 20 ? 1 : 37)
        every_byte_of(size);
}

/* All of the slack would be thousands of looks. */
static void first_and_last_bytes_of(size_t size, size_t bound)
{
    unsigned char *block = opaque(malloc(size));
    require(block != NULL);
    size_t room = room_of(block), slack = room - size;
    for (size_t i = 0; i < slack; i++) {
        bool covered = i < bound || slack - i <= 32;
        if (i == bound + 4 && slack > bound + 56)
            i = slack - 46;
        covered = i < bound || slack - i <= 32;
        block[size + i] ^= 0x10;
        require(cal_secure_validate() == covered);
        block[size + i] ^= 0x10;
    }
    free(block);
}

static void bytes_at_borders_of(size_t bound)
{
    for (size_t i = 0; i < BORDERS; i++)
        for (size_t below = 0; below <= 40; below += below < 18 ? 1 : 11) {
            first_and_last_bytes_of(borders[i] - below, bound);
            first_and_last_bytes_of(borders[i] + below, bound);
        }
}

static void bytes_at_borders(void)
{
    bytes_at_borders_of(32);
}

static void more_bytes_at_borders(void)
{
    bytes_at_borders_of(64);
}

/* Whether free() ends the process, in a child. */
static bool is_seen_by_free(unsigned char *block)
{
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        free(block);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child);
    require(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGABRT);
    return WIFSIGNALED(status);
}

/* It does not look by the functions that validate. Of long slack some bytes are left out, beside the borders of what is
 * covered. */
static void every_byte_is_seen_by_free(void)
{
    static const size_t sizes[] = {1, 9, 24, 41, 100, 200, 321, 513, 1025, 2049};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *block = opaque(malloc(sizes[i]));
        size_t slack = room_of(block) - sizes[i];
        for (size_t at = 0; at < slack; at++) {
            bool covered = at < 32 || slack - at <= 32;
            if (!covered && at > 34 && slack - at > 34)
                continue;
            block[sizes[i] + at] ^= 0x10;
            require(is_seen_by_free(block) == covered);
            block[sizes[i] + at] ^= 0x10;
        }
        free(block);
    }
}

/* It is no canary where the block is one by itself. */
static void large_blocks_may_hold_anything(void)
{
    static const size_t sizes[] = {200000, 262144, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t *words = opaque(malloc(sizes[i]));
        for (size_t j = 0; j < sizes[i] / sizeof *words; j++)
            words[j] = (sizes[i] & ~(size_t)0xff00) | 0x80;
        free(words);
    }
}

static void large_blocks_have_their_slack_covered(void)
{
    for (size_t size = 131073; size < 131073 + 33; size++)
        every_byte_of(size);
    every_byte_of(1000001);
}

/* A large block ends at its guard page but for its alignment. */
static void write_one(volatile unsigned char *at)
{
    *at = 1;
}

__attribute__((unused)) static void large_overflow_faults(void)
{
    unsigned char *block = opaque(malloc(200000));
    require(room_of(block) - 200000 < 16);
    memset(block, 1, 200000);
    write_one(block + room_of(block));
}

__attribute__((unused)) static void large_underflow_faults(void)
{
    unsigned char *block = opaque(malloc(200000));
    memset(block, 1, 200000);
    const struct cal_slab *slab = slab_of(block);
    require((size_t)(block - (unsigned char *)slab->address) >= 4096);
    write_one((unsigned char *)((uintptr_t)block & ~(uintptr_t)4095) - 1);
}

/* One that starts with a page has a guard before it at each level. */
__attribute__((unused)) static void page_underflow_faults(void)
{
    unsigned char *block = opaque(malloc(65536 * 4));
    memset(block, 1, 65536 * 4);
    require((uintptr_t)block % 4096 == 0);
    write_one(block - 1);
}

__attribute__((unused)) static void freed_large_block_faults(void)
{
    unsigned char *block = opaque(malloc(200000));
    free(block);
    write_one(block + 100000);
}

/* Sizes of all kinds, from 1 byte to a few hundred KiB. */
static size_t some_size(uint64_t *state)
{
    uint64_t number = next_number(state);
    return 1 + (size_t)((number >> 8) % ((uint64_t)1 << (number % 19)));
}

enum { LIVE = 500 };

static void calloc_is_zero_after_dirty_frees(void)
{
    static unsigned char *blocks[LIVE];
    static size_t sizes[LIVE];
    uint64_t state = 88172645463325252;
    for (size_t i = 0; i < repeated(10000); i++) {
        size_t at = (size_t)(next_number(&state) >> 33) % LIVE;
        require(blocks[at] == NULL || is_filled(blocks[at], sizes[at], (unsigned)at));
        free(blocks[at]);
        sizes[at] = some_size(&state);
        blocks[at] = calloc(1, sizes[at]);
        require(blocks[at] != NULL && is_zero(blocks[at], sizes[at]));
        require(malloc_usable_size(blocks[at]) == sizes[at]);
        fill(blocks[at], sizes[at], (unsigned)at);
    }
    require(cal_secure_validate() == 0);
}

/* Memory that was handed out by malloc is zero too, where freed blocks are. */
static void malloc_shows_nothing_of_before(void)
{
    uint64_t state = 88172645463325252;
    for (size_t i = 0; i < repeated(50000); i++) {
        size_t size = some_size(&state);
        unsigned char *block = malloc(size);
        require(block != NULL && is_zero(block, size));
        memset(block, 0xee, size);
        free(block);
    }
}

/* What realloc gives beyond the old size is zero: neither the canary nor what was given up is there. */
static void realloc_between(size_t from, size_t to)
{
    unsigned char *block = malloc(from);
    require(block != NULL);
    fill(block, from, (unsigned)to);
    unsigned char *now = realloc(block, to);
    require(now != NULL && malloc_usable_size(now) == to);
    require(is_filled(now, from < to ? from : to, (unsigned)to));
    require(from >= to || is_zero(now + from, to - from));
    /* Back again: what was given up is not there. */
    unsigned char *back = realloc(now, from);
    size_t kept = from < to ? from : to;
    require(back != NULL && is_filled(back, kept, (unsigned)to));
    require(is_zero(back + kept, from - kept));
    free(back);
}

static void realloc_leaks_no_canary(void)
{
    for (size_t from = 1; from <= 300; from += 3)
        for (size_t to = 1; to <= 320; to += 5)
            realloc_between(from, to);
    for (size_t i = 0; i < BORDERS; i++)
        for (size_t j = 0; j < BORDERS; j++)
            for (size_t below = 0; below < 20; below += 9) {
                realloc_between(borders[i] - below, borders[j] + below);
                realloc_between(borders[i] + below, borders[j] - below);
            }
    realloc_between(200000, 200001);
    realloc_between(200000, 200016);
    realloc_between(200000, 150000);
    realloc_between(5000000, 9000000);
    require(cal_secure_validate() == 0);
}

static void realloc_chain(void)
{
    uint64_t state = 7;
    unsigned char *block = NULL;
    size_t size = 0;
    for (size_t i = 0; i < repeated(20000); i++) {
        size_t next = some_size(&state);
        block = realloc(block, next);
        require(block != NULL && is_filled(block, size < next ? size : next, 5));
        fill(block, next, 5);
        size = next;
    }
    free(block);
    require(cal_secure_validate() == 0);
}

static void aligned(void)
{
    for (size_t alignment = 16; alignment <= (size_t)1 << 20; alignment *= 2)
        for (size_t size = 1; size <= (size_t)1 << 20; size = size * 9 + 7) {
            void *block;
            require(posix_memalign(&block, alignment, size) == 0);
            require((uintptr_t)block % alignment == 0);
            require(malloc_usable_size(block) == size);
            require(cal_secure_object_size(block) == size);
            memset(block, 0x44, size);
            free(block);
            unsigned char *zeroed = cal_allocate_aligned(size, alignment);
            require(zeroed != NULL && (uintptr_t)zeroed % alignment == 0);
            memset(zeroed, 0x44, size);
            free(zeroed);
        }
    require(cal_secure_validate() == 0);
}

static void sizes_are_known(size_t size)
{
    unsigned char *block = malloc(size);
    require(malloc_usable_size(block) == size);
    for (size_t i = 0; i < size; i += 1 + size / 50)
        require(cal_secure_object_size(block + i) == size - i);
    require(cal_secure_object_size(block + size - 1) == 1);
    if (room_of(block) > size)
        require(cal_secure_object_size(block + size) == 0);
    void *freed = opaque(block);
    free(block);
    size_t after = cal_secure_object_size(freed);
    require(after == 0 || after == SIZE_MAX);
}

static void object_sizes(void)
{
    int local = 0;
    for (size_t size = 1; size < 400; size++)
        sizes_are_known(size);
    for (size_t i = 0; i < BORDERS; i++) {
        sizes_are_known(borders[i] - 1);
        sizes_are_known(borders[i]);
        sizes_are_known(borders[i] + 1);
    }
    sizes_are_known(200000);
    sizes_are_known(10000000);
    require(cal_secure_object_size(&local) == SIZE_MAX);
    require(cal_secure_object_size(NULL) == SIZE_MAX);
}

/* Freed blocks that wait are known, and have no bytes. */
static void object_size_of_what_waits(void)
{
    void *small = opaque(malloc(100)), *large = opaque(malloc(200000));
    free(small);
    free(large);
    require(cal_secure_object_size(small) == 0);
    require(cal_secure_object_size(large) == 0);
}

static void validation_counts(void)
{
    unsigned char *blocks[50];
    for (size_t i = 0; i < 50; i++)
        blocks[i] = opaque(malloc(10 + 30 * i));
    unsigned char *large = opaque(malloc(200001));
    require(cal_secure_validate() == 0);
    for (size_t i = 0; i < 50; i++) {
        blocks[i][10 + 30 * i] ^= 1;
        require(cal_secure_validate() == (int)i + 1);
    }
    large[200001] ^= 1;
    require(cal_secure_validate() == 51);
    large[200001] ^= 1;
    for (size_t i = 0; i < 50; i++)
        blocks[i][10 + 30 * i] ^= 1;
    require(cal_secure_validate() == 0);
}

static void state_is_told(void)
{
    struct cal_secure_state state = {.size = sizeof state};
    require(cal_secure_state(NULL) == -EINVAL);
    state.size = sizeof state.size;
    require(cal_secure_state(&state) == -EINVAL);
    state.size = sizeof state;
    free(malloc(200000));
    free(malloc(100));
    require(cal_secure_state(&state) == 0);
    require(state.size == sizeof state && state.level == cal_secure_level());
    require(state.strong_random && state.waiting_bytes >= 200000);
    require(state.guards_marked + state.guards_protected > 0 && state.guards_budget > 0);
    require((state.held_bytes >= 100) == (state.level == CAL_SECURE_STANDARD));
    /* An older program's structure is shorter. */
    memset(&state, 0x66, sizeof state);
    state.size = offsetof(struct cal_secure_state, held_bytes);
    require(cal_secure_state(&state) == 0 && state.held_bytes == 0x6666666666666666);
}

/* What level light leaves out for large blocks. */
#define LARGE "secure.level=light,secure.zero_large=1,secure.address_quarantine=64M"

/* One mechanism after another is off: what the others promise stays. */
#define BOTH(function)                                                       \
    {#function " light", "secure.level=light", function, 0, true, 0},        \
    {                                                                        \
#        function " standard", "secure.level=standard", function, 0, true, 0 \
    }
#define WITHOUT(function, setting)                                                                \
    {                                                                                             \
#        function " without " setting, "secure.level=standard,secure." setting "=0", function, 0, \
            true, 0                                                                               \
    }
#define WITHOUT_EACH(function)                                                    \
    WITHOUT(function, "canary"), WITHOUT(function, "zero_on_free"),               \
        WITHOUT(function, "write_after_free"), WITHOUT(function, "neighbours"),   \
        WITHOUT(function, "quarantine"), WITHOUT(function, "address_quarantine"), \
        WITHOUT(function, "guard_interval"), WITHOUT(function, "guard_large"),    \
        WITHOUT(function, "large_at_end"), WITHOUT(function, "random_slots"),     \
        WITHOUT(function, "validate_at_close"), WITHOUT(function, "guard_protect_first")
#define IGNORED "secure.on_overflow=ignore"

/* clang-format off */
static const struct test_case cases[] = {
    {"every_byte_of_small_blocks", IGNORED ",secure.canary_bytes=1M", every_byte_of_small_blocks, 0, true, 0},
    {"bytes_at_borders", IGNORED, bytes_at_borders, 0, true, 0},
    {"bytes_at_borders longer", IGNORED ",secure.canary_bytes=64", more_bytes_at_borders, 0, true, 0},
    {"every_byte_is_seen_by_free light", "secure.level=light", every_byte_is_seen_by_free, 0, true, 0},
    {"every_byte_is_seen_by_free standard", "secure.level=standard", every_byte_is_seen_by_free, 0, true, 0},
    BOTH(large_blocks_may_hold_anything),
    {"large_blocks_have_their_slack_covered", IGNORED, large_blocks_have_their_slack_covered, 0, true, 0},
/* The sanitizers that have names of their own for the family end a process that faults in their own way. */
#ifndef CAL_FAMILY_PREFIX
    {"large_overflow_faults", "", large_overflow_faults, -SIGSEGV, true, 0},
    {"large_overflow_faults protected", "secure.guard_protect_only=1", large_overflow_faults, -SIGSEGV, true, 0},
    {"page_underflow_faults", "secure.level=light", page_underflow_faults, -SIGSEGV, true, 0},
    {"large_underflow_faults", "secure.guard_large=2", large_underflow_faults, -SIGSEGV, true, 0},
    {"large_underflow_faults marked", "secure.guard_large=2,secure.guard_protect_first=0", large_underflow_faults, -SIGSEGV, true, 0},
    {"freed_large_block_faults", "secure.address_quarantine=64M", freed_large_block_faults, -SIGSEGV, true, 0},
#endif
    BOTH(calloc_is_zero_after_dirty_frees),
    WITHOUT_EACH(calloc_is_zero_after_dirty_frees),
    {"malloc_shows_nothing_of_before light", LARGE, malloc_shows_nothing_of_before, 0, true, 0},
    {"malloc_shows_nothing_of_before standard", "secure.level=standard", malloc_shows_nothing_of_before, 0, true, 0},
    {"realloc_leaks_no_canary light", LARGE, realloc_leaks_no_canary, 0, true, 0},
    {"realloc_leaks_no_canary standard", "secure.level=standard", realloc_leaks_no_canary, 0, true, 0},
    WITHOUT(realloc_leaks_no_canary, "large_at_end"),
    WITHOUT(realloc_leaks_no_canary, "quarantine"),
    WITHOUT(realloc_leaks_no_canary, "guard_large"),
    BOTH(realloc_chain),
    WITHOUT_EACH(realloc_chain),
    BOTH(aligned),
    WITHOUT_EACH(aligned),
    BOTH(object_sizes),
    WITHOUT_EACH(object_sizes),
    {"object_size_of_what_waits", "secure.level=standard", object_size_of_what_waits, 0, true, 0},
    {"validation_counts", IGNORED, validation_counts, 0, true, 0},
    {"validation_counts standard", "secure.level=standard," IGNORED, validation_counts, 0, true, 0},
    {"state_is_told light", LARGE, state_is_told, 0, true, 0},
    {"state_is_told standard", "secure.level=standard", state_is_told, 0, true, 0},
};
/* clang-format on */

int main(int count, char **arguments)
{
    return run_cases(count, arguments, cases, sizeof cases / sizeof *cases);
}
