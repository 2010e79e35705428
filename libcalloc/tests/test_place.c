/* Where segments and slabs lie when an add-on wants that to be chance. Each test runs in a process of its own,
 * which begins with an empty heap: place() answers what the test says. */
#include "support.h"

#include <calloc/hooks.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base.h"

enum { SLABS = 400, MODES = 3 };

/* What place() answers: nothing but zeros, the largest, or one that nobody chose. */
enum mode { LEAST, MOST, ANY };
static struct random numbers = {1};

static char *slabs[SLABS];
static size_t opened;

static bool open_slab(struct cal_slab *slab)
{
    if (slab->slots > 1 && opened < SLABS)
        slabs[opened++] = slab->address;
    return true;
}

/* Libraries may allocate before main(), so the name of the test is in the environment. */
#define TEST_MODE "TEST_PLACE"

static uint64_t place(void)
{
    const char *number = getenv(TEST_MODE);
    enum mode mode = number == NULL ? LEAST : (enum mode)(*number - '0');
    return mode == LEAST ? 0 : mode == MOST ? UINT64_MAX : random_next(&numbers);
}

static const struct cal_slots role = {.size = sizeof role, .open = open_slab, .place = place};
extern const struct cal_hooks cal_addon_secure;
const struct cal_hooks cal_addon_secure = {.size = sizeof cal_addon_secure,
                                           .version = CAL_HOOKS_VERSION,
                                           .name = "place",
                                           .component_version = "1",
                                           .slots = &role};

static size_t mappings(void)
{
    /* On no heap. */
    static char buffer[1 << 20];
    FILE *file = fopen("/proc/self/maps", "r");
    require(file != NULL && setvbuf(file, buffer, _IOFBF, sizeof buffer) == 0);
    size_t count = 0;
    for (int c; (c = getc(file)) != EOF;)
        count += c == '\n';
    fclose(file);
    return count;
}

/* Slabs of one granule each, and one block of several segments in between. */
static void fill_heap(void)
{
    while (opened < SLABS) {
        require(cal_allocate(8000) != NULL);
        if (opened == SLABS / 2)
            require(cal_allocate((size_t)20 << 20) != NULL);
    }
}

static size_t ascents(void)
{
    size_t count = 0;
    for (size_t i = 1; i < SLABS; i++)
        count += slabs[i] > slabs[i - 1];
    return count;
}

/* The kernel's next mapping, and the first slab: how far that is below. */
static uint64_t distance(void)
{
    char *next = mmap(NULL, CAL_OS_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(next != MAP_FAILED);
    require(cal_allocate(8000) != NULL);
    require(opened != 0);
    return (uint64_t)(next - slabs[0]);
}

static void least(void)
{
    require(distance() < (uint64_t)1 << 30);
    fill_heap();
    /* In order, but where a segment begins. */
    require(ascents() > SLABS * 9 / 10);
}

static void most(void)
{
    /* 2^40 bytes, or a quarter of what there is. */
    require(distance() > ((uint64_t)1 << 40) - ((uint64_t)1 << 30) || CAL_ADDRESS_BITS < 47);
    fill_heap();
    require(ascents() < SLABS * 2 / 10);
}

static void any(void)
{
    size_t before = mappings();
    fill_heap();
    size_t ascending = ascents();
    require(ascending > SLABS / 4 && ascending < SLABS * 3 / 4);
    /* No two in one place. */
    for (size_t i = 0; i < SLABS; i++)
        for (size_t j = 0; j < i; j++)
            require(slabs[i] != slabs[j]);
    /* The heap is one mapping, records another. */
    require(mappings() <= before + 3);
}

/* This program again, with an empty heap. */
static void run(const char *name, enum mode mode)
{
    const char number[] = {(char)('0' + mode), '\0'};
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        setenv(TEST_MODE, number, 1);
        execl("/proc/self/exe", "test", name, (char *)NULL);
        _exit(99);
    }
    int status;
    require(waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
}

static const struct {
    const char *name;
    void (*function)(void);
} parts[MODES] = {[LEAST] = {"least", least}, [MOST] = {"most", most}, [ANY] = {"any", any}};

static void places(void **state)
{
    (void)state;
    for (size_t i = 0; i < MODES; i++)
        run(parts[i].name, (enum mode)i);
}

int main(int count, char **arguments)
{
    for (size_t i = 0; i < MODES && count == 2; i++)
        if (strcmp(arguments[1], parts[i].name) == 0) {
            parts[i].function();
            return 0;
        }
    const struct CMUnitTest tests[] = {cmocka_unit_test(places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
