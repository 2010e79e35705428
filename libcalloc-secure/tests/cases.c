#include "cases.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SECONDS = 240, TEXT = 8192 };

struct outcome {
    int ending;
    char said[TEXT];     /* on standard error */
    char expected[TEXT]; /* on standard output */
};

/* Both ends at once: a pipe that nobody empties would stop the child. */
static void take(int descriptor, char *text)
{
    size_t length = strlen(text);
    ssize_t got = read(descriptor, text + length, TEXT - 1 - length);
    if (got > 0)
        text[length + (size_t)got] = '\0';
}

static void to_file(int *descriptor)
{
    *descriptor = (int)syscall(SYS_memfd_create, "test", 0);
    require(*descriptor >= 0);
}

static void start_again(const struct test_case *one, int out, int err)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(SECONDS);
    require(dup2(out, STDOUT_FILENO) == STDOUT_FILENO);
    require(dup2(err, STDERR_FILENO) == STDERR_FILENO);
    setenv("CALLOC_OPTIONS", one->options, 1);
    if (one->refused != 0 && !answer_getrandom(one->refused))
        _exit(77);
    execl("/proc/self/exe", "test", "--case", one->name, (char *)NULL);
    _exit(99);
}

static void run(const struct test_case *one, struct outcome *outcome)
{
    int out, err;
    to_file(&out);
    to_file(&err);
    fflush(NULL);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0)
        start_again(one, out, err);
    int status;
    require(waitpid(child, &status, 0) == child);
    outcome->ending = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    outcome->said[0] = outcome->expected[0] = '\0';
    require(lseek(out, 0, SEEK_SET) == 0 && lseek(err, 0, SEEK_SET) == 0);
    take(out, outcome->expected);
    take(err, outcome->said);
    close(out);
    close(err);
}

/* Takes ", found at 0x… (name+0x…)" away, of each line. */
static void leave_out_places(char *text)
{
    static const char begin[] = ", found at 0x";
    for (char *place; (place = strstr(text, begin)) != NULL;) {
        char *rest = place + sizeof begin - 1;
        rest += strspn(rest, "0123456789abcdef");
        if (strncmp(rest, " (", 2) == 0)
            rest += strcspn(rest, ")") + 1;
        memmove(place, rest, strlen(rest) + 1);
    }
}

static void test_one(void **state)
{
    const struct test_case *one = *state;
    static struct outcome outcome;
    run(one, &outcome);
    leave_out_places(outcome.said);
    if (outcome.ending == 77)
        skip_because("not possible here");
    const char *expected = one->silent ? "" : outcome.expected;
    if (outcome.ending != one->ending || strcmp(outcome.said, expected) != 0)
        print_error("%s with '%s' ended with %d, said:\n%swhere this was expected, and %d:\n%s",
                    one->name, one->options, outcome.ending, outcome.said, one->ending, expected);
    assert_int_equal(outcome.ending, one->ending);
    assert_string_equal(outcome.said, expected);
}

enum { CASES = 256 };

int run_cases(int count, char **arguments, const struct test_case *cases, size_t length)
{
    if (count == 3 && strcmp(arguments[1], "--case") == 0) {
        for (size_t i = 0; i < length; i++)
            if (strcmp(cases[i].name, arguments[2]) == 0) {
                cases[i].function();
                return 0;
            }
        return 98;
    }
    static struct CMUnitTest tests[CASES];
    static char names[CASES][120];
    require(length <= CASES);
    for (size_t i = 0; i < length; i++) {
        snprintf(names[i], sizeof names[i], "%s [%s]", cases[i].name, cases[i].options);
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = test_one, .initial_state = (void *)&cases[i]};
    }
    return _cmocka_run_group_tests("cases", tests, length, NULL, NULL);
}

void expect(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    require(length > 0 && (size_t)length < sizeof line);
    require(write(STDOUT_FILENO, line, (size_t)length) == length);
}

void expect_of(const char *what, const void *block, size_t damage, size_t requested)
{
    char text[100] = "", asked[60] = "", size[60] = "";
    const struct cal_slab *slab = slab_of(block);
    if (damage != SIZE_MAX)
        snprintf(text, sizeof text, ", byte %zd", (ssize_t)damage);
    if (slab != NULL)
        snprintf(size, sizeof size, ", block of %zu bytes", slab->block_size);
    if (requested != SIZE_MAX)
        snprintf(asked, sizeof asked, ", requested %zu", requested);
    expect("libcalloc: %s of %p%s%s%s, thread %d\n", what, block, text, size, asked,
           (int)syscall(SYS_gettid));
}

struct cal_secure_state state_now(void)
{
    struct cal_secure_state state = {.size = sizeof state};
    require(cal_secure_state(&state) == 0);
    return state;
}

void *opaque(void *pointer)
{
    void *volatile hidden = pointer;
    return hidden;
}

const struct cal_slab *slab_of(const void *block)
{
    return cal_slot_find(block, NULL);
}

size_t room_of(const void *block)
{
    const struct cal_slab *slab = slab_of(block);
    require(slab != NULL);
    return slab->room;
}

/* Neighbours are found by taking many: a slab is full sooner or later. */
enum { MANY = 20000 };

static bool is_ours(const unsigned char *block, size_t size)
{
    return block[0] == 0x33 && memcmp(block, block + 1, size - 1) == 0;
}

unsigned char *block_between(size_t size, unsigned char **below, unsigned char **above)
{
    static unsigned char *blocks[MANY];
    for (size_t i = 0; i < MANY; i++) {
        require((blocks[i] = malloc(size)) != NULL);
        memset(blocks[i], 0x33, size);
    }
    for (size_t i = 0; i < MANY; i++) {
        uint32_t slot;
        const struct cal_slab *slab = cal_slot_find(blocks[i], &slot);
        require(slab != NULL);
        if (slot == 0 || slot + 1 == slab->slots)
            continue;
        *below = blocks[i] - slab->block_size;
        *above = blocks[i] + slab->block_size;
        if (cal_secure_object_size(*below) == size && cal_secure_object_size(*above) == size &&
            is_ours(*below, size) && is_ours(*above, size))
            return blocks[i];
    }
    require(false);
}

void fill(void *block, size_t size, unsigned seed)
{
    unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(seed + i * 7 + (i >> 8) * 13);
}

bool is_filled(const void *block, size_t size, unsigned seed)
{
    const unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(seed + i * 7 + (i >> 8) * 13))
            return false;
    return true;
}

bool is_zero(const void *block, size_t size)
{
    const unsigned char *bytes = block;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

uint64_t next_number(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

size_t repeated(size_t count)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return count / 20;
#else
    return count;
#endif
}
