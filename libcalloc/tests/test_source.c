/* Out of memory at every possible moment: a source that wraps the kernel's and refuses the n-th
 * request, or all from the n-th on, for n = 1 to as many as there are. Whatever is refused, the
 * program gets NULL with ENOMEM or what it asked for, nothing is lost, and all works afterwards.
 *
 * The source is bound as an add-on of the family, so it serves from the first request of the
 * process; a second process of this program has the first ones refused. */
#include "support.h"

#include <calloc/hooks.h>
#include <sys/wait.h>

extern char **environ;

enum mode { REFUSE_NONE, REFUSE_ONE, REFUSE_FROM, REFUSE_PURGES };
static _Atomic int mode;
static _Atomic size_t requests, refuse_at, refusals;
static _Atomic size_t maps, unmaps, purges, remaps;
static _Atomic bool environment_was_read;

static bool refused(_Atomic size_t *counter)
{
    if (!environment_was_read) {
        environment_was_read = true;
        const char *text = getenv("TEST_REFUSE_AT");
        if (text != NULL) {
            refuse_at = strtoul(text + 1, NULL, 10);
            mode = text[0] == '1' ? REFUSE_ONE : REFUSE_FROM;
        }
    }
    size_t now = ++requests;
    ++*counter;
    bool refuse = (mode == REFUSE_ONE && now == refuse_at) ||
                  (mode == REFUSE_FROM && now >= refuse_at) ||
                  (mode == REFUSE_PURGES && counter == &purges);
    refusals += refuse;
    if (refuse)
        errno = EPERM; /* must not be what the program sees */
    return refuse;
}

static void *wrapped_map(size_t length, size_t alignment, void *hint, int node)
{
    return refused(&maps) ? NULL : cal_source_system()->map(length, alignment, hint, node);
}

static int wrapped_unmap(void *address, size_t length)
{
    return refused(&unmaps) ? -ENOMEM : cal_source_system()->unmap(address, length);
}

static int wrapped_purge(void *address, size_t length)
{
    return refused(&purges) ? -EINVAL : cal_source_system()->purge(address, length);
}

static int wrapped_remap(void *address, size_t old_length, size_t new_length, void *destination)
{
    return refused(&remaps)
               ? -ENOMEM
               : cal_source_system()->remap(address, old_length, new_length, destination);
}

static const struct cal_source source = {.size = sizeof source,
                                         .map = wrapped_map,
                                         .unmap = wrapped_unmap,
                                         .purge = wrapped_purge,
                                         .remap = wrapped_remap};
extern const struct cal_hooks cal_addon_numa;
const struct cal_hooks cal_addon_numa = {.size = sizeof cal_addon_numa,
                                         .version = CAL_HOOKS_VERSION,
                                         .name = "refusing",
                                         .component_version = "1",
                                         .source = &source};

/* The work: all kinds of pages and functions. Each NULL must come with ENOMEM. */

enum { BLOCKS = 200 };
struct work {
    void *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    size_t count;
    size_t nulls;
};

static void stamp(void *block, size_t size, size_t seed)
{
    fill(block, size < 512 ? size : 512, seed);
    ((unsigned char *)block)[size - 1] = ((unsigned char *)block)[0];
}

static bool is_stamped(const void *block, size_t size, size_t seed)
{
    return is_filled(block, size - 1 < 512 ? size - 1 : 512, seed);
}

static void keep(struct work *work, void *block, size_t size)
{
    if (block == NULL) {
        require(errno == ENOMEM);
        work->nulls++;
        return;
    }
    stamp(block, size, work->count);
    work->blocks[work->count] = block;
    work->sizes[work->count++] = size;
}

static void allocate_all_kinds(struct work *work)
{
    static const size_t sizes[] = {10,     100,    500,    1024,    3000,    8000,    9000,   40000,
                                   131072, 131073, 400000, 1048576, 1048577, 3000000, 5000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        errno = 0;
        keep(work, malloc(sizes[i]), sizes[i]);
        errno = 0;
        void *block = calloc(1, sizes[i]);
        require(block == NULL || is_zero(block, sizes[i] < 5000 ? sizes[i] : 5000));
        require(block == NULL || is_zero((char *)block + sizes[i] / 2, sizes[i] / 100));
        keep(work, block, sizes[i]);
    }
    for (size_t alignment = 64; alignment <= (size_t)4 << 20; alignment *= 16) {
        errno = 0;
        void *block = aligned_alloc(alignment, 5000);
        require((uintptr_t)block % alignment == 0);
        keep(work, block, 5000);
    }
    void *block = NULL;
    errno = 4711;
    int error = posix_memalign(&block, (size_t)2 << 20, 100);
    require(errno == 4711 && (error == 0 || (error == ENOMEM && block == NULL)));
    errno = error;
    keep(work, block, 100);
}

