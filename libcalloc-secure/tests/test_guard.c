/* Guard pages by both means: they fault, they can be taken away, and they never use up the mappings that
 * a process may have. Tests run in children, each of which starts the guards in its own way. */
#include "support.h"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "guard.h"

enum { PAGES = 64 };

static bool protect_only;
static size_t page;

static char *fresh(size_t pages)
{
    char *memory =
        mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED);
    return memory;
}

static void start(unsigned percent)
{
    const struct cal__guard_limits limits = {.protect_only = protect_only, .percent = percent};
    page = getauxval(AT_PAGESZ);
    errno = 4711;
    cal__guard_start(&limits);
    require(errno == 4711);
}

static enum cal__guard expected(void)
{
    return cal__guard_counts().can_mark ? CAL_GUARD_MARKED : CAL_GUARD_PROTECTED;
}

/* By each of the two means; the first is the second where the kernel has it not. */
static void passes_by_both(void (*function)(void))
{
    for (int i = 0; i < 2; i++) {
        protect_only = i == 1;
        assert_child_passes(function);
    }
}

/* SKIPPED: not to be tested here. */
enum { SKIPPED = 77 };

static void passes_or_is_skipped(void (*function)(void))
{
    char text[1000];
    int status = watch_child(function, text, sizeof text);
    if (status == SKIPPED)
        skip_because("no guard pages of the kernel, a limit of mappings that is too large, or no "
                     "locked memory");
    assert_string_equal(text, "");
    assert_int_equal(status, 0);
}

