/* cal_sandbox_lockdown, by either mechanism: what is refused, to whom, and that a lockdown which fails
 * leaves nothing behind. The filter is tested where the kernel has the other, too, by a filter that
 * answers the calls of prctl for that as an older kernel does.
 *
 *   test_lockdown              the tests
 *   test_lockdown after-exec   tries what a program can do that was started by a process in lockdown */
#include "support.h"

#include <dlfcn.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGE = 65536, SKIPPED = 77 };
enum { SET_MDWE = 65, GET_MDWE = 66 };
enum { REFUSE_EXEC_GAIN = 1, NO_INHERIT = 2 };

static bool kernel_has_mdwe;

static long filter_count(void)
{
    return status_number(getpid(), "Seccomp_filters");
}

/* As on a kernel before 6.3. */
static void hide_mdwe(void)
{
    require(answer(SCMP_SYS(prctl), SET_MDWE, EINVAL));
    require(answer(SCMP_SYS(prctl), GET_MDWE, EINVAL));
}

/* --- what a process can do --------------------------------------------------- */

static void *fresh(int protection)
{
    return mmap(NULL, PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static bool can_map(int protection)
{
    void *memory = fresh(protection);
    if (memory != MAP_FAILED)
        munmap(memory, PAGE);
    else
        require(errno == EACCES || errno == EPERM);
    return memory != MAP_FAILED;
}

static bool can_protect(int protection, bool with_key)
{
    void *memory = fresh(PROT_READ | PROT_WRITE);
    require(memory != MAP_FAILED);
    long result = with_key ? syscall(SYS_pkey_mprotect, memory, PAGE, protection, -1)
                           : mprotect(memory, PAGE, protection);
    require(result == 0 || errno == EACCES || errno == EPERM);
    munmap(memory, PAGE);
    return result == 0;
}

/* A block of the heap, whoever's malloc that is; back again, should it have worked. */
static bool can_protect_heap(void)
{
    const uintptr_t mask = PAGE - 1;
    char *block = malloc(3 * PAGE);
    require(block != NULL);
    char *inside = (char *)(((uintptr_t)block + mask) & ~mask);
    int result = mprotect(inside, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    require(result == 0 || errno == EACCES || errno == EPERM);
    require(mprotect(inside, PAGE, PROT_READ | PROT_WRITE) == 0);
    memset(block, 1, 3 * PAGE);
    free(block);
    return result == 0;
}

/* OTHERWISE where there is no shared memory of System V. */
static bool can_attach_code(bool otherwise)
{
    int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0700);
    if (id < 0)
        return otherwise;
    void *memory = shmat(id, NULL, SHM_EXEC);
    int error = errno;
    shmctl(id, IPC_RMID, NULL);
    if (memory != (void *)-1)
        shmdt(memory);
    else
        require(error == EACCES || error == EPERM);
    return memory != (void *)-1;
}

static bool is_open(void)
{
    bool open = can_map(PROT_READ | PROT_WRITE | PROT_EXEC);
    require(can_map(PROT_WRITE | PROT_EXEC) == open);
    require(can_protect(PROT_READ | PROT_EXEC, false) == open);
    require(can_protect(PROT_READ | PROT_WRITE | PROT_EXEC, false) == open);
    require(can_protect(PROT_EXEC, true) == open);
    require(can_protect_heap() == open);
    require(can_attach_code(open) == open);
    return open;
}

static void all_else_works(void)
{
    require(can_map(PROT_NONE) && can_map(PROT_READ | PROT_WRITE));
    require(can_map(PROT_READ | PROT_EXEC));
    require(can_protect(PROT_NONE, false) && can_protect(PROT_READ, true));
    require(personality(0xffffffff) != -1);
    void *library = dlopen("libm.so.6", RTLD_NOW);
    require(library != NULL);
    double (*cosine)(double);
    *(void **)&cosine = dlsym(library, "cos");
    require(cosine != NULL && cosine(0) == 1);
}

/* The lockdown, and that it is in force. */
static void lock_down(int mechanism)
{
    require(is_open());
    require(cal_sandbox_locked() == CAL_SANDBOX_NONE);
    errno = 42;
    int result = cal_sandbox_lockdown();
    require(errno == 42);
    require(result == mechanism);
    require(cal_sandbox_locked() == mechanism);
    require(!is_open());
}

static void errors_are(int error)
{
    errno = 0;
    require(fresh(PROT_READ | PROT_WRITE | PROT_EXEC) == MAP_FAILED && errno == error);
    void *memory = fresh(PROT_READ | PROT_WRITE);
    errno = 0;
    require(mprotect(memory, PAGE, PROT_READ | PROT_EXEC) == -1 && errno == error);
    munmap(memory, PAGE);
}

/* --- each test, for a mechanism ---------------------------------------------- */

static int expected;

static void begin(void)
{
    if (expected == CAL_SANDBOX_SECCOMP)
        hide_mdwe();
}

static void refuse_what_is_to_be_refused(void)
{
    begin();
    lock_down(expected);
    errors_are(expected == CAL_SANDBOX_MDWE ? EACCES : EPERM);
    all_else_works();
}

static void be_idempotent(void)
{
    begin();
    lock_down(expected);
    long filters = filter_count();
    require(cal_sandbox_lockdown() == expected);
    require(cal_sandbox_lockdown() == expected);
    require(filter_count() == filters);
    require(!is_open());
}

static _Atomic int running;
static _Atomic int locked;

static void *running_thread(void *argument)
{
    (void)argument;
    require(is_open());
    running++;
    wait_until(&locked, 1);
    require(!is_open());
    return NULL;
}

static void *later_thread(void *argument)
{
    (void)argument;
    require(!is_open());
    require(cal_sandbox_lockdown() == expected && cal_sandbox_locked() == expected);
    return NULL;
}

static void hold_for_all_threads(void)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    pthread_t later;
    begin();
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, running_thread, NULL) == 0);
    wait_until(&running, THREADS);
    lock_down(expected);
    locked = 1;
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0);
    require(pthread_create(&later, NULL, later_thread, NULL) == 0);
    require(pthread_join(later, NULL) == 0);
}

