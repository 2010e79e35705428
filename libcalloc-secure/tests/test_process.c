/* The hardened heap in a process: threads and their ends, children, the exit, options, and how the library
 * gets there. */
#include "cases.h"

#include <sys/wait.h>

static void in_a_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    require(pthread_create(&thread, NULL, function, argument) == 0);
    require(pthread_join(thread, NULL) == 0);
}

/* Quarantine. */

enum { LIMIT = 64 << 10 };

static void quarantine_keeps_its_limit(void)
{
    void *first = opaque(malloc(100));
    free(first);
    for (size_t i = 0; i < 200000; i++) {
        free(malloc(1 + i % 2000));
        require(state_now().held_bytes <= LIMIT);
    }
    require(state_now().held_bytes > LIMIT / 2);
    /* None that is too large for it. */
    size_t before = state_now().held_bytes;
    free(malloc(100000));
    require(state_now().held_bytes == before);
}

/* A freed block is not handed out while it is held: until seven eighths of the limit came after it, less what may wait in
 * random places. */
static void quarantine_keeps_blocks(void)
{
    for (size_t round = 0; round < 200; round++) {
        void *block = opaque(malloc(64));
        free(block);
        for (size_t i = 0; i < 600; i++) {
            void *other = malloc(64);
            require(other != block);
            free(other);
        }
    }
}

static void *free_many(void *argument)
{
    for (size_t i = 0; i < 5000; i++)
        free(malloc(1 + i % 500));
    require(state_now().held_bytes > 0);
    return argument;
}

static void *write_and_end(void *argument)
{
    unsigned char *block = opaque(malloc(80));
    void *other = malloc(80);
    free(block);
    expect_of("write after free", block, 7, SIZE_MAX);
    block[7] = 1;
    (void)other;
    return argument;
}

/* What a thread holds is let go when it ends, and looked at. */
static void thread_ends(void)
{
    for (size_t i = 0; i < 50; i++)
        in_a_thread(free_many, NULL);
    require(cal_secure_validate() == 0);
}

static void quarantine_is_looked_at_when_a_thread_ends(void)
{
    in_a_thread(write_and_end, NULL);
}

/* The exit looks at all blocks (standard), those that are held too. */
__attribute__((unused)) static void overflow_at_exit(void)
{
    unsigned char *block = opaque(malloc(50));
    block[51] ^= 1;
    expect_of("overflow", block, 51, 50);
}

__attribute__((unused)) static void write_after_free_at_exit(void)
{
    unsigned char *block = opaque(malloc(50));
    free(block);
    block[20] = 1;
    expect_of("write after free", block, 20, SIZE_MAX);
}

/* Threads. */

enum { RING = 256, FREERS = 4 };
static _Atomic(unsigned char *) ring[FREERS][RING];
static _Atomic size_t done;

/* Each takes what another put there, looks at it and frees it; neighbours are in other threads' hands. */
static void *exchange(void *argument)
{
    size_t own = (size_t)(uintptr_t)argument, count = repeated(500000);
    uint64_t state = own + 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = next_number(&state);
        size_t size = 16 + (number >> 40) % 240;
        unsigned char *block = malloc(size);
        require(block != NULL);
        memset(block, (int)size, size);
        size_t to = (number >> 8) % FREERS, place = (number >> 16) % RING;
        unsigned char *old =
            __atomic_exchange_n((unsigned char **)&ring[to][place], block, __ATOMIC_ACQ_REL);
        if (old == NULL)
            continue;
        size_t had = malloc_usable_size(old);
        require(old[0] == (unsigned char)had && old[had - 1] == (unsigned char)had);
        if (number % 7 == 0)
            old = realloc(old, had + 1);
        free(old);
    }
    done++;
    return NULL;
}

static void threads_free_each_others_blocks(void)
{
    pthread_t threads[FREERS];
    done = 0;
    for (size_t i = 0; i < FREERS; i++)
        require(pthread_create(&threads[i], NULL, exchange, (void *)(uintptr_t)i) == 0);
    for (size_t i = 0; i < FREERS; i++)
        require(pthread_join(threads[i], NULL) == 0);
    require(cal_secure_validate() == 0);
}

static _Atomic bool stop;

