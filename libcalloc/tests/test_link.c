/* Links between records: what is written over one leads nowhere, and lists whose links do not agree end the
 * process. */
#include "support.h"

#include "link.h"
#include "page.h"

static uint64_t secret(void)
{
    return UINT64_C(0x243f6a8885a308d3);
}

static const struct cal_slots role = {.size = sizeof role, .secret = secret};

/* Bound before the first allocation, when there are no links yet. */
extern const struct cal_hooks cal_addon_secure;
const struct cal_hooks cal_addon_secure = {.size = sizeof cal_addon_secure,
                                           .version = CAL_HOOKS_VERSION,
                                           .name = "link",
                                           .component_version = "1",
                                           .slots = &role};

static int start(void **state)
{
    (void)state;
    /* In a sanitizer's builds it is the first. */
    cal_deallocate(cal_allocate(1));
    return cal__link_encoded((void *)4096) != 4096 ? 0 : -1;
}

static void followed(void **state)
{
    (void)state;
    struct random random = {1};
    struct cal__link link = {0};
    assert_null(cal__link_get(&link));
    for (int i = 0; i < 100000; i++) {
        void *address = (void *)(random_next(&random) >> (64 - CAL_ADDRESS_BITS));
        cal__link_set(&link, address);
        assert_ptr_equal(cal__link_get(&link), address);
    }
    cal__link_set(&link, NULL);
    assert_int_equal(link.word, 0);
}

/* Of all words that are not written with the secret one of 2^17 would be an address. */
static void damaged(void **state)
{
    (void)state;
    struct random random = {2};
    size_t tries = 0, addresses = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t word = cal__link_encoded((void *)(random_next(&random) >> 17 & ~UINT64_C(63)));
        for (unsigned bit = 6; bit < 64; bit++, tries++)
            addresses += cal__link_decoded(word ^ UINT64_C(1) << bit) >> CAL_ADDRESS_BITS == 0;
        /* The lowest bytes, as by a string that is one byte too long, and the whole. */
        for (unsigned bytes = 1; bytes <= 8; bytes++, tries++) {
            uint64_t kept = bytes == 8 ? 0 : word >> 8 * bytes << 8 * bytes;
            uint64_t written = UINT64_C(0x4141414141414141) >> (64 - 8 * bytes);
            addresses += cal__link_decoded(kept | written) >> CAL_ADDRESS_BITS == 0;
        }
    }
    assert_true(addresses <= tries / 1000);
}

static void follow_damaged(void)
{
    struct cal__link *link = blame(calloc(1, sizeof *link));
    cal__link_set(link, link);
    link->word ^= 1 << 12;
    cal__link_get(link);
}

static void damaged_dies(void **state)
{
    (void)state;
    assert_dies_with("corrupted metadata", follow_damaged);
}

/* Lists. */

static struct cal__page pages[4];
static struct cal__link first, last;

static void make_list(void)
{
    memset(pages, 0, sizeof pages);
    first.word = last.word = 0;
    for (size_t i = 0; i < 3; i++)
        cal__page_list_append(&first, &last, &pages[i]);
}

static void lists(void **state)
{
    (void)state;
    make_list();
    assert_ptr_equal(cal__link_get(&first), &pages[0]);
    assert_ptr_equal(cal__link_get(&last), &pages[2]);
    cal__page_list_remove(&first, &last, &pages[1]);
    assert_ptr_equal(cal__page_next(&pages[0]), &pages[2]);
    assert_ptr_equal(cal__page_previous(&pages[2]), &pages[0]);
    assert_null(cal__page_next(&pages[1]));
    assert_null(cal__page_previous(&pages[1]));
    cal__page_list_remove(&first, &last, &pages[2]);
    assert_ptr_equal(cal__link_get(&last), &pages[0]);
    cal__page_list_remove(&first, &last, &pages[0]);
    assert_null(cal__link_get(&first));
    assert_null(cal__link_get(&last));
    for (size_t i = 0; i < 3; i++)
        cal__page_list_push(&first, &pages[i]);
    for (size_t i = 3; i-- > 0;) {
        assert_ptr_equal(cal__link_get(&first), &pages[i]);
        cal__page_list_remove(&first, NULL, &pages[i]);
    }
    assert_null(cal__link_get(&first));
}

/* A link of the list leads to a page that does not say so, but would be one. */
static void remove_after_forged_next(void)
{
    make_list();
    cal__page_set_next(&pages[1], &pages[3]);
    cal__page_list_remove(&first, &last, blame(&pages[1]));
}

static void remove_after_forged_previous(void)
{
    make_list();
    cal__page_set_previous(&pages[1], &pages[3]);
    cal__page_list_remove(&first, &last, blame(&pages[1]));
}

static void remove_last_after_forged_last(void)
{
    make_list();
    cal__link_set(&last, &pages[1]);
    cal__page_list_remove(&first, &last, blame(&pages[2]));
}

static void remove_first_after_forged_first(void)
{
    make_list();
    cal__link_set(&first, &pages[3]);
    cal__page_list_remove(&first, &last, blame(&pages[0]));
}

static void push_before_forged_first(void)
{
    make_list();
    cal__link_set(&first, &pages[2]);
    blame(&pages[2]);
    cal__page_list_push(&first, &pages[3]);
}

static void append_behind_forged_last(void)
{
    make_list();
    cal__link_set(&last, &pages[1]);
    blame(&pages[1]);
    cal__page_list_append(&first, &last, &pages[3]);
}

static void forged_lists_die(void **state)
{
    (void)state;
    assert_dies_with("corrupted metadata", remove_after_forged_next);
    assert_dies_with("corrupted metadata", remove_after_forged_previous);
    assert_dies_with("corrupted metadata", remove_last_after_forged_last);
    assert_dies_with("corrupted metadata", remove_first_after_forged_first);
    assert_dies_with("corrupted metadata", push_before_forged_first);
    assert_dies_with("corrupted metadata", append_behind_forged_last);
}

/* Each word counts, at each place. */
static void sums(void **state)
{
    (void)state;
    struct random random = {3};
    for (int i = 0; i < 1000; i++) {
        uint64_t words[8];
        uint64_t whole = 1;
        for (size_t j = 0; j < 8; j++)
            whole = cal__link_sum(whole, words[j] = random_next(&random));
        size_t changed = random_below(&random, 8);
        words[changed] ^= UINT64_C(1) << random_below(&random, 64);
        uint64_t other = 1;
        for (size_t j = 0; j < 8; j++)
            other = cal__link_sum(other, words[j]);
        assert_true(other != whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(followed),         cmocka_unit_test(damaged),
        cmocka_unit_test(damaged_dies),     cmocka_unit_test(lists),
        cmocka_unit_test(forged_lists_die), cmocka_unit_test(sums),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