static void *racing_thread(void *argument)
{
    running++;
    wait_until(&locked, 1);
    require(cal_sandbox_lockdown() == expected);
    return argument;
}

/* The threads get one filter, not one each. */
static void be_done_once(void)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    begin();
    long filters = filter_count();
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, racing_thread, NULL) == 0);
    wait_until(&running, THREADS);
    locked = 1;
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0);
    require(filter_count() == filters + (expected == CAL_SANDBOX_SECCOMP));
    require(!is_open());
}

static void *locking_thread(void *argument)
{
    running++;
    while (locked == 0)
        require(cal_sandbox_lockdown() == expected);
    return argument;
}

static void lock_down_again(void)
{
    /* Should the lock not be free, it never will be. */
    alarm(10);
    require(cal_sandbox_lockdown() == expected);
}

/* The fork happens while another thread is in the function, most of the time. */
static void be_called_while_another_thread_forks(void)
{
    pthread_t thread;
    begin();
    require(pthread_create(&thread, NULL, locking_thread, NULL) == 0);
    wait_until(&running, 1);
    for (int i = 0; i < 100; i++)
        require(status_of(lock_down_again) == 0);
    locked = 1;
    require(pthread_join(thread, NULL) == 0);
}

static void in_child(void)
{
    require(cal_sandbox_locked() == expected);
    require(!is_open());
    require(cal_sandbox_lockdown() == expected);
}

static char own_name[] = "/proc/self/exe";
static char after_exec[] = "after-exec";

static void hold_for_children(void)
{
    char *arguments[] = {own_name, after_exec, NULL};
    begin();
    lock_down(expected);
    require(status_of(in_child) == 0);
    require(status_of_program(arguments, NULL) == 0);
}

