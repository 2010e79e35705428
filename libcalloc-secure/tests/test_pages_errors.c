/* Errors with blocks that have pages of their own: what is said of them, and that the program goes on where it is only
 * logged or ignored. */
#include "pages_support.h"

#include <signal.h>

#include <calloc/calloc.h>

static void *twice;

static void free_twice(void)
{
    twice = malloc(100);
    free(twice);
    free(blame(twice));
    /* Where it goes on nothing has happened. */
    char *next = malloc(100);
    require(next != twice);
    memset(next, 1, 100);
    free(next);
}

static void free_inside(void)
{
    char *block = malloc(100);
    free(blame(block + 16));
    memset(block, 1, 100);
    require(malloc_usable_size(block) == 100);
    free(block);
}

static void free_unaligned(void)
{
    char *block = malloc(100);
    free(blame(block + 1));
}

static void free_guard(void)
{
    char *block = malloc(112);
    free(blame(block + 112));
}

static void free_never_used(void)
{
    char *block = malloc(112);
    free(blame(block + 64 * page));
}

static void free_inside_freed(void)
{
    char *block = malloc(112);
    free(block);
    free(blame(block + 16));
}

static void free_foreign(void)
{
    char byte[64];
    free(blame(byte + 16));
}

static void overflow(void)
{
    char *block = malloc(41);
    memset(opaque(block), 'x', 43);
    free(blame(block));
    require(!can_touch(block));
}

static void overflow_aligned(void)
{
    char *block = aligned_alloc(1024, 1000);
    ((char *)opaque(block))[1010] ^= 1;
    free(blame(block));
}

static void overflow_resized(void)
{
    char *block = malloc(41);
    memset(opaque(block), 'x', 42);
    blame(block);
    require(realloc(block, 44) == block);
}

static void underflow(void)
{
    char *block = malloc(48);
    ((char *)opaque(block))[-5] = 1;
    free(blame(block));
}

static void mismatched_size(void)
{
    char *block = malloc(48);
    free_sized(blame(block), 47);
    require(!can_touch(block));
}

static void *allocate_as(enum cal_call_kind kind, size_t bytes)
{
    const struct cal_call call = {
        .size = sizeof call, .kind = kind, .bytes = bytes, .alignment = 16};
    void *block = cal__pages_owner.claim(&call);
    require(block != NULL);
    return block;
}

static void mismatched_kind(void)
{
    char *block = blame(allocate_as(CAL_CALL_NEW, 48));
    free(block);
    require(!can_touch(block));
}

static void mismatched_kind_empty(void)
{
    free(blame(allocate_as(CAL_CALL_NEW_ARRAY, 0)));
}

static void no_mismatch(void)
{
    free_sized(malloc(48), 48);
    free_sized(malloc(0), 0);
    free(allocate_as(CAL_CALL_NATIVE, 48));
    cal_deallocate(allocate_as(CAL_CALL_NEW, 48));
    free(NULL);
}

static void wrong_size_and_kind(void)
{
    free_sized(malloc(48), 47);
    free(allocate_as(CAL_CALL_NEW, 48));
}

static void use_freed(void)
{
    char *block = malloc(100);
    free(block);
    require(malloc_usable_size(blame(block)) == 0);
}

static void realloc_inside(void)
{
    char *block = malloc(100);
    require(realloc(blame(block + 16), 200) == NULL);
}

static void errors_are_reported(void **state)
{
    static const struct {
        void (*function)(void);
        const char *what;
        const char *name;
        const char *has;
    } errors[] = {
        {free_twice, "double free", "double_free", ", requested 100"},
        {free_inside, "invalid free", "invalid_free", ", requested 100"},
        {overflow, "overflow", "overflow", ", byte 41, requested 41"},
        {overflow_aligned, "overflow", "overflow", ", byte 1010, requested 1000"},
        {overflow_resized, "overflow", "overflow", ", byte 41, requested 41"},
        {underflow, "overflow", "overflow", ", byte -5, requested 48"},
        {mismatched_size, "mismatched size", "size_mismatch", ", requested 48"},
        {mismatched_kind, "mismatched deallocation", "kind_mismatch", ", requested 48"},
        {mismatched_kind_empty, "mismatched deallocation", "kind_mismatch", ", requested 0"},
        {free_unaligned, "invalid free", "invalid_free", ""},
        {free_guard, "invalid free", "invalid_free", ""},
        {free_never_used, "invalid free", "invalid_free", ""},
        {free_inside_freed, "invalid free", "invalid_free", ""},
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        char options[200], text[LINE_MAX_TEST];
        reports_with(OWN, errors[i].function, errors[i].what, false, text);
        assert_non_null(strstr(text, errors[i].has));
        snprintf(options, sizeof options, OWN ",secure.on_%s=log", errors[i].name);
        reports_with(options, errors[i].function, errors[i].what, true, text);
        assert_non_null(strstr(text, ", found at 0x"));
        reports_with(PROTECTED, errors[i].function, errors[i].what, false, NULL);
    }
    passes_with(OWN, no_mismatch);
    passes_with(OWN ",secure.kinds=0,secure.sizes=0", wrong_size_and_kind);
}

static void all_ignored_here(void)
{
    char *block = malloc(41);
    memset(opaque(block), 'x', 43);
    free(block);
    free(opaque(block));
    free(opaque(block + 16));
    wrong_size_and_kind();
    /* The next use is as if nothing had been. */
    for (size_t i = 0; i < 2000; i++)
        free(memset(malloc(41), 1, 41));
    require(cal__pages_validate() == 0);
}

static void errors_can_be_ignored(void **state)
{
    passes_with(OWN ",secure.on_overflow=ignore,secure.on_double_free=ignore,"
                    "secure.on_invalid_free=ignore,secure.on_size_mismatch=ignore,"
                    "secure.on_kind_mismatch=ignore",
                all_ignored_here);
}

/* What is not the start of a live block is the core's to report. */
static void the_core_reports_the_rest(void **state)
{
    static const struct {
        void (*function)(void);
        const char *starts;
    } errors[] = {
        {free_foreign, "libcalloc: invalid free of 0x"},
        {use_freed, "libcalloc: invalid malloc_usable_size of 0x"},
        {realloc_inside, "libcalloc: invalid realloc of 0x"},
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        char text[LINE_MAX_TEST];
        assert_int_equal(watch_with(OWN, errors[i].function, text, sizeof text), -SIGABRT);
        assert_memory_equal(text, errors[i].starts, strlen(errors[i].starts));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_reported),
        cmocka_unit_test(errors_can_be_ignored),
        cmocka_unit_test(the_core_reports_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