static void resize_all(struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        static const size_t factors[] = {3, 1, 40};
        for (size_t j = 0; j < 3; j++) {
            size_t size = work->sizes[i] * factors[j] / 2 + 1;
            if (size > 12000000)
                continue;
            errno = 0;
            void *block = realloc(work->blocks[i], size);
            if (block == NULL) {
                require(errno == ENOMEM);
                work->nulls++;
            } else {
                size_t kept = size < work->sizes[i] ? size : work->sizes[i];
                require(is_stamped(block, kept, i));
                stamp(block, size, i);
                work->blocks[i] = block;
                work->sizes[i] = size;
            }
        }
    }
}

static void free_all(struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        require(is_stamped(work->blocks[i], work->sizes[i], i));
        errno = 4711;
        free(work->blocks[i]);
        require(errno == 4711);
    }
    work->count = 0;
}

static void *work_in_thread(void *argument)
{
    allocate_all_kinds(argument);
    return NULL;
}

static void do_work(struct work *work)
{
    work->count = work->nulls = 0;
    allocate_all_kinds(work);
    resize_all(work);
    free_all(work);
    /* libc allocates for a thread, too, so there may be none. */
    pthread_t thread;
    if (pthread_create(&thread, NULL, work_in_thread, work) == 0)
        join_thread(thread);
    free_all(work);
    malloc_trim(0);
}

static struct work work;

static void work_without_refusals(void **state)
{
    size_t before[4] = {maps, unmaps, purges, remaps};
    do_work(&work);
    assert_int_equal(work.nulls, 0);
    /* The work is worth something only if it needs every kind of request. */
    assert_true(maps > before[0] && unmaps > before[1]);
    /* Under memcheck blocks are resized by copying, and all memory is then in whole segments. */
    assert_true(test_is_annotated() || (purges > before[2] && remaps > before[3]));
}

/* Bytes that neither the program has nor the allocator could hand out. */
static size_t out_of_use(void)
{
    struct cal_statistics now = statistics();
    return now.os_memory_mapped - now.free_bytes - now.retained_bytes;
}

static void refuse_each(enum mode how)
{
    warm_up_threads(1);
    do_work(&work);
    do_work(&work);
    struct cal_statistics before = statistics();
    size_t allowed = out_of_use();
    size_t nulls = 0;
    size_t n = 1;
    for (bool more = true; more; n++) {
        requests = 0;
        refusals = 0;
        refuse_at = n;
        mode = how;
        do_work(&work);
        mode = REFUSE_NONE;
        more = refusals != 0;
        nulls += work.nulls;
        malloc_trim(0);
        struct cal_statistics after = statistics();
        if (after.active_allocations != before.active_allocations ||
            after.active_bytes != before.active_bytes)
            fail_msg("request %zu refused: %zu blocks lost", n,
                     after.active_allocations - before.active_allocations);
        /* Memory that the kernel did not take back must serve again, so it counts as free; of all
         * else only descriptors and the map's leaves stay. */
        size_t lost = out_of_use();
        if (lost > allowed + ((size_t)7 << 20))
            fail_msg("request %zu refused: %zu bytes lost", n, lost - allowed);
        do_work(&work);
        assert_int_equal(work.nulls, 0);
    }
    print_message("%zu requests refused, NULL %zu times\n", n - 1, nulls);
    assert_true(n > 30);
    /* A single refusal may be made good every time, as an attempt follows when memory went back. */
    assert_true(how == REFUSE_ONE || nulls > 0);
    malloc_trim(0);
    allowed = out_of_use();
    do_work(&work);
    malloc_trim(0);
    assert_true(out_of_use() <= allowed + ((size_t)1 << 20));
}

static void each_request_is_refused_once(void **state)
{
    refuse_each(REFUSE_ONE);
}

static void all_requests_are_refused_from_each_on(void **state)
{
    refuse_each(REFUSE_FROM);
}

static void kept_and_freed_memory_serves_while_all_is_refused(void **state)
{
    void *held[100];
    for (size_t i = 0; i < 100; i++)
        held[i] = malloc(1000);
    for (size_t i = 0; i < 100; i++)
        free(held[i]);
    requests = 0;
    refuse_at = 1;
    mode = REFUSE_FROM;
    for (size_t i = 0; i < 100; i++)
        held[i] = malloc(1000);
    void *large = malloc((size_t)50 << 20);
    int error = errno;
    mode = REFUSE_NONE;
    for (size_t i = 0; i < 100; i++) {
        assert_non_null(held[i]);
        free(held[i]);
    }
    assert_null(large);
    assert_int_equal(error, ENOMEM);
}

