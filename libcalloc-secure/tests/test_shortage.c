/* The hardened heap where memory, address space or mappings are short. */
#include "cases.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Bytes of address space that the process has. */
static size_t address_space(void)
{
    char line[100];
    FILE *file = fopen("/proc/self/statm", "r");
    require(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    return strtoul(line, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void leave_address_space(size_t bytes)
{
    struct rlimit limit;
    require(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = address_space() + bytes;
    require(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void free_large_blocks(size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(malloc(1 << 20));
}

static void trimming_empties_quarantines(void)
{
    for (size_t i = 0; i < 1000; i++)
        free(malloc(1 + i % 500));
    free_large_blocks(20);
    require(state_now().held_bytes != 0 && state_now().waiting_bytes != 0);
    malloc_trim(0);
    require(state_now().held_bytes == 0 && state_now().waiting_bytes == 0);
    require(cal_secure_validate() == 0);
}

enum { PIECE = 1000, PIECES = 36000, HOLDERS = 3 };
static unsigned char *pieces[PIECES];
static pthread_barrier_t barrier;

static void allocate_pieces(size_t least)
{
    size_t got = 0;
    for (; got < PIECES && (pieces[got] = malloc(PIECE)) != NULL; got++)
        memset(pieces[got], 1, PIECE);
    require(got >= least);
}

static void *hold_pieces(void *argument)
{
    size_t part = (uintptr_t)argument;
    for (size_t i = part * (PIECES / HOLDERS); i < (part + 1) * (PIECES / HOLDERS); i++)
        free(pieces[i]);
    require(state_now().held_bytes > 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    /* What is let go of is not held. */
    require(state_now().held_bytes == 0);
    for (size_t i = 0; i < 10000; i++)
        free(malloc(100));
    return NULL;
}

__attribute__((unused)) static void start_holders(pthread_t threads[HOLDERS])
{
    require(pthread_barrier_init(&barrier, NULL, HOLDERS + 1) == 0);
    allocate_pieces(PIECES);
    for (size_t i = 0; i < HOLDERS; i++)
        require(pthread_create(&threads[i], NULL, hold_pieces, (void *)(uintptr_t)i) == 0);
    pthread_barrier_wait(&barrier);
}

/* Who needs memory gets what other threads hold, though they do nothing. */
__attribute__((unused)) static void held_memory_is_had_again(void)
{
    pthread_t threads[HOLDERS];
    start_holders(threads);
    leave_address_space(4 << 20);
    /* 4352 blocks at most are held by each. */
    allocate_pieces(PIECES - PIECES / 50);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < HOLDERS; i++)
        require(pthread_join(threads[i], NULL) == 0);
    require(cal_secure_validate() == 0);
}

/* The child has what threads held that it does not have. */
__attribute__((unused)) static void children_drain_what_threads_held(void)
{
    pthread_t threads[HOLDERS];
    start_holders(threads);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        leave_address_space(4 << 20);
        allocate_pieces(PIECES - PIECES / 50);
        malloc_trim(0);
        require(cal_secure_validate() == 0);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0);
    malloc_trim(0);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < HOLDERS; i++)
        require(pthread_join(threads[i], NULL) == 0);
}

static void *allocate_some(void *argument)
{
    for (size_t i = 0; i < 5000; i++)
        free(malloc(1 + i % 500));
    return argument;
}

/* While others free and end. */
static void draining_beside_threads(void)
{
    pthread_t threads[3];
    for (size_t round = 0; round < 2 + repeated(40); round++) {
        for (size_t i = 0; i < 3; i++)
            require(pthread_create(&threads[i], NULL, allocate_some, NULL) == 0);
        for (size_t i = 0; i < 20; i++) {
            free(malloc(500));
            malloc_trim(0);
        }
        for (size_t i = 0; i < 3; i++)
            require(pthread_join(threads[i], NULL) == 0);
    }
    require(cal_secure_validate() == 0);
}

__attribute__((unused)) static void waiting_addresses_are_had_again(void)
{
    free_large_blocks(600);
    size_t waited = state_now().waiting_bytes;
    require(waited > (size_t)500 << 20);
    leave_address_space(16 << 20);
    unsigned char *block = malloc((size_t)400 << 20);
    require(block != NULL && state_now().waiting_bytes < waited / 2);
    block[0] = block[((size_t)400 << 20) - 1] = 1;
    free(block);
    require(cal_secure_validate() == 0);
}

/* The program maps memory of its own, and nobody is asked. */
__attribute__((unused)) static void a_lower_limit_is_noticed(void)
{
    free_large_blocks(600);
    require(state_now().waiting_bytes > (size_t)500 << 20);
    leave_address_space(64 << 20);
    free_large_blocks(16);
    void *own = mmap(NULL, (size_t)300 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(own != MAP_FAILED);
    require(munmap(own, (size_t)300 << 20) == 0);
    /* And stays so. */
    free_large_blocks(2000);
    own = mmap(NULL, (size_t)200 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(own != MAP_FAILED);
    require(cal_secure_validate() == 0);
}

static size_t live_now(void)
{
    struct cal_statistics now = {.size = sizeof now};
    require(cal_stats(&now) == 0);
    return now.active_allocations;
}

/* Blocks of all sizes, all of them written. Where mappings are used up there may be no memory, but no fault. */
static size_t churn(size_t count, uint64_t seed)
{
    enum { PLACES = 64 };
    unsigned char *blocks[PLACES] = {NULL};
    size_t got = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = next_number(&seed);
        size_t size = (number >> 20) % (number % 4 != 0 ? 800000 : 5000) + 1;
        unsigned char **place = &blocks[(number >> 8) % PLACES];
        free(*place);
        if ((*place = malloc(size)) != NULL) {
            memset(*place, 1, size);
            got++;
        }
    }
    for (size_t i = 0; i < PLACES; i++)
        free(blocks[i]);
    return got;
}

/* Returns what has used them up. */
static char *use_up_mappings(size_t most)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = 0;
    char *others = mmap(NULL, most * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(others != MAP_FAILED);
    while (used < most / 2 && mprotect(others + 2 * used * page, page, PROT_READ | PROT_WRITE) == 0)
        used++;
    require(used < most / 2);
    return others;
}

/* Of many neighbours that wait each is a part of one mapping, of which the kernel makes three when one leaves. A large
 * one sends them all away at once. */
enum { NEIGHBOURS = 20 };

__attribute__((unused)) static void neighbours_leave(void)
{
    size_t most = max_map_count();
    if (most == 0 || most > 200000)
        _exit(77);
    unsigned char *before[3 * NEIGHBOURS];
    unsigned char *large = malloc(3500000);
    for (size_t i = 0; i < 3 * NEIGHBOURS; i++) {
        require((before[i] = malloc(140000)) != NULL);
        memset(before[i], 1, 140000);
    }
    for (size_t i = 0; i < NEIGHBOURS; i++)
        free(before[NEIGHBOURS + i * 7 % NEIGHBOURS]);
    require(state_now().waiting_bytes > NEIGHBOURS * 140000);
    char *others = use_up_mappings(most);
    free(large);
    for (size_t i = NEIGHBOURS; i < 2 * NEIGHBOURS; i++)
        if ((before[i] = malloc(140000)) != NULL)
            memset(before[i], 1, 140000);
    require(munmap(others, most * (size_t)sysconf(_SC_PAGESIZE)) == 0);
    for (size_t i = 0; i < 3 * NEIGHBOURS; i++)
        free(before[i]);
    require(cal_secure_validate() == 0);
}

static void mappings_run_out_here(void)
{
    size_t most = max_map_count();
    if (most == 0 || most > 200000)
        _exit(77);
    malloc_trim(0);
    size_t live = live_now();
    churn(3000, 1);
    char *others = use_up_mappings(most);
    size_t got = 0;
    for (uint64_t seed = 2; seed < 6; seed++) {
        got += churn(2000, seed);
        malloc_trim(0);
    }
    require(got > 1000);
    require(live_now() == live);
    require(munmap(others, most * (size_t)sysconf(_SC_PAGESIZE)) == 0);
    require(churn(3000, 7) == 3000);
    malloc_trim(0);
    require(live_now() == live && state_now().waiting_bytes == 0);
    require(cal_secure_validate() == 0);
}

/* In a child whose parent has the same pages the kernel joins mappings less readily. */
__attribute__((unused)) static void mappings_run_out(void)
{
    churn(3000, 9);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        mappings_run_out_here();
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        _exit(77);
    require(status == 0);
    mappings_run_out_here();
}

#define LIGHT    "secure.level=light"
#define STANDARD "secure.level=standard"
/* clang-format off */
static const struct test_case cases[] = {
    {"trimming_empties_quarantines", STANDARD, trimming_empties_quarantines, 0, true, 0},
    {"draining_beside_threads", STANDARD, draining_beside_threads, 0, true, 0},
    {"draining_beside_threads light", LIGHT, draining_beside_threads, 0, true, 0},
/* A sanitizer needs more address space, and mappings, of its own. */
#ifndef LINKED_STATICALLY
    {"held_memory_is_had_again", STANDARD ",secure.quarantine=64M", held_memory_is_had_again, 0, true, 0},
    {"children_drain_what_threads_held", STANDARD ",secure.quarantine=64M", children_drain_what_threads_held, 0, true, 0},
    {"waiting_addresses_are_had_again", STANDARD, waiting_addresses_are_had_again, 0, true, 0},
    {"a_lower_limit_is_noticed", STANDARD, a_lower_limit_is_noticed, 0, true, 0},
    {"neighbours_leave", STANDARD ",secure.guard_protect_only=1,secure.address_quarantine=4M", neighbours_leave, 0, true, 0},
    {"mappings_run_out", STANDARD ",secure.guard_protect_only=1,secure.address_quarantine=4M", mappings_run_out, 0, true, 0},
    {"mappings_run_out marked", STANDARD ",secure.address_quarantine=4M", mappings_run_out, 0, true, 0},
#endif
};
/* clang-format on */

int main(int count, char **arguments)
{
    return run_cases(count, arguments, cases, sizeof cases / sizeof *cases);
}