/* Whether one byte can be read and written: asked of the kernel, which answers EFAULT instead. */
static bool can_touch(char *address)
{
    int ends[2];
    char byte = 1;
    require(pipe(ends) == 0);
    bool can = write(ends[1], address, 1) == 1 && read(ends[0], address, 1) == 1 &&
               write(ends[1], &byte, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return can;
}

static void only_the_guard_faults_here(void)
{
    start(50);
    char *memory = fresh(5);
    memset(memory, 'x', 5 * page);
    errno = 4711;
    require(cal__guard_install(memory + 2 * page, page) == expected());
    require(errno == 4711);
    for (size_t i = 0; i < 5; i++) {
        require(can_touch(memory + i * page) == (i != 2));
        require(can_touch(memory + (i + 1) * page - 1) == (i != 2));
    }
    require(memory[page] == 'x' && memory[3 * page] == 'x');
    errno = 4711;
    require(cal__guard_remove(memory + 2 * page, page, expected()));
    require(errno == 4711);
    /* Its memory was given back. */
    require(memory[2 * page] == 0 && memory[3 * page - 1] == 0);
    memset(memory, 'y', 5 * page);
}

static void only_the_guard_faults(void **state)
{
    passes_by_both(only_the_guard_faults_here);
}

static void touch_guard(bool store)
{
    start(50);
    char *memory = fresh(3);
    if (cal__guard_install(memory + page, page) != expected())
        return;
    volatile char *beyond = memory + page;
    if (store)
        *beyond = 1;
    else
        (void)*beyond;
}

static void load_from_guard(void)
{
    touch_guard(false);
}

static void store_to_guard(void)
{
    touch_guard(true);
}

static void load_after_removal(void)
{
    start(50);
    char *memory = fresh(3);
    enum cal__guard guard = cal__guard_install(memory, 3 * page);
    require(guard == expected());
    require(cal__guard_remove(memory, 3 * page, guard));
    memset(memory, 1, 3 * page);
}

static void touching_is_a_fault(void **state)
{
    for (int i = 0; i < 2; i++) {
        protect_only = i == 1;
        assert_child_dies(load_from_guard, SIGSEGV);
        assert_child_dies(store_to_guard, SIGSEGV);
        assert_child_passes(load_after_removal);
    }
}

static char *inherited_guard;

static void touch_inherited(void)
{
    *(volatile char *)inherited_guard = 1;
}

static void children_inherit_here(void)
{
    start(50);
    char *memory = fresh(3);
    require(cal__guard_install(memory + page, page) == expected());
    inherited_guard = memory + page;
    char text[100];
    require(watch_child(touch_inherited, text, sizeof text) == -SIGSEGV);
    /* Nor does giving back the memory around it take it away. */
    require(madvise(memory, 3 * page, MADV_DONTNEED) == 0);
    require(!can_touch(inherited_guard) && can_touch(memory));
}

static void guards_survive_fork_and_purging(void **state)
{
    passes_by_both(children_inherit_here);
}

static void guards_are_counted_here(void)
{
    start(50);
    struct cal__guard_counts counts = cal__guard_counts();
    require(counts.marked == 0 && counts.protected == 0 && counts.refused == 0);
    require(!protect_only || !counts.can_mark);
    size_t *now = counts.can_mark ? &counts.marked : &counts.protected;
    char *memory = fresh(PAGES);
    for (size_t i = 0; i < 10; i++)
        require(cal__guard_install(memory + (2 * i + 1) * page, page) == expected());
    counts = cal__guard_counts();
    require(*now == 10 && counts.marked + counts.protected == 10);
    require(cal__guard_remove(memory + page, page, expected()));
    cal__guard_forget(expected());
    counts = cal__guard_counts();
    require(*now == 8);
    require(cal__guard_remove(memory, page, CAL_GUARD_NONE));
    cal__guard_forget(CAL_GUARD_NONE);
    require(cal__guard_counts().marked + cal__guard_counts().protected == 8);
    /* What cannot be removed still counts. */
    require(munmap(memory, PAGES * page) == 0);
    errno = 4711;
    require(!cal__guard_remove(memory + 3 * page, page, expected()));
    require(errno == 4711);
    require(cal__guard_counts().marked + cal__guard_counts().protected == 8);
}

static void guards_are_counted(void **state)
{
    passes_by_both(guards_are_counted_here);
}

static void marking_needs_no_mappings_here(void)
{
    start(50);
    if (!cal__guard_counts().can_mark)
        _exit(SKIPPED);
    char *memory = fresh(2000);
    size_t before = mappings();
    for (size_t i = 0; i < 1000; i++)
        require(cal__guard_install(memory + 2 * i * page, page) == CAL_GUARD_MARKED);
    require(mappings() <= before + 1);
    require(cal__guard_counts().marked == 1000);
}

static void marking_needs_no_mappings(void **state)
{
    protect_only = false;
    passes_or_is_skipped(marking_needs_no_mappings_here);
}

static void the_budget_is_kept_here(void)
{
    size_t most = max_map_count();
    start(10);
    size_t budget = cal__guard_counts().budget;
    require(most == 0 || budget == most / 10 / 2);
    char *memory = fresh(2 * budget + 400);
    memset(memory, 1, page);
    size_t before = mappings();
    size_t made = 0;
    for (size_t i = 1; i < budget + 200; i++)
        made += cal__guard_install(memory + 2 * i * page, page) == CAL_GUARD_PROTECTED;
    require(made == budget);
    require(cal__guard_counts().protected == budget);
    require(cal__guard_counts().refused == 199);
    require(mappings() <= before + 2 * budget);
    /* Where it was refused the memory is as good as ever, and there is room for new ones after a
     * removal. */
    require(can_touch(memory + 2 * (budget + 199) * page));
    require(cal__guard_install(memory, page) == CAL_GUARD_NONE);
    require(memory[0] == 1);
    require(cal__guard_remove(memory + 2 * page, page, CAL_GUARD_PROTECTED));
    require(cal__guard_install(memory + 2 * page, page) == CAL_GUARD_PROTECTED);
    require(cal__guard_install(memory, page) == CAL_GUARD_NONE);
}

static void the_budget_is_kept(void **state)
{
    protect_only = true;
    assert_child_passes(the_budget_is_kept_here);
}

static void without_a_budget_nothing_is_protected_here(void)
{
    start(0);
    char *memory = fresh(3);
    require(cal__guard_counts().budget == 0);
    require(cal__guard_install(memory, page) == CAL_GUARD_NONE);
    require(can_touch(memory));
}

static void without_a_budget_nothing_is_protected(void **state)
{
    protect_only = true;
    assert_child_passes(without_a_budget_nothing_is_protected_here);
}

/* Somebody else has nearly all mappings: the guards make do with what there is, and leave it at that. */
static void others_use_up_the_mappings_here(void)
{
    size_t most = max_map_count();
    if (most == 0 || most > 200000)
        _exit(SKIPPED);
    start(90);
    char *others = fresh(most);
    for (size_t i = 0; i + 50 < most / 2 - 100; i++)
        require(mprotect(others + 2 * i * page, page, PROT_READ) == 0);
    size_t left = most - mappings();
    char *memory = fresh(most);
    size_t made = 0, refused_at = 0;
    errno = 4711;
    for (size_t i = 1; i < most / 2 - 1 && refused_at == 0; i++)
        if (cal__guard_install(memory + 2 * i * page, page) == CAL_GUARD_PROTECTED)
            made++;
        else
            refused_at = i;
    require(refused_at != 0 && made * 2 <= left + 2);
    require(cal__guard_counts().budget == made);
    /* No further one is tried, so that what is freed is there for others. */
    require(munmap(others, 100 * page) == 0);
    require(errno == 4711);
    require(cal__guard_install(memory + 2 * refused_at * page, page) == CAL_GUARD_NONE);
    require(can_touch(memory + 2 * refused_at * page));
}

static void others_use_up_the_mappings(void **state)
{
    protect_only = true;
    passes_or_is_skipped(others_use_up_the_mappings_here);
}

static void the_first_are_protected_here(void)
{
    const struct cal__guard_limits limits = {.protect_first = 5, .percent = 50};
    page = getauxval(AT_PAGESZ);
    cal__guard_start(&limits);
    char *memory = fresh(PAGES);
    for (size_t i = 0; i < 8; i++)
        require(cal__guard_install(memory + 2 * i * page, page) ==
                (i < 5 ? CAL_GUARD_PROTECTED : expected()));
}

static void the_first_are_protected(void **state)
{
    assert_child_passes(the_first_are_protected_here);
}

/* Memory of the caller's is asked on, if there is enough of it, and is as it was afterwards. */
static void asked_on_memory_of_the_callers_here(void)
{
    start(50);
    bool can_mark = cal__guard_counts().can_mark;
    char *memory = fresh(3);
    for (size_t length = 0; length <= page; length += page / 2) {
        const struct cal__guard_limits limits = {
            .percent = 50, .unused = memory + page, .unused_length = length};
        size_t before = mappings();
        cal__guard_start(&limits);
        require(cal__guard_counts().can_mark == can_mark);
        require(mappings() == before);
        memory[page] = memory[2 * page] = 1;
    }
    const struct cal__guard_limits crooked = {
        .percent = 50, .unused = memory + 16, .unused_length = 2 * page};
    cal__guard_start(&crooked);
    require(cal__guard_counts().can_mark == can_mark && memory[page] == 1);
}

static void memory_of_the_callers_serves(void **state)
{
    protect_only = false;
    assert_child_passes(asked_on_memory_of_the_callers_here);
}

/* In locked memory the kernel marks nothing. */
static void locked_memory_is_protected_here(void)
{
    start(50);
    char *memory = fresh(3);
    if (mlock(memory, 3 * page) != 0)
        _exit(SKIPPED);
    errno = 4711;
    enum cal__guard guard = cal__guard_install(memory + page, page);
    require(guard != CAL_GUARD_NONE);
    require(errno == 4711);
    require(!can_touch(memory + page) && can_touch(memory) && can_touch(memory + 2 * page));
    require(cal__guard_remove(memory + page, page, guard));
    require(can_touch(memory + page));
}

static void locked_memory_has_guards_too(void **state)
{
    protect_only = false;
    passes_or_is_skipped(locked_memory_is_protected_here);
}

static void not_started_here(void)
{
    page = getauxval(AT_PAGESZ);
    char *memory = fresh(1);
    require(cal__guard_install(memory, page) == CAL_GUARD_NONE);
    require(can_touch(memory));
}

static void without_a_start_there_are_none(void **state)
{
    assert_child_passes(not_started_here);
}

enum { THREADS = 4, ROUNDS = 500 };
static char *of_threads;

static void *install_many(void *argument)
{
    char *memory = of_threads + (size_t)(uintptr_t)argument * 2 * ROUNDS * page;
    size_t made = 0;
    for (size_t i = 1; i < ROUNDS; i++) {
        enum cal__guard guard = cal__guard_install(memory + 2 * i * page, page);
        made += guard != CAL_GUARD_NONE;
        if (i % 3 == 0 && guard != CAL_GUARD_NONE) {
            require(cal__guard_remove(memory + 2 * i * page, page, guard));
            made--;
        }
    }
    return (void *)(uintptr_t)made;
}

static void threads_share_the_budget_here(void)
{
    start(1);
    size_t made = 0;
    of_threads = fresh(THREADS * 2 * ROUNDS);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, install_many, (void *)(uintptr_t)i) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *result;
        require(pthread_join(threads[i], &result) == 0);
        made += (size_t)(uintptr_t)result;
    }
    require(cal__guard_counts().protected == made);
    require(made <= cal__guard_counts().budget);
    /* A refusal may be due to a guard that was just being taken away. */
    require(made + THREADS >= cal__guard_counts().budget);
}