__attribute__((unused)) static void *validate_all_the_time(void *argument)
{
    while (!stop)
        require(cal_secure_validate() == 0);
    return argument;
}

static void *large_blocks_all_the_time(void *argument)
{
    unsigned char *block = NULL;
    uint64_t state = 99;
    for (size_t i = 0; i < repeated(2000); i++) {
        size_t size = 131073 + next_number(&state) % 300000;
        block = i % 3 == 0 ? realloc(block, size) : (free(block), malloc(size));
        require(block != NULL);
        block[0] = block[size - 1] = 1;
    }
    free(block);
    return argument;
}

/* Blocks come and go meanwhile. */
__attribute__((unused)) static void validation_beside_threads(void)
{
    pthread_t validator, large[2];
    require(pthread_create(&validator, NULL, validate_all_the_time, NULL) == 0);
    for (size_t i = 0; i < 2; i++)
        require(pthread_create(&large[i], NULL, large_blocks_all_the_time, NULL) == 0);
    for (uint64_t i = 0, state = 5; i < repeated(30000); i++)
        free(malloc(1 + next_number(&state) % 5000));
    for (size_t i = 0; i < 2; i++)
        require(pthread_join(large[i], NULL) == 0);
    stop = true;
    require(pthread_join(validator, NULL) == 0);
}

/* Children. */

static void *allocate_until_stopped(void *argument)
{
    unsigned char *blocks[40] = {NULL};
    for (uint64_t state = (uintptr_t)argument + 3; !stop;) {
        uint64_t number = next_number(&state);
        free(blocks[number % 40]);
        blocks[number % 40] = malloc(1 + (number >> 20) % (number % 50 == 0 ? 400000 : 3000));
    }
    for (size_t i = 0; i < 40; i++)
        free(blocks[i]);
    return argument;
}

static void use_heap(void)
{
    static unsigned char *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = calloc(1, 1 + i * 700);
        require(blocks[i] != NULL && is_zero(blocks[i], 1 + i * 700));
        fill(blocks[i], 1 + i * 700, 3);
    }
    for (size_t i = 0; i < 300; i++) {
        require(is_filled(blocks[i], 1 + i * 700, 3));
        free(blocks[i]);
    }
}

static void children_of_threads(void)
{
    pthread_t threads[3];
    unsigned char *kept[200];
    for (size_t i = 0; i < 200; i++)
        fill(kept[i] = malloc(1 + i * 11), 1 + i * 11, (unsigned)i);
    for (size_t i = 0; i < 3; i++)
        require(pthread_create(&threads[i], NULL, allocate_until_stopped, (void *)(uintptr_t)i) ==
                0);
    for (size_t round = 0; round < 3 + repeated(10); round++) {
        pid_t child = fork();
        require(child >= 0);
        if (child == 0) {
            for (size_t i = 0; i < 200; i++) {
                require(is_filled(kept[i], 1 + i * 11, (unsigned)i));
                free(kept[i]);
            }
            use_heap();
            require(cal_secure_validate() == 0);
            require(cal_secure_level() != CAL_SECURE_OFF);
            _exit(0);
        }
        int status;
        require(waitpid(child, &status, 0) == child && status == 0);
    }
    stop = true;
    for (size_t i = 0; i < 3; i++)
        require(pthread_join(threads[i], NULL) == 0);
    require(cal_secure_validate() == 0);
}

/* A child has other random numbers than its parent. */
static void children_choose_other_slots(void)
{
    enum { BLOCKS = 40 };
    uintptr_t(*seen)[BLOCKS] = shared_memory(4 * sizeof *seen);
    free(malloc(48));
    for (size_t i = 0; i < 4; i++) {
        pid_t child = fork();
        require(child >= 0);
        if (child == 0) {
            for (size_t j = 0; j < BLOCKS; j++)
                seen[i][j] = (uintptr_t)malloc(48);
            _exit(0);
        }
        int status;
        require(waitpid(child, &status, 0) == child && status == 0);
    }
    /* Of what was drawn before the fork a few slots may be left. */
    size_t same = 0;
    for (size_t j = 20; j < BLOCKS; j++)
        same += seen[0][j] == seen[1][j];
    require(same < 15);
}

