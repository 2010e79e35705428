/* Where addresses lie: test_place MODULE, a library that is loaded from copies of it. */
#include "support.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "place.h"

static const char *module;
static char folder[] = "/tmp/libcalloc-place-XXXXXX";

static int make_folder(void **state)
{
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    return rmdir(folder);
}

/* Loads a copy of the module by that name, and removes the file. */
static void *load(const char *name, const void **function)
{
    char path[sizeof folder + 100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int from = open(module, O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    struct stat about;
    assert_true(from >= 0 && to >= 0 && fstat(from, &about) == 0);
    assert_int_equal(sendfile(to, from, NULL, (size_t)about.st_size), about.st_size);
    close(from);
    close(to);
    void *handle = dlopen(path, RTLD_NOW);
    assert_non_null(handle);
    unlink(path);
    *function = dlsym(handle, "function_of_module");
    assert_non_null(*function);
    return handle;
}

/* The offset is the one that the file's symbols have. */
static void assert_offset(uintptr_t offset)
{
    static uintptr_t right;
    const void *function;
    if (right == 0) {
        Dl_info information;
        void *handle = load("first.so", &function);
        assert_int_not_equal(dladdr(function, &information), 0);
        right = (uintptr_t)function - (uintptr_t)information.dli_fbase;
        dlclose(handle);
    }
    assert_int_equal(offset, right);
}

static void what_is_loaded_is_found(void **state)
{
    struct cal__place place;
    const void *function;
    void *handle = load("alpha.so", &function);
    errno = 4711;
    assert_true(cal__place_find(function, &place));
    assert_int_equal(errno, 4711);
    assert_string_equal(place.file, "alpha.so");
    assert_offset(place.offset);
    assert_true(cal__place_find((const void *)what_is_loaded_is_found, &place));
    assert_string_equal(place.file, "test_place");
    dlclose(handle);
}

static void nothing_is_found_elsewhere(void **state)
{
    struct cal__place place;
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    const void *const elsewhere[] = {NULL, (const void *)16, &place, page,
                                     (const void *)UINTPTR_MAX};
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        assert_false(cal__place_find(elsewhere[i], &place));
        assert_int_equal(cal__place_remember(elsewhere[i]), 0);
        assert_false(cal__place_recall(0, elsewhere[i], &place));
    }
    munmap(page, 4096);
}

/* The next library comes to where the first one was. */
static void what_was_unloaded_is_remembered(void **state)
{
    struct cal__place place;
    const void *functions[2];
    uint8_t numbers[2];
    void *handle = load("alpha.so", &functions[0]);
    numbers[0] = cal__place_remember(functions[0]);
    assert_int_not_equal(numbers[0], 0);
    assert_int_equal(cal__place_remember(functions[0]), numbers[0]);
    dlclose(handle);
    assert_false(cal__place_find(functions[0], &place));
    handle = load("omega.so", &functions[1]);
    numbers[1] = cal__place_remember(functions[1]);
    assert_int_not_equal(numbers[1], numbers[0]);
    dlclose(handle);
    static const char *const names[] = {"alpha.so", "omega.so"};
    for (size_t i = 0; i < 2; i++) {
        assert_true(cal__place_recall(numbers[i], functions[i], &place));
        assert_string_equal(place.file, names[i]);
        assert_offset(place.offset);
    }
}

static void a_long_name_is_cut(void **state)
{
    struct cal__place place;
    const void *function;
    char name[91];
    memset(name, 'n', 90);
    name[90] = '\0';
    void *handle = load(name, &function);
    uint8_t number = cal__place_remember(function);
    assert_int_equal(cal__place_remember(function), number);
    name[CAL_PLACE_NAME - 1] = '\0';
    assert_true(cal__place_find(function, &place));
    assert_string_equal(place.file, name);
    dlclose(handle);
    assert_true(cal__place_recall(number, function, &place));
    assert_string_equal(place.file, name);
}

static void there_is_room_for_so_many(void **state)
{
    struct cal__place place;
    const void *function;
    unsigned without = 0;
    for (unsigned i = 0; i < 300; i++) {
        char name[20];
        snprintf(name, sizeof name, "%u.so", i);
        void *handle = load(name, &function);
        uint8_t number = cal__place_remember(function);
        without += number == 0;
        assert_true(number != 0 || i >= 200);
        if (number != 0) {
            assert_true(cal__place_recall(number, function, &place));
            assert_string_equal(place.file, name);
        }
        assert_true(cal__place_find(function, &place));
        assert_string_equal(place.file, name);
        dlclose(handle);
    }
    assert_in_range(without, 45, 100);
}

int main(int count, char **arguments)
{
    module = count > 1 ? arguments[1] : "";
    cal__place_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_loaded_is_found),
        cmocka_unit_test(nothing_is_found_elsewhere),
        cmocka_unit_test(what_was_unloaded_is_remembered),
        cmocka_unit_test(a_long_name_is_cut),
        cmocka_unit_test(there_is_room_for_so_many),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