static void threads_share_the_budget(void **state)
{
    protect_only = true;
    assert_child_passes(threads_share_the_budget_here);
}

/* A range that is a guard as a whole. */

enum { PARTS = 10 };

static void parts_are_opened_and_shut_here(void)
{
    start(50);
    char *memory = fresh(PAGES);
    enum cal__guard guard = cal__guard_next();
    require(guard == expected());
    require(cal__guard_can_mark() == (guard == CAL_GUARD_MARKED));
    require(cal__guard_install_as(memory, PAGES * page, guard));
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < PARTS; i++) {
            char *part = memory + (1 + 3 * i) * page;
            require(round != 0 || cal__guard_charge(guard));
            require(!can_touch(part));
            errno = 4711;
            require(cal__guard_open(part, page, guard) && cal__guard_open(part, page, guard));
            require(errno == 4711);
            require(can_touch(part) && !can_touch(part - 1) && !can_touch(part + page));
            for (size_t byte = 0; byte < page; byte++)
                require(part[byte] == 0);
            memset(part, 5, page);
        }
        for (size_t i = 0; i < PARTS; i++) {
            char *part = memory + (1 + 3 * i) * page;
            errno = 4711;
            require(cal__guard_shut(part, page, guard) && cal__guard_shut(part, page, guard));
            require(errno == 4711);
            require(!can_touch(part));
        }
    }
    struct cal__guard_counts counts = cal__guard_counts();
    require(counts.marked + counts.protected == PARTS + 1);
}

