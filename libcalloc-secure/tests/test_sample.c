/* Sampled blocks: how many there are, where they were allocated and freed, and the line before a fault. */
#include "pages_support.h"

#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "place.h"

#define ALL "secure.sample=1,secure.guard_protect_first=0"

#if __has_attribute(noclone)
#    define APART __attribute__((noinline, noclone))
#else
#    define APART __attribute__((noinline))
#endif

static bool is_sampled(const void *block)
{
    struct cal__pages_totals totals;
    if (cal__pages_find(block, NULL) != CAL_PAGES_LIVE)
        return false;
    cal__pages_totals(&totals);
    return totals.sampled.live != 0;
}

/* How many there are. */

static void all_are_sampled_here(void)
{
    for (size_t size = 1; size <= 131072; size = size * 2 + 1) {
        char *block = malloc(size);
        require(size > 131072 || is_sampled(block));
        require(malloc_usable_size(block) == size && is_zero(block, size));
        free(block);
        require(!can_touch(block));
    }
}

static void with_one_all_are_sampled(void **state)
{
    passes_with(ALL, all_are_sampled_here);
    passes_with("secure.sample=1,secure.guard_protect_only=1", all_are_sampled_here);
}

static void count_here(void)
{
    struct cal__pages_totals totals;
    for (size_t i = 0; i < 100000; i++)
        free(malloc(1 + i % 1000));
    cal__pages_totals(&totals);
    require(totals.own.allocations == 0);
    require(totals.sampled.allocations > 800 && totals.sampled.allocations < 1200);
}

static void none_here(void)
{
    struct cal__pages_totals totals;
    for (size_t i = 0; i < 10000; i++)
        free(malloc(1 + i % 1000));
    cal__pages_totals(&totals);
    require(totals.own.allocations == 0 && totals.sampled.allocations == 0);
    require(totals.empty.ranges == 0);
}

static void one_of_so_many_is_sampled(void **state)
{
    passes_with("secure.sample=100", count_here);
    passes_with("secure.sample=100,secure.guard_protect_only=1", count_here);
    passes_with("secure.sample=0", none_here);
    passes_with("secure.sample=4294967295", none_here);
}

static void both_here(void)
{
    struct cal__pages_totals totals;
    for (size_t i = 0; i < 10000; i++)
        free(malloc(1 + i % 1000));
    cal__pages_totals(&totals);
    require(totals.own.allocations + totals.sampled.allocations == 10000);
    require(totals.sampled.allocations > 800 && totals.sampled.allocations < 1200);
}

static void some_of_all_have_traces(void **state)
{
    passes_with("secure.sample=10,secure.own_pages=1", both_here);
}

/* Which ones are sampled differs from run to run. */
static uint64_t *drawn;

static void pattern_here(void)
{
    *drawn = 0;
    for (size_t i = 0; i < 64; i++) {
        char *block = malloc(10);
        *drawn |= (uint64_t)is_sampled(block) << i;
        free(block);
    }
}

static void nobody_foresees_which(void **state)
{
    uint64_t first;
    drawn = shared_memory(sizeof *drawn);
    passes_with("secure.sample=4", pattern_here);
    first = *drawn;
    passes_with("secure.sample=4", pattern_here);
    assert_true(first != *drawn && first != 0);
    unshare_memory(drawn, sizeof *drawn);
}

/* Where they come from. Functions that a trace must name; each has one call in it. */

static APART char *allocate_here(size_t size)
{
    char *block = malloc(size);
    *(volatile char *)opaque(&size);
    return block;
}

static APART void free_here(void *block)
{
    free(block);
    *(volatile char *)opaque(&block);
}

/* Whether the list of places after TITLE, "file+0x…, file+0x…", has one in the first bytes of a function. */
static bool names(const char *text, const char *title, uintptr_t function)
{
    const char *at = strstr(text, title);
    if (at == NULL)
        return false;
    at += strlen(title);
    /* The frames of a library that is part of the program are in the trace too, and take all of it. */
    if (TEST_INSIDE)
        return strncmp(at, "test_sample+0x", 14) == 0;
    struct cal__place wanted;
    assert_true(cal__place_find((const void *)function, &wanted));
    for (bool last = false; !last;) {
        size_t length = strcspn(at, ",\n");
        const char *plus = memchr(at, '+', length);
        last = at[length] != ',' || strstr(at, " freed at ") == at + length + 1;
        uintptr_t offset = plus == NULL ? 0 : strtoull(plus + 1, NULL, 16);
        if (strncmp(at, "test_sample+", 12) == 0 && offset > wanted.offset &&
            offset < wanted.offset + 200)
            return true;
        at += length + 2;
    }
    return false;
}

