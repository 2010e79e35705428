/* What memory is said to be readable is, and the rest is not. */
#include <errno.h>
#include <maps.h>
#include <sys/mman.h>

#include "support.h"

#ifndef MADV_GUARD_INSTALL
#    define MADV_GUARD_INSTALL 102
#endif

enum { PAGE = 4096, PAGES = 200 };

static struct cal__maps maps;

static char *map_pages(void)
{
    char *pages = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    return pages;
}

/* Bytes from START on, as far as its mapping goes. */
static size_t readable(const char *start, const char *end)
{
    uintptr_t at = (uintptr_t)start;
    while (at < (uintptr_t)end) {
        const struct cal__map *map = cal__maps_find(&maps, at);
        uintptr_t next = map == NULL ? at : cal__maps_readable(&maps, map, at, (uintptr_t)end);
        if (next == at)
            break;
        at = next;
    }
    return at - (uintptr_t)start;
}

static void all_of_a_mapping(void **state)
{
    (void)state;
    char *pages = map_pages();
    assert_true(cal__maps_read(&maps));
    assert_int_equal(readable(pages, pages + PAGES * PAGE), PAGES * PAGE);
    assert_int_equal(readable(pages + 24, pages + 32), 8);
    assert_int_equal(readable(pages + 5 * PAGE - 8, pages + 5 * PAGE + 8), 16);
    munmap(pages, (size_t)PAGES * PAGE);
    cal__maps_free(&maps);
}

static void not_what_is_protected(void **state)
{
    (void)state;
    char *pages = map_pages();
    assert_int_equal(mprotect(pages + 70 * PAGE, PAGE, PROT_NONE), 0);
    assert_true(cal__maps_read(&maps));
    assert_int_equal(readable(pages, pages + PAGES * PAGE), 70 * PAGE);
    assert_int_equal(readable(pages + 70 * PAGE, pages + PAGES * PAGE), 0);
    assert_int_equal(readable(pages + 71 * PAGE, pages + PAGES * PAGE), 129 * PAGE);
    munmap(pages, (size_t)PAGES * PAGE);
    cal__maps_free(&maps);
}

static void not_guards(void **state)
{
    static const size_t guards[] = {0, 64, 65, 130, 199};
    (void)state;
    char *pages = map_pages();
    for (size_t i = 0; i < 5; i++)
        if (madvise(pages + guards[i] * PAGE, PAGE, MADV_GUARD_INSTALL) != 0) {
            print_message("skipped: MADV_GUARD_INSTALL: %s\n", strerror(errno));
            skip();
        }
    assert_true(cal__maps_read(&maps));
    assert_int_equal(readable(pages, pages + PAGES * PAGE), 0);
    assert_int_equal(readable(pages + 8, pages + PAGES * PAGE), 0);
    assert_int_equal(readable(pages + PAGE, pages + PAGES * PAGE), 63 * PAGE);
    assert_int_equal(readable(pages + 10 * PAGE + 8, pages + 64 * PAGE + 8), 54 * PAGE - 8);
    assert_int_equal(readable(pages + 65 * PAGE, pages + PAGES * PAGE), 0);
    assert_int_equal(readable(pages + 66 * PAGE, pages + PAGES * PAGE), 64 * PAGE);
    assert_int_equal(readable(pages + 131 * PAGE, pages + PAGES * PAGE), 68 * PAGE);
    assert_int_equal(readable(pages + 131 * PAGE, pages + 131 * PAGE + 16), 16);
    munmap(pages, (size_t)PAGES * PAGE);
    cal__maps_free(&maps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_a_mapping),
        cmocka_unit_test(not_what_is_protected),
        cmocka_unit_test(not_guards),
    };
    return cmocka_run_group_tests_name("track, maps", tests, NULL, NULL);
}