static void parts_are_opened_and_shut(void **state)
{
    passes_by_both(parts_are_opened_and_shut_here);
}

static void parts_have_a_budget_here(void)
{
    start(1);
    size_t budget = cal__guard_counts().budget;
    char *memory = fresh(1);
    require(cal__guard_next() == CAL_GUARD_PROTECTED);
    require(!cal__guard_install_as(memory, page, CAL_GUARD_MARKED) && can_touch(memory));
    require(!cal__guard_install_as(memory, page, CAL_GUARD_NONE) && can_touch(memory));
    for (size_t i = 0; i < budget; i++)
        require(cal__guard_charge(CAL_GUARD_PROTECTED));
    require(!cal__guard_charge(CAL_GUARD_PROTECTED));
    require(cal__guard_next() == CAL_GUARD_NONE);
    require(!cal__guard_install_as(memory, page, CAL_GUARD_PROTECTED) && can_touch(memory));
    cal__guard_forget(CAL_GUARD_PROTECTED);
    require(cal__guard_next() == CAL_GUARD_PROTECTED);
    require(cal__guard_install_as(memory, page, CAL_GUARD_PROTECTED) && !can_touch(memory));
}

static void parts_have_a_budget(void **state)
{
    protect_only = true;
    assert_child_passes(parts_have_a_budget_here);
}

static void locked_parts_here(void)
{
    start(50);
    char *memory = fresh(3);
    enum cal__guard guard = cal__guard_next();
    require(cal__guard_install_as(memory, 3 * page, guard));
    require(cal__guard_open(memory + page, page, guard));
    memory[page] = 1;
    if (mlock(memory + page, page) != 0)
        _exit(SKIPPED);
    /* A mark is refused, and then nothing has changed. */
    bool shut = cal__guard_shut(memory + page, page, guard);
    require(shut == (guard == CAL_GUARD_PROTECTED));
    require(shut ? !can_touch(memory + page) : memory[page] == 1);
    require(cal__guard_open(memory + page, page, guard));
    require(memory[page] == !shut);
}

static void parts_in_locked_memory(void **state)
{
    for (int i = 0; i < 2; i++) {
        protect_only = i == 1;
        passes_or_is_skipped(locked_parts_here);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_guard_faults),
        cmocka_unit_test(touching_is_a_fault),
        cmocka_unit_test(guards_survive_fork_and_purging),
        cmocka_unit_test(guards_are_counted),
        cmocka_unit_test(marking_needs_no_mappings),
        cmocka_unit_test(the_budget_is_kept),
        cmocka_unit_test(without_a_budget_nothing_is_protected),
        cmocka_unit_test(others_use_up_the_mappings),
        cmocka_unit_test(the_first_are_protected),
        cmocka_unit_test(memory_of_the_callers_serves),
        cmocka_unit_test(locked_memory_has_guards_too),
        cmocka_unit_test(without_a_start_there_are_none),
        cmocka_unit_test(threads_share_the_budget),
        cmocka_unit_test(parts_are_opened_and_shut),
        cmocka_unit_test(parts_have_a_budget),
        cmocka_unit_test(parts_in_locked_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