static void error_in_a_child(void)
{
    free(malloc(10));
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        unsigned char *block = opaque(malloc(41));
        block[41] ^= 1;
        expect_of("overflow", block, 41, 41);
        free(block);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child);
    require(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Options. */

static void level_is_light(void)
{
    require(cal_secure_level() == CAL_SECURE_LIGHT);
}

static void level_is_standard(void)
{
    require(cal_secure_level() == CAL_SECURE_STANDARD);
}

static void is_off(void)
{
    require(cal_secure_level() == CAL_SECURE_OFF);
    require(state_now().guards_budget == 0);
    use_heap();
    unsigned char *block = opaque(malloc(41));
    block[41] ^= 1;
    require(cal_secure_validate() == 0);
    require(cal_secure_object_size(block) == SIZE_MAX);
    free(block);
}

static void off_says_a_mistake_once(void)
{
    expect("libcalloc: unknown setting 'secure.nonsense=1' in CALLOC_OPTIONS, ignored "
           "(libcalloc-secure(7) lists them)\n");
    is_off();
}

static void mistakes_are_said(void)
{
    expect("libcalloc: bad value 'secure.canary=7' in CALLOC_OPTIONS, ignored (0 to 1)\n");
    expect("libcalloc: unknown setting 'secure.nonsense' in CALLOC_OPTIONS, ignored "
           "(libcalloc-secure(7) lists them)\n");
    expect("libcalloc: bad value 'secure.level=high' in CALLOC_OPTIONS, ignored "
           "(light, standard or paranoid)\n");
    use_heap();
}

static void random_is_weak_but_works(void)
{
    require(!state_now().strong_random);
    use_heap();
    for (size_t i = 0; i < 4; i++)
        in_a_thread(large_blocks_all_the_time, NULL);
    require(cal_secure_validate() == 0);
}

/* Addresses that wait. */

static void addresses_wait(void)
{
    enum { SIZE = 1 << 20 };
    size_t least = (size_t)64 << 20;
    unsigned char *first = opaque(malloc(SIZE));
    free(first);
    for (size_t i = 0; i < 40; i++) {
        unsigned char *block = opaque(malloc(SIZE));
        require(block + SIZE <= first || block >= first + SIZE);
        free(block);
    }
    for (size_t i = 0; i < 2000; i++) {
        free(malloc(SIZE));
        require(state_now().waiting_bytes <= least);
    }
    require(state_now().waiting_bytes > least / 2);
    /* What is larger than all that may wait does not. */
    size_t before = state_now().waiting_bytes;
    free(malloc(least + 1));
    require(state_now().waiting_bytes == before);
    require(cal_secure_validate() == 0);
}

static void no_addresses_wait(void)
{
    for (size_t i = 0; i < 1000; i++) {
        unsigned char *block = calloc(1, 1 << 20);
        require(block != NULL && is_zero(block, 1 << 20));
        memset(block, 1, 1 << 20);
        free(block);
        require(state_now().waiting_bytes == 0);
    }
}

/* More blocks than there are places. */
static void many_addresses_wait(void)
{
    for (size_t i = 0; i < 10000; i++)
        free(malloc(140000));
    require(state_now().waiting_bytes <= (size_t)4096 * 256 << 10);
    require(cal_secure_validate() == 0);
}

/* Guards. */

static void guards_stay_within_their_budget(void)
{
    enum { BLOCKS = 2000 };
    static unsigned char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        require((blocks[i] = malloc(200000)) != NULL);
        blocks[i][0] = blocks[i][199999] = 1;
    }
    struct cal_secure_state state = state_now();
    require(state.guards_protected <= state.guards_budget && state.guards_marked == 0);
    require(state.guards_refused > 0);
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    use_heap();
    require(cal_secure_validate() == 0);
}