static void assert_traced(const char *text, bool freed)
{
    assert_true(names(text, ", allocated at ", (uintptr_t)allocate_here));
    if (freed)
        assert_true(names(text, ", freed at ", (uintptr_t)free_here));
    else
        assert_null(strstr(text, ", freed at "));
}

static void free_twice(void)
{
    char *block = allocate_here(100);
    free_here(block);
    free(blame(block));
}

static void overflow(void)
{
    char *block = allocate_here(100);
    memset(opaque(block), 1, 102);
    free(blame(block));
}

static void free_inside(void)
{
    char *block = allocate_here(100);
    free(blame(block + 16));
}

static void reports_name_places(void **state)
{
    char text[LINE_MAX_TEST];
    reports_with(ALL, free_twice, "double free", false, text);
    assert_traced(text, true);
    assert_non_null(strstr(text, ", found at 0x"));
    reports_with(ALL, overflow, "overflow", false, text);
    assert_traced(text, false);
    assert_non_null(strstr(text, ", byte 100, requested 100"));
    reports_with(ALL, free_inside, "invalid free", false, text);
    assert_traced(text, false);
    reports_with(ALL ",secure.on_double_free=log", free_twice, "double free", true, text);
    assert_traced(text, true);
}

/* Faults. */

static void use_after_free(void)
{
    char *block = allocate_here(100);
    free_here(block);
    *(volatile char *)blame(block);
}

static void write_after_free_far(void)
{
    char *block = blame(allocate_here(20000));
    free_here(block);
    *(volatile char *)(block + 12345) = 1;
}

static void read_behind(void)
{
    char *block = blame(allocate_here(112));
    *(volatile char *)(block + 112);
}

static void read_before(void)
{
    char *block = blame(allocate_here(4096 * 2));
    *(volatile char *)(block - 8);
}

static int faults_with(const char *options, void (*function)(void), const char *what, char *text)
{
    uintptr_t address;
    int status = watch_with(options, function, text, LINE_MAX_TEST);
    if (what != NULL) {
        char starts[100];
        snprintf(starts, sizeof starts, "libcalloc: %s of 0x", what);
        if (strncmp(text, starts, strlen(starts)) != 0)
            print_error("wrote: %s\n", text);
        assert_memory_equal(text, starts, strlen(starts));
        address = strtoull(text + strlen(starts), NULL, 16);
        assert_true(address != 0 && strchr(text, '\n') == text + strlen(text) - 1);
        assert_non_null(strstr(text, ", found at 0x"));
    }
    return status;
}

static void faults_are_explained(void **state)
{
    static const char *const options[] = {ALL, "secure.sample=1,secure.guard_protect_only=1"};
    char text[LINE_MAX_TEST];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(faults_with(options[i], use_after_free, "use after free", text), -SIGSEGV);
        assert_traced(text, true);
        assert_non_null(strstr(text, ", byte 0, requested 100"));
        assert_int_equal(faults_with(options[i], write_after_free_far, "use after free", text),
                         -SIGSEGV);
        assert_traced(text, true);
        assert_non_null(strstr(text, ", byte 12345, requested 20000"));
        assert_int_equal(faults_with(options[i], read_behind, "overflow", text), -SIGSEGV);
        assert_traced(text, false);
        assert_non_null(strstr(text, ", byte 112, requested 112"));
        assert_int_equal(faults_with(options[i], read_before, "underflow", text), -SIGSEGV);
        assert_traced(text, false);
        assert_non_null(strstr(text, ", byte -8, requested 8192"));
    }
}

static void touch_empty(void)
{
    *(volatile char *)opaque(malloc(0)) = 1;
}

static void touch_nothing(void)
{
    *(volatile char *)opaque((void *)8) = 1;
}

static void kill_self(void)
{
    kill(getpid(), SIGSEGV);
    pause();
}