static void be_called_in_a_forked_child(void)
{
    begin();
    require(status_of(refuse_what_is_to_be_refused) == 0);
    require(is_open());
    require(cal_sandbox_locked() == CAL_SANDBOX_NONE);
}

static _Atomic int handled;

static void in_handler(int number)
{
    (void)number;
    void *memory = fresh(PROT_READ | PROT_WRITE);
    require(memory != MAP_FAILED);
    require(mprotect(memory, PAGE, PROT_READ | PROT_EXEC) == -1);
    munmap(memory, PAGE);
    handled++;
}

static void hold_in_signal_handlers(void)
{
    begin();
    require(signal(SIGUSR1, in_handler) != SIG_ERR);
    lock_down(expected);
    require(raise(SIGUSR1) == 0 && handled == 1);
}

static void hold_against_personality(void)
{
    begin();
    lock_down(expected);
    bool changed = personality(READ_IMPLIES_EXEC) != -1;
    require(changed == (expected == CAL_SANDBOX_MDWE));
    require(changed || errno == EPERM);
    require(changed || personality(ADDR_NO_RANDOMIZE) != -1);
    /* The kernel's own sees what the personality makes of it. */
    require(!changed || fresh(PROT_READ | PROT_WRITE) == MAP_FAILED);
}

/* What is executable stays so, and nothing else becomes it. */
static void leave_what_was_there(void)
{
    begin();
    char *old = fresh(PROT_READ | PROT_WRITE | PROT_EXEC);
    require(old != MAP_FAILED);
    lock_down(expected);
    old[0] = 1;
    require(mprotect(old, PAGE, PROT_READ | PROT_WRITE) == 0);
    require(mprotect(old, PAGE, PROT_READ | PROT_EXEC) == -1);
}

/* --- no_new_privs ------------------------------------------------------------ */

static long no_new_privs(void)
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L);
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    require(syscall(SYS_capset, &header, none) == 0);
}

static void keep_privileges(void)
{
    begin();
    /* Of a test that is run without CAP_SYS_ADMIN the filter that begins it has set it. */
    long before = no_new_privs();
    lock_down(expected);
    require(no_new_privs() == before);
}

static void give_up_privileges(void)
{
    begin();
    drop_capabilities();
    long before = no_new_privs();
    lock_down(expected);
    require(no_new_privs() == (expected == CAL_SANDBOX_SECCOMP ? 1 : before));
}

/* --- what fails -------------------------------------------------------------- */

static void fail_with(int error)
{
    long filters = filter_count();
    long privileges = no_new_privs();
    require(is_open());
    for (int i = 0; i < 3; i++)
        require(cal_sandbox_lockdown() == -error);
    require(cal_sandbox_locked() == CAL_SANDBOX_NONE);
    require(filter_count() == filters);
    require(no_new_privs() == privileges);
    require(is_open());
}

static int refusal;

static void fail_where_filters_are_refused(void)
{
    hide_mdwe();
    require(answer(SCMP_SYS(seccomp), ANY, refusal));
    fail_with(refusal == EPERM ? EPERM : EOPNOTSUPP);
}

static void *filtered_thread(void *argument)
{
    /* Of this thread alone. */
    require(answer(SCMP_SYS(getppid), ANY, EPERM));
    running++;
    wait_until(&locked, 1);
    require(is_open());
    return argument;
}

static void fail_where_a_thread_has_a_filter(void)
{
    pthread_t thread;
    hide_mdwe();
    require(pthread_create(&thread, NULL, filtered_thread, NULL) == 0);
    wait_until(&running, 1);
    fail_with(ESRCH);
    locked = 1;
    require(pthread_join(thread, NULL) == 0);
    /* Nothing is in the way any more. */
    lock_down(CAL_SANDBOX_SECCOMP);
}