#define LIGHT    "secure.level=light"
#define STANDARD "secure.level=standard"
/* clang-format off */
static const struct test_case cases[] = {
    {"quarantine_keeps_its_limit", STANDARD, quarantine_keeps_its_limit, 0, true, 0},
    {"quarantine_keeps_blocks", STANDARD, quarantine_keeps_blocks, 0, true, 0},
    {"thread_ends light", LIGHT ",secure.quarantine=64K", thread_ends, 0, true, 0},
    {"thread_ends", STANDARD, thread_ends, 0, true, 0},
    {"quarantine_is_looked_at_when_a_thread_ends", STANDARD, quarantine_is_looked_at_when_a_thread_ends, -SIGABRT, false, 0},
    {"quarantine_is_looked_at_when_a_thread_ends log", STANDARD ",secure.on_write_after_free=log", quarantine_is_looked_at_when_a_thread_ends, 0, false, 0},
/* Linked statically, the core has no destructor unless its statistics are asked for. */
#ifndef LINKED_STATICALLY
    {"overflow_at_exit", STANDARD, overflow_at_exit, -SIGABRT, false, 0},
    {"overflow_at_exit log", STANDARD ",secure.on_overflow=log", overflow_at_exit, 0, false, 0},
    {"overflow_at_exit light", LIGHT, overflow_at_exit, -SIGABRT, false, 0},
    {"write_after_free_at_exit", STANDARD, write_after_free_at_exit, -SIGABRT, false, 0},
#endif
    {"write_after_free_at_exit off", STANDARD ",secure.validate_at_exit=0", write_after_free_at_exit, 0, true, 0},
    {"threads_free_each_others_blocks light", LIGHT, threads_free_each_others_blocks, 0, true, 0},
    {"threads_free_each_others_blocks standard", STANDARD, threads_free_each_others_blocks, 0, true, 0},
/* Looks at what other threads may be writing, and then looks again. */
#ifndef __SANITIZE_THREAD__
    {"validation_beside_threads light", LIGHT, validation_beside_threads, 0, true, 0},
    {"validation_beside_threads standard", STANDARD, validation_beside_threads, 0, true, 0},
#endif
    {"children_of_threads light", LIGHT, children_of_threads, 0, true, 0},
    {"children_of_threads standard", STANDARD, children_of_threads, 0, true, 0},
    {"children_choose_other_slots", LIGHT, children_choose_other_slots, 0, true, 0},
    {"children_choose_other_slots standard", STANDARD, children_choose_other_slots, 0, true, 0},
    {"error_in_a_child", LIGHT, error_in_a_child, 0, false, 0},
    {"level_is_light", "", level_is_light, 0, true, 0},
    {"level_is_standard", STANDARD, level_is_standard, 0, true, 0},
    {"is_off", "secure.enable=0", is_off, 0, true, 0},
    {"is_off standard", STANDARD ",secure.enable=0", is_off, 0, true, 0},
    {"off_says_a_mistake_once", "secure.enable=0,secure.nonsense=1", off_says_a_mistake_once, 0, false, 0},
    {"mistakes_are_said", "secure.canary=7,secure.nonsense,secure.level=high", mistakes_are_said, 0, false, 0},
    {"random_is_weak_but_works", LIGHT, random_is_weak_but_works, 0, true, ENOSYS},
    {"random_is_weak_but_works standard", STANDARD, random_is_weak_but_works, 0, true, EPERM},
    {"addresses_wait", LIGHT ",secure.address_quarantine=64M", addresses_wait, 0, true, 0},
    {"addresses_wait protected", LIGHT ",secure.address_quarantine=64M"
     ",secure.guard_protect_only=1", addresses_wait, 0, true, 0},
    {"no_addresses_wait", LIGHT, no_addresses_wait, 0, true, 0},
    {"many_addresses_wait", STANDARD ",secure.address_quarantine=1024G", many_addresses_wait, 0, true, 0},
    {"many_addresses_wait protected", STANDARD ",secure.address_quarantine=1024G,secure.guard_protect_only=1", many_addresses_wait, 0, true, 0},
    {"guards_stay_within_their_budget", LIGHT ",secure.guard_protect_only=1,secure.guard_percent=1", guards_stay_within_their_budget, 0, true, 0},
    {"guards_stay_within_their_budget standard", STANDARD ",secure.guard_protect_only=1,secure.guard_percent=1", guards_stay_within_their_budget, 0, true, 0},
};
/* clang-format on */

int main(int count, char **arguments)
{
    return run_cases(count, arguments, cases, sizeof cases / sizeof *cases);
}
