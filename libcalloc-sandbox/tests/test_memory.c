/* cal_sandbox_allow where memory is short: each allocation in turn is the last that succeeds. The program
 * has a malloc of its own for that, which libseccomp calls. */
#include "support.h"

/* glibc's own, under names that nothing stands before. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static long allowed = -1; /* allocations that still succeed; negative: all */

static bool refused(void)
{
    if (allowed != 0) {
        allowed -= allowed > 0;
        return false;
    }
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return refused() ? NULL : __libc_realloc(block, size);
}

static char before[PROGRAM_MAX];
static char complete[PROGRAM_MAX];
static char after[PROGRAM_MAX];

/* A filter that has rules of its own, for libseccomp to copy. */
static scmp_filter_ctx own_filter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL);
    require(filter != NULL && allow_own(filter));
    return filter;
}

static void a_filter_gets_all_rules_or_none(void **state)
{
    scmp_filter_ctx filter = own_filter();
    long old_length = program_of(filter, before);
    require(old_length > 0);
    assert_int_equal(cal_sandbox_allow(filter), 0);
    long new_length = program_of(filter, complete);
    require(new_length > old_length);
    seccomp_release(filter);

    int untouched = 0;
    int emptied = 0;
    int error = -ENOMEM;
    for (long succeeding = 0; error != 0; succeeding++) {
        filter = own_filter();
        allowed = succeeding;
        error = cal_sandbox_allow(filter);
        allowed = -1;
        long length = program_of(filter, after);
        if (error == 0) {
            require(length == new_length && memcmp(after, complete, (size_t)length) == 0);
        } else {
            require(error == -ENOMEM);
            if (length < 0) {
                require(length == -EINVAL && seccomp_load(filter) == -EINVAL);
                emptied++;
            } else {
                require(length == old_length && memcmp(after, before, (size_t)length) == 0);
                untouched++;
            }
        }
        seccomp_release(filter);
    }
    print_message("as it was: %d times, emptied: %d times\n", untouched, emptied);
    /* Most of what can fail fails before the filter is touched. */
    assert_true(untouched > emptied && emptied > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_gets_all_rules_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