static void fail_where_reading_is_executing(void)
{
    require(personality(READ_IMPLIES_EXEC) != -1);
    require(cal_sandbox_lockdown() == -EBUSY);
    require(cal_sandbox_locked() == CAL_SANDBOX_NONE);
    require(can_map(PROT_READ | PROT_WRITE | PROT_EXEC));
}

/* A filter answers 0 and keeps the call from the kernel. */
static void not_believe_the_kernel(void)
{
    require(answer(SCMP_SYS(prctl), SET_MDWE, 0));
    lock_down(CAL_SANDBOX_SECCOMP);
}

static void not_believe_the_filter(void)
{
    hide_mdwe();
    require(answer(SCMP_SYS(seccomp), ANY, 0));
    fail_with(EOPNOTSUPP);
}

static void *thread_that_reads_code(void *argument)
{
    require(personality(READ_IMPLIES_EXEC) != -1);
    running++;
    wait_until(&locked, 1);
    require(fresh(PROT_READ | PROT_WRITE) == MAP_FAILED && errno == EACCES);
    return argument;
}

/* Of which only the kernel's own knows. */
static void hold_for_a_thread_whose_memory_is_code(void)
{
    pthread_t thread;
    require(pthread_create(&thread, NULL, thread_that_reads_code, NULL) == 0);
    wait_until(&running, 1);
    lock_down(CAL_SANDBOX_MDWE);
    locked = 1;
    require(pthread_join(thread, NULL) == 0);
}

/* The kernel's own, set by somebody else. */
static void know_what_was_set_before(void)
{
    require(prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0L, 0L, 0L) == 0);
    require(cal_sandbox_locked() == CAL_SANDBOX_MDWE);
    require(cal_sandbox_lockdown() == CAL_SANDBOX_MDWE);
    require(!is_open());
}

/* A lockdown is for children too. */
static void not_be_content_with_less(void)
{
    if (prctl(SET_MDWE, REFUSE_EXEC_GAIN | NO_INHERIT, 0L, 0L, 0L) != 0)
        _exit(SKIPPED);
    require(cal_sandbox_locked() == CAL_SANDBOX_MDWE);
    require(cal_sandbox_lockdown() == CAL_SANDBOX_SECCOMP);
    require(status_of(in_child) == 0);
}

/* --- 32-bit calls ------------------------------------------------------------ */

#if defined(__x86_64__)

/* Answers, or a negative errno. */
static long call_32_with(long number, long first, long second, long third, long fourth, long fifth)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(first), "c"(second), "d"(third), "S"(fourth), "D"(fifth)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static long call_32(long number, long first, long second, long third, long fourth)
{
    return call_32_with(number, first, second, third, fourth, -1);
}

enum { GETPID_32 = 20, MPROTECT_32 = 125, PERSONALITY_32 = 136, MMAP_32 = 192, OLD_MMAP_32 = 90 };
enum { PKEY_MPROTECT_32 = 380, IPC_32 = 117, SHMAT_32 = 397 };
/* What ipc is to do; in the upper half is a version that the kernel looks at for some of it. */
enum { IPC_SHMAT = 21, IPC_VERSION = 5 << 16 };

static void have_32_bit_calls(void)
{
    signal(SIGSEGV, SIG_DFL);
    if (call_32(GETPID_32, 0, 0, 0, 0) != getpid())
        _exit(SKIPPED);
}

/* Shared memory of System V by its two ways. At RESULT ipc stores the address; SPACE is unmapped. */
static void hold_for_32_bit_attaching(long result, long space, int error)
{
    int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0700);
    if (id < 0)
        return;
    long as_code = call_32(SHMAT_32, id, space, SHM_EXEC, 0);
    long as_code_old = call_32_with(IPC_32, IPC_SHMAT, id, SHM_EXEC, result, space);
    long as_code_odd = call_32_with(IPC_32, IPC_VERSION | IPC_SHMAT, id, SHM_EXEC, result, space);
    /* Kernels before 5.1 have the older way alone. */
    long as_data = call_32(SHMAT_32, id, space, 0, 0);
    bool attached = as_data == space && shmdt((void *)(uintptr_t)space) == 0;
    long as_data_old = call_32_with(IPC_32, IPC_SHMAT, id, SHM_RDONLY, result, space);
    shmctl(id, IPC_RMID, NULL);
    require(as_code == -error && as_code_old == -error && as_code_odd == -error);
    require((attached || as_data == -ENOSYS) && as_data_old == 0);
}

