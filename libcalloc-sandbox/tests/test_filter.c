/* cal_sandbox_allow: what it does to a filter of libseccomp, and what it leaves as it was. Nothing is
 * loaded here. */
#include "support.h"

#include <linux/futex.h>
#include <sys/mman.h>

static char before[PROGRAM_MAX];
static char after[PROGRAM_MAX];

static scmp_filter_ctx new_filter(uint32_t answer)
{
    scmp_filter_ctx filter = seccomp_init(answer);
    require(filter != NULL);
    return filter;
}

/* Refused with ERROR, and the filter is as it was. Releases it. */
static void assert_untouched(scmp_filter_ctx filter, int error)
{
    long length = program_of(filter, before);
    assert_true(length > 0);
    assert_int_equal(cal_sandbox_allow(filter), -error);
    assert_int_equal(program_of(filter, after), length);
    assert_memory_equal(after, before, (size_t)length);
    seccomp_release(filter);
}

static void what_is_no_filter_is_refused(void **state)
{
    static char zeros[4096];
    assert_int_equal(cal_sandbox_allow(NULL), -EINVAL);
    assert_int_equal(cal_sandbox_allow(zeros), -EINVAL);
}

static void a_filter_that_allows_everything_is_refused(void **state)
{
    assert_untouched(new_filter(SCMP_ACT_ALLOW), EACCES);
}

static uint32_t foreign(void)
{
    return seccomp_arch_native() == SCMP_ARCH_S390X ? SCMP_ARCH_AARCH64 : SCMP_ARCH_S390X;
}

/* Of the same byte order as the native one, or libseccomp would not have both in one filter. */
static uint32_t neighbour(void)
{
    return seccomp_arch_native() == SCMP_ARCH_X86_64 ? SCMP_ARCH_X86 : SCMP_ARCH_ARM;
}

static void a_filter_for_another_architecture_is_refused(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    assert_int_equal(seccomp_arch_remove(filter, SCMP_ARCH_NATIVE), 0);
    assert_int_equal(seccomp_arch_add(filter, foreign()), 0);
    assert_untouched(filter, EDOM);
}

static void a_filter_for_several_architectures_is_refused(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    assert_int_equal(seccomp_arch_add(filter, neighbour()), 0);
    assert_untouched(filter, EOPNOTSUPP);
}

static void another_architecture_can_be_joined_afterwards(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    scmp_filter_ctx other = new_filter(SCMP_ACT_KILL);
    assert_int_equal(seccomp_arch_add(other, neighbour()), 0);
    assert_int_equal(seccomp_arch_remove(other, SCMP_ARCH_NATIVE), 0);
    assert_int_equal(cal_sandbox_allow(filter), 0);
    assert_int_equal(seccomp_merge(filter, other), 0);
    assert_true(program_of(filter, after) > 0);
    seccomp_release(filter);
}

static void the_second_time_nothing_changes(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    assert_int_equal(cal_sandbox_allow(filter), 0);
    long length = program_of(filter, before);
    assert_true(length > 0);
    assert_int_equal(cal_sandbox_allow(filter), 0);
    assert_int_equal(program_of(filter, after), length);
    assert_memory_equal(after, before, (size_t)length);
    seccomp_release(filter);
}

static void an_own_rule_for_the_whole_call_stands(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    scmp_filter_ctx other = new_filter(SCMP_ACT_KILL);
    assert_int_equal(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(madvise), 0), 0);
    assert_int_equal(cal_sandbox_allow(filter), 0);
    assert_int_equal(cal_sandbox_allow(other), 0);
    assert_true(program_of(filter, before) < program_of(other, after));
    seccomp_release(filter);
    seccomp_release(other);
}

/* Whatever its action is. libseccomp says nothing of it, so this function cannot either. */
static void an_own_rule_under_a_part_of_the_conditions_stands(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    scmp_filter_ctx other = new_filter(SCMP_ACT_KILL);
    const struct scmp_arg_cmp part =
        SCMP_A2(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(PROT_READ | PROT_WRITE), 0);
    assert_int_equal(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1, part), 0);
    assert_int_equal(cal_sandbox_allow(filter), 0);
    assert_int_equal(cal_sandbox_allow(other), 0);
    assert_true(program_of(filter, before) < program_of(other, after));
    seccomp_release(filter);
    seccomp_release(other);
}

/* The first rule of the table is about mmap. */
static void what_contradicts_the_first_rule_leaves_all_as_it_was(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    assert_int_equal(
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 2,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(PROT_READ | PROT_WRITE), 0),
                         SCMP_A3(SCMP_CMP_EQ, MAP_PRIVATE | MAP_ANONYMOUS)),
        0);
    assert_untouched(filter, EEXIST);
}

static void what_contradicts_a_later_rule_empties_the_filter(void **state)
{
    scmp_filter_ctx filter = new_filter(SCMP_ACT_KILL);
    assert_int_equal(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(futex), 1,
                                      SCMP_A1(SCMP_CMP_EQ, FUTEX_WAKE_PRIVATE)),
                     0);
    assert_int_equal(cal_sandbox_allow(filter), -EEXIST);
    assert_int_equal(seccomp_load(filter), -EINVAL);
    assert_int_equal(program_of(filter, after), -EINVAL);
    assert_int_equal(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 0), -EINVAL);
    assert_int_equal(cal_sandbox_allow(filter), -EINVAL);

    assert_int_equal(seccomp_reset(filter, SCMP_ACT_KILL), 0);
    assert_int_equal(cal_sandbox_allow(filter), 0);
    scmp_filter_ctx other = new_filter(SCMP_ACT_KILL);
    assert_int_equal(cal_sandbox_allow(other), 0);
    long length = program_of(other, before);
    assert_true(length > 0);
    assert_int_equal(program_of(filter, after), length);
    assert_memory_equal(after, before, (size_t)length);
    seccomp_release(filter);
    seccomp_release(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_filter_is_refused),
        cmocka_unit_test(a_filter_that_allows_everything_is_refused),
        cmocka_unit_test(a_filter_for_another_architecture_is_refused),
        cmocka_unit_test(a_filter_for_several_architectures_is_refused),
        cmocka_unit_test(another_architecture_can_be_joined_afterwards),
        cmocka_unit_test(the_second_time_nothing_changes),
        cmocka_unit_test(an_own_rule_for_the_whole_call_stands),
        cmocka_unit_test(an_own_rule_under_a_part_of_the_conditions_stands),
        cmocka_unit_test(what_contradicts_the_first_rule_leaves_all_as_it_was),
        cmocka_unit_test(what_contradicts_a_later_rule_empties_the_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