/* The mapping of a block that the kernel does not take back is used for others. */
static void a_mapping_that_is_not_taken_back_is_used_again(void **state)
{
    malloc_trim(0);
    size_t before = statistics().os_memory_mapped;
    for (int i = 0; i < 20; i++) {
        void *block = malloc((size_t)100 << 20);
        assert_non_null(block);
        mode = REFUSE_FROM;
        refuse_at = 0;
        free(block);
        mode = REFUSE_NONE;
        malloc_trim(0);
    }
    assert_in_range(statistics().os_memory_mapped, 0, before + ((size_t)3 << 20));
}

/* What cannot be purged does not keep what can be unmapped, whichever was freed first. */
static void a_refused_purge_keeps_nothing_else(void **state)
{
    if (test_is_slow()) {
        print_message("under AddressSanitizer nothing is unmapped: nothing to see here\n");
        return;
    }
    enum { COUNT = 8, LARGE = 6 << 20 };
    void *blocks[3][COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[0][i] = malloc(300000);
        blocks[1][i] = malloc(300000); /* so that the others are no neighbours */
        blocks[2][i] = malloc(LARGE);
    }
    cal_trim();
    size_t before = statistics().os_memory_mapped;
    mode = REFUSE_PURGES;
    refusals = 0;
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < COUNT; i++)
            free(blocks[0][i]);
        for (size_t i = 0; i < COUNT; i++)
            free(blocks[2][i]);
        assert_true(cal_trim());
        assert_in_range(statistics().os_memory_mapped, 0, before - (size_t)COUNT * LARGE);
        for (size_t i = 0; i < COUNT; i++) {
            blocks[0][i] = malloc(300000);
            blocks[2][i] = malloc(LARGE);
        }
    }
    assert_true(refusals != 0);
    mode = REFUSE_NONE;
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < COUNT; j++)
            free(blocks[i][j]);
    cal_trim();
}

static void realloc_survives_refused_remaps(void **state)
{
    unsigned char *block = malloc(6000000);
    fill(block, 6000000, 1);
    void *obstacle = malloc(6000000);
    for (size_t n = 1; n <= 3; n++) {
        requests = 0;
        refuse_at = n;
        mode = REFUSE_ONE;
        unsigned char *grown = realloc(block, 8000000 * n);
        mode = REFUSE_NONE;
        if (grown != NULL)
            block = grown;
        assert_true(is_filled(block, 6000000, 1));
    }
    free(block);
    free(obstacle);
}

static void the_source_is_exclusive_and_stays(void **state)
{
    struct cal_hooks other = cal_addon_numa;
    other.name = "other";
    assert_int_equal(cal_hooks_register(&other), -EBUSY);
    assert_int_equal(cal_hooks_unregister(&cal_addon_numa), -EBUSY);
    struct cal_source incomplete = source;
    incomplete.purge = NULL;
    other.source = &incomplete;
    assert_int_equal(cal_hooks_register(&other), -EINVAL);
    incomplete = source;
    incomplete.size = offsetof(struct cal_source, remap);
    assert_int_equal(cal_hooks_register(&other), -EINVAL);
}

/* In a process of its own the very first requests are refused. */
static int run_anew(const char *program, int how, size_t n)
{
    char text[64];
    snprintf(text, sizeof text, "%d%zu", how, n);
    fflush(NULL);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        setenv("TEST_REFUSE_AT", text, 1);
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    int status;
    require(waitpid(child, &status, 0) == child);
    return status;
}

static void a_process_starts_with_any_request_refused(void **state)
{
    char program[4096] = {0};
    require(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    size_t last = test_is_slow() ? 12 : 60;
    for (int how = REFUSE_ONE; how <= REFUSE_FROM; how++)
        for (size_t n = 1; n <= last; n++)
            assert_int_equal(run_anew(program, how, n), 0);
}

static int start_with_refusals(void)
{
    do_work(&work);
    mode = REFUSE_NONE;
    do_work(&work);
    require(work.nulls == 0);
    return 0;
}

int main(void)
{
    if (getenv("TEST_REFUSE_AT") != NULL)
        return start_with_refusals();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_without_refusals),
        cmocka_unit_test(each_request_is_refused_once),
        cmocka_unit_test(all_requests_are_refused_from_each_on),
        cmocka_unit_test(kept_and_freed_memory_serves_while_all_is_refused),
        cmocka_unit_test(a_mapping_that_is_not_taken_back_is_used_again),
        cmocka_unit_test(a_refused_purge_keeps_nothing_else),
        cmocka_unit_test(realloc_survives_refused_remaps),
        cmocka_unit_test(the_source_is_exclusive_and_stays),
        cmocka_unit_test(a_process_starts_with_any_request_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