static void hold_for_32_bit_calls(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *low = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, flags | MAP_32BIT, -1, 0);
    char *space = mmap(NULL, PAGE, PROT_NONE, flags | MAP_32BIT, -1, 0);
    require(low != MAP_FAILED && space != MAP_FAILED && munmap(space, PAGE) == 0);
    const long address = (long)(uintptr_t)low;
    const int error = expected == CAL_SANDBOX_MDWE ? EACCES : EPERM;
    begin();
    lock_down(expected);
    require(call_32(GETPID_32, 0, 0, 0, 0) == getpid());
    require(call_32(MMAP_32, 0, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, flags) == -error);
    require(call_32(MMAP_32, 0, PAGE, PROT_READ | PROT_WRITE, flags) > 0);
    require(call_32(MPROTECT_32, address, PAGE, PROT_READ | PROT_EXEC, 0) == -error);
    require(call_32(MPROTECT_32, address, PAGE, PROT_READ, 0) == 0);
    require(call_32(PKEY_MPROTECT_32, address, PAGE, PROT_READ | PROT_EXEC, -1) == -error);
    require(call_32(PERSONALITY_32, 0xffffffff, 0, 0, 0) >= 0);
    require(call_32(MPROTECT_32, address, PAGE, PROT_READ | PROT_WRITE, 0) == 0);
    hold_for_32_bit_attaching(address, (long)(uintptr_t)space, error);
    if (expected == CAL_SANDBOX_SECCOMP) {
        require(call_32(PERSONALITY_32, READ_IMPLIES_EXEC, 0, 0, 0) == -EPERM);
        require(call_32(OLD_MMAP_32, address, 0, 0, 0) == -EPERM);
    }
}

/* x32: the native number and one bit more. Kernels without it answer ENOSYS to all. */
static void hold_for_x32_calls(void)
{
    begin();
    lock_down(expected);
    long result = syscall(0x40000000 + SYS_mmap, NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(result == -1 && (errno == ENOSYS || errno == EPERM || errno == EACCES));
    require(expected == CAL_SANDBOX_MDWE || errno == EPERM);
}

#endif

/* --- the list ---------------------------------------------------------------- */

static void with_both(void (*function)(void))
{
    expected = CAL_SANDBOX_SECCOMP;
    assert_int_equal(status_of(function), 0);
    if (!kernel_has_mdwe) {
        print_message("not with PR_SET_MDWE, which this kernel does not have\n");
        return;
    }
    expected = CAL_SANDBOX_MDWE;
    assert_int_equal(status_of(function), 0);
}

#define BOTH(name, function)       \
    static void name(void **state) \
    {                              \
        with_both(function);       \
    }
BOTH(what_makes_code_is_refused, refuse_what_is_to_be_refused)
BOTH(the_second_time_nothing_changes, be_idempotent)
BOTH(it_holds_for_threads_that_run_already, hold_for_all_threads)
BOTH(a_fork_finds_the_lock_free, be_called_while_another_thread_forks)
BOTH(it_holds_for_children_and_after_exec, hold_for_children)
BOTH(a_forked_child_may_do_it_alone, be_called_in_a_forked_child)
BOTH(it_holds_in_signal_handlers, hold_in_signal_handlers)
BOTH(it_holds_against_personality, hold_against_personality)
BOTH(what_is_executable_stays_so, leave_what_was_there)
BOTH(privileges_are_kept, keep_privileges)
BOTH(no_new_privs_is_set_where_the_kernel_wants_it, give_up_privileges)

/* Again and again, since two threads seldom meet. */
static void threads_that_race_do_it_once(void **state)
{
    for (int i = 0; i < 50; i++)
        with_both(be_done_once);
}

static void refused_filters_leave_nothing_behind(void **state)
{
    static const int refusals[] = {EPERM, EINVAL, ENOSYS};
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        refusal = refusals[i];
        assert_int_equal(status_of(fail_where_filters_are_refused), 0);
    }
}

