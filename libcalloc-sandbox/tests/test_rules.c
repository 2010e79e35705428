/* The table of rules has nothing too much: without any one of them, what the allocator and its add-ons
 * do ends by SIGSYS in a filter that kills. With all of them it does not.
 *
 *   test_rules            the tests
 *   test_rules MISSING    does all of it in a filter without the rule of that number
 *
 * Each try is a program of its own, because options of the allocator are read when it starts. */
#include "support.h"

#include <calloc/hooks.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "rules.h"
#include "workload.h"

#ifndef MADV_GUARD_INSTALL
#    define MADV_GUARD_INSTALL 102
#    define MADV_GUARD_REMOVE  103
#endif

enum { SLOTS = 512, LARGEST = 22, STEPS = 20000, HUGE = 16 << 20, PAGE = 65536 };

static _Atomic(size_t *) slots[SLOTS];
static struct workload workload;

/* --- the core's own calls ---------------------------------------------------- */

static void use_heap(void)
{
    uint64_t random = 77;
    require(workload_run(&workload, &random, STEPS) == NULL);
    require(workload_end(&workload) == NULL);
}

/* Blocks that are moved page by page are in many mappings of the kernel; what becomes of them is mapped
 * anew when it is given back. */
static void move_blocks(void)
{
    enum { BLOCKS = 6 };
    char *blocks[BLOCKS];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = malloc(HUGE / 2);
            require(blocks[i] != NULL);
            memset(blocks[i], 1, HUGE / 2);
        }
        for (size_t i = 0; i < BLOCKS; i += 2) {
            blocks[i] = realloc(blocks[i], HUGE);
            require(blocks[i] != NULL);
        }
        for (size_t i = 0; i < BLOCKS; i++)
            free(blocks[i]);
        /* Pieces of the dirty runs go into this one. */
        char *large = malloc((size_t)3 * HUGE);
        require(large != NULL);
        free(large);
        for (size_t size = PAGE; size < HUGE; size += size / 4) {
            char *some = malloc(size);
            require(some != NULL);
            memset(some, 2, size);
            free(some);
        }
    }
    malloc_trim(0);
}

/* --- the source, as an add-on calls it --------------------------------------- */

/* Nothing is mapped at FROM, so the kernel refuses to move it and may unmap where it should have gone. */
static void move_what_is_not_there(void)
{
    const struct cal_source *source = cal_source_system();
    char *from = source->map(PAGE, PAGE, NULL, -1);
    char *to = source->map(PAGE, PAGE, NULL, -1);
    require(from != NULL && to != NULL && source->unmap(from, PAGE) == 0);
    require(source->remap(from, PAGE, PAGE, to) < 0);
    to[0] = 1;
    require(source->remap(to, PAGE, PAGE / 2, NULL) == 0);
    require(source->unmap(to, PAGE / 2) == 0);
}

/* --- two threads that wait for each other ------------------------------------ */

static _Atomic int state_file = -1; /* of the thread that is to wait */
static _Atomic int inside;          /* a thread holds a lock of the allocator */
static _Atomic int waited;

static bool is_asleep(int file)
{
    char text[200] = {0};
    require(pread(file, text, sizeof text - 1, 0) > 0);
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'S';
}

/* The source is asked with a lock held: here until the other thread sleeps for that lock. */
static void *map_slowly(size_t length, size_t alignment, void *hint, int node)
{
    if (inside == 0) {
        inside = 1;
        wait_until(&waited, 1);
        while (!is_asleep(state_file)) {}
    }
    return cal_source_system()->map(length, alignment, hint, node);
}

static int unmap(void *address, size_t length)
{
    return cal_source_system()->unmap(address, length);
}

static int purge(void *address, size_t length)
{
    return cal_source_system()->purge(address, length);
}

static int remap(void *address, size_t old_length, size_t new_length, void *destination)
{
    return cal_source_system()->remap(address, old_length, new_length, destination);
}

static const struct cal_source slow_source = {
    .size = sizeof slow_source,
    .map = map_slowly,
    .unmap = unmap,
    .purge = purge,
    .remap = remap,
};
static const struct cal_hooks slow_hooks = {
    .size = sizeof slow_hooks,
    .version = CAL_HOOKS_VERSION,
    .name = "slow",
    .component_version = "1",
    .source = &slow_source,
};