static void raise_here(void)
{
    raise(SIGSEGV);
}

static void other_faults_are_as_ever(void **state)
{
    char text[LINE_MAX_TEST];
    assert_int_equal(faults_with(ALL, touch_empty, "overflow", text), -SIGSEGV);
    dies_with(ALL, touch_nothing, SIGSEGV);
    dies_with(ALL, kill_self, SIGSEGV);
    dies_with(ALL, raise_here, SIGSEGV);
    dies_with(ALL ",secure.sample_report=0", use_after_free, SIGSEGV);
    dies_with("secure.sample=0,secure.own_pages=1", use_after_free, SIGSEGV);
}

/* A program's own handler. */

static struct sigaction earlier;

static void exit_3(int signal)
{
    _exit(3);
}

static void chain(int signal, siginfo_t *information, void *context)
{
    earlier.sa_sigaction(signal, information, context);
}

static void install(void (*handler)(int, siginfo_t *, void *))
{
    const struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    require(sigaction(SIGSEGV, &action, &earlier) == 0);
}

static void own_handler_later(void)
{
    signal(SIGSEGV, exit_3);
    use_after_free();
}

static void chained_handler(void)
{
    install(chain);
    require((earlier.sa_flags & SA_SIGINFO) != 0);
    use_after_free();
}

static void own_handler_earlier(void)
{
    signal(SIGSEGV, exit_3);
    start(ALL);
    use_after_free();
}

static void ignored_earlier(void)
{
    signal(SIGSEGV, SIG_IGN);
    start(ALL);
    struct sigaction now;
    require(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_handler == SIG_IGN);
}

static void the_handler_is_in_nobodys_way(void **state)
{
    char text[LINE_MAX_TEST];
    assert_int_equal(watch_with(ALL, own_handler_later, text, sizeof text), 3);
    assert_string_equal(text, "");
    assert_int_equal(faults_with(ALL, chained_handler, "use after free", text), -SIGSEGV);
    assert_traced(text, true);
    assert_int_equal(watch_child(own_handler_earlier, text, sizeof text), 3);
    assert_string_equal(text, "");
    assert_child_passes(ignored_earlier);
}

static void *fault_in_thread(void *argument)
{
    use_after_free();
    return NULL;
}

static void thread_here(void)
{
    pthread_t thread;
    require(pthread_create(&thread, NULL, fault_in_thread, NULL) == 0);
    pthread_join(thread, NULL);
}

static void fork_here(void)
{
    char *block = allocate_here(100);
    free_here(block);
    pid_t child = fork();
    if (child == 0)
        *(volatile char *)opaque(block);
    int status;
    require(waitpid(child, &status, 0) == child);
    require(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void threads_and_children_are_explained_too(void **state)
{
    char text[LINE_MAX_TEST];
    assert_int_equal(faults_with(ALL, thread_here, "use after free", text), -SIGSEGV);
    assert_traced(text, true);
    assert_int_equal(faults_with(ALL, fork_here, "use after free", text), 0);
    assert_traced(text, true);
}

/* A trace through a deep stack, and at its end. */
static APART char *deep(unsigned depth)
{
    char *block = depth == 0 ? allocate_here(100) : deep(depth - 1);
    *(volatile char *)opaque(&depth);
    return block;
}

static void deep_here(void)
{
    for (unsigned depth = 0; depth < 100; depth++)
        free_here(deep(depth));
    char *block = deep(1000);
    free_here(block);
    free(blame(block));
}

static void traces_of_deep_stacks(void **state)
{
    char text[LINE_MAX_TEST];
    reports_with(ALL, deep_here, "double free", false, text);
    assert_traced(text, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_one_all_are_sampled),
        cmocka_unit_test(one_of_so_many_is_sampled),
        cmocka_unit_test(some_of_all_have_traces),
        cmocka_unit_test(nobody_foresees_which),
        cmocka_unit_test(reports_name_places),
        cmocka_unit_test(faults_are_explained),
        cmocka_unit_test(other_faults_are_as_ever),
        cmocka_unit_test(the_handler_is_in_nobodys_way),
        cmocka_unit_test(threads_and_children_are_explained_too),
        cmocka_unit_test(traces_of_deep_stacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