static void another_threads_filter_leaves_nothing_behind(void **state)
{
    assert_int_equal(status_of(fail_where_a_thread_has_a_filter), 0);
}

static void a_process_whose_memory_is_code_is_refused(void **state)
{
    assert_int_equal(status_of(fail_where_reading_is_executing), 0);
}

static void an_answer_without_effect_is_not_believed(void **state)
{
    assert_int_equal(status_of(not_believe_the_kernel), 0);
    assert_int_equal(status_of(not_believe_the_filter), 0);
}

static void the_kernel_refuses_threads_whose_memory_is_code(void **state)
{
    if (!kernel_has_mdwe) {
        print_message("skipped: this kernel does not have PR_SET_MDWE\n");
        skip();
    }
    assert_int_equal(status_of(hold_for_a_thread_whose_memory_is_code), 0);
}

static void what_somebody_else_set_is_known(void **state)
{
    if (!kernel_has_mdwe) {
        print_message("skipped: this kernel does not have PR_SET_MDWE\n");
        skip();
    }
    assert_int_equal(status_of(know_what_was_set_before), 0);
    expected = CAL_SANDBOX_SECCOMP;
    int status = status_of(not_be_content_with_less);
    if (status == SKIPPED)
        print_message("not with PR_MDWE_NO_INHERIT, which this kernel does not have\n");
    else
        assert_int_equal(status, 0);
}

#if defined(__x86_64__)
static void it_holds_for_other_numbers_of_calls(void **state)
{
    with_both(hold_for_x32_calls);
    if (status_of(have_32_bit_calls) != 0) {
        print_message("skipped: this kernel has no calls of i386\n");
        skip();
    }
    with_both(hold_for_32_bit_calls);
}
#endif

static int start(void **state)
{
    if (prctl(PR_SET_SECCOMP, 2 /* SECCOMP_MODE_FILTER */, NULL) != -1 || errno != EFAULT) {
        print_error("this kernel has no seccomp filters\n");
        return -1;
    }
    kernel_has_mdwe = prctl(GET_MDWE, 0L, 0L, 0L, 0L) == 0;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], after_exec) == 0)
        return is_open() ? EXIT_FAILURE : EXIT_SUCCESS;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_makes_code_is_refused),
        cmocka_unit_test(the_second_time_nothing_changes),
        cmocka_unit_test(it_holds_for_threads_that_run_already),
        cmocka_unit_test(threads_that_race_do_it_once),
        cmocka_unit_test(a_fork_finds_the_lock_free),
        cmocka_unit_test(it_holds_for_children_and_after_exec),
        cmocka_unit_test(a_forked_child_may_do_it_alone),
        cmocka_unit_test(it_holds_in_signal_handlers),
        cmocka_unit_test(it_holds_against_personality),
        cmocka_unit_test(what_is_executable_stays_so),
        cmocka_unit_test(privileges_are_kept),
        cmocka_unit_test(no_new_privs_is_set_where_the_kernel_wants_it),
        cmocka_unit_test(refused_filters_leave_nothing_behind),
        cmocka_unit_test(another_threads_filter_leaves_nothing_behind),
        cmocka_unit_test(a_process_whose_memory_is_code_is_refused),
        cmocka_unit_test(an_answer_without_effect_is_not_believed),
        cmocka_unit_test(the_kernel_refuses_threads_whose_memory_is_code),
        cmocka_unit_test(what_somebody_else_set_is_known),
#if defined(__x86_64__)
        cmocka_unit_test(it_holds_for_other_numbers_of_calls),
#endif
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