static void allocate_huge(void)
{
    char *block = malloc((size_t)8 * HUGE);
    require(block != NULL);
    block[0] = 1;
    free(block);
}

static _Atomic int go;
static _Atomic int ended;

static void *waiter(void *argument)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", (long)syscall(SYS_gettid));
    state_file = open(path, O_RDONLY | O_CLOEXEC);
    wait_until(&go, 1);
    wait_until(&inside, 1);
    waited = 1;
    allocate_huge();
    ended = 1;
    return NULL;
}

static void start_waiter(void)
{
    pthread_t thread;
    require(pthread_create(&thread, NULL, waiter, NULL) == 0 && pthread_detach(thread) == 0);
    while (state_file == -1) {}
}

static void wait_for_each_other(void)
{
    require(cal_hooks_register(&slow_hooks) == 0);
    go = 1;
    allocate_huge();
    wait_until(&ended, 1);
}

/* --- what the hardening is to do --------------------------------------------- */

/* Of the calls themselves: there is no such add-on yet. Kernels that do not have one answer with an
 * error, as long as the filter lets it through. */
static void harden(void)
{
    char *pages = cal_source_system()->map(PAGE, PAGE, NULL, -1);
    unsigned char secret[16];
    require(pages != NULL);
    require(mprotect(pages, PAGE / 2, PROT_NONE) == 0);
    require(mprotect(pages, PAGE / 2, PROT_READ | PROT_WRITE) == 0);
    require(madvise(pages, PAGE / 2, MADV_GUARD_INSTALL) == 0 || errno == EINVAL);
    require(madvise(pages, PAGE / 2, MADV_GUARD_REMOVE) == 0 || errno == EINVAL);
    require(getrandom(secret, sizeof secret, GRND_NONBLOCK) >= 0 || errno == EAGAIN);
    require(cal_source_system()->unmap(pages, PAGE) == 0);
}

/* --- the tries --------------------------------------------------------------- */

static int try_without(size_t missing)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(60);
    workload_initialize(&workload, slots, SLOTS, LARGEST);
    start_waiter();
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    require(filter != NULL && seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0);
    require(allow_own(filter));
    for (size_t i = 0; i < cal__rule_count; i++)
        if (i != missing)
            require(cal__rule_add(filter, &cal__rules[i]) == 0);
    require(seccomp_load(filter) == 0);
    seccomp_release(filter);

    use_heap();
    move_blocks();
    move_what_is_not_there();
    harden();
    wait_for_each_other();
    _exit(0);
}

static char own_name[] = "/proc/self/exe";

/* The options between them make every call: with huge pages nothing is mapped anew. */
enum { SETS = 2 };
static char option_sets[SETS][40] = {"CALLOC_OPTIONS=huge_pages=1", "CALLOC_OPTIONS=prefault=1"};

static int status_without(size_t missing, char *options)
{
    char number[20];
    snprintf(number, sizeof number, "%zu", missing);
    char *arguments[] = {own_name, number, NULL};
    return status_of_program(arguments, options);
}

static void all_rules_suffice(void **state)
{
    for (size_t i = 0; i < SETS; i++)
        assert_int_equal(status_without(cal__rule_count, option_sets[i]), 0);
}

static void no_rule_is_too_much(void **state)
{
    bool fails = false;
    for (size_t rule = 0; rule < cal__rule_count; rule++) {
        bool needed = false;
        for (size_t i = 0; i < SETS && !needed; i++) {
            int status = status_without(rule, option_sets[i]);
            assert_true(status == 0 || status == -SIGSYS);
            needed = status != 0;
        }
        if (!needed)
            print_error("rule %zu, %s for %s, is not needed\n", rule, cal__rules[rule].name,
                        cal__rules[rule].user);
        fails |= !needed;
    }
    assert_false(fails);
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return try_without(strtoul(argv[1], NULL, 10));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_rules_suffice),
        cmocka_unit_test(no_rule_is_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
