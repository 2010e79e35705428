#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <valgrind/valgrind.h>

#include "size_class.h"

_Noreturn void test_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
    abort();
}

bool test_is_slow(void)
{
    return TEST_SANITIZED || RUNNING_ON_VALGRIND;
}

long faults(void)
{
    struct rusage usage;
    require(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_minflt;
}

bool can_populate(void)
{
    enum { LENGTH = 65536 };
    void *probe = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(probe != MAP_FAILED);
    bool can = madvise(probe, LENGTH, MADV_POPULATE_WRITE) == 0;
    require(munmap(probe, LENGTH) == 0);
    return can;
}

size_t test_repeat(size_t count)
{
    return test_is_slow() ? (count + 19) / 20 : count;
}

__attribute__((noinline)) void *opaque(void *pointer)
{
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

uint64_t random_next(struct random *random)
{
    uint64_t x = random->state == 0 ? UINT64_C(0x9e3779b97f4a7c15) : random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(2685821657736338717);
}

size_t random_below(struct random *random, size_t limit)
{
    return (size_t)(random_next(random) >> 11) % limit;
}

size_t random_size(struct random *random, unsigned bits)
{
    size_t doubling = (size_t)1 << random_below(random, bits);
    return doubling + random_below(random, doubling) + (random_below(random, 4) == 0);
}

static unsigned char byte_at(size_t position, uint64_t seed)
{
    return (unsigned char)((position + seed) * 167 + (position >> 8) * 13 + (seed >> 5));
}

void fill(void *block, size_t size, uint64_t seed)
{
    unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(i, seed);
}

bool is_filled(const void *block, size_t size, uint64_t seed)
{
    const unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_at(i, seed))
            return false;
    return true;
}

bool is_zero(const void *block, size_t size)
{
    const unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

struct cal_statistics statistics(void)
{
    struct cal_statistics now = {.size = sizeof now};
    require(cal_stats(&now) == 0);
    return now;
}

bool test_is_annotated(void)
{
    static enum { UNKNOWN, NO, YES } known;
    if (known == UNKNOWN) {
        void *block = malloc(100);
        known = malloc_usable_size(block) == 100 ? YES : NO;
        free(block);
    }
    return known == YES;
}

size_t usable_for(size_t size)
{
    return test_is_annotated() ? size : cal__class_size(cal__size_class(size));
}

size_t charged_for(size_t size)
{
    unsigned size_class = cal__size_class(test_is_annotated() ? size + 16 : size);
    return cal__class_size(TEST_SLOTS ? cal__class_with_slots(size_class) : size_class);
}

size_t request_for(size_t size)
{
    return TEST_SLOTS && !RUNNING_ON_VALGRIND ? size : size - 16;
}

void *test_shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED);
    return memory;
}

void test_unshare_memory(void *memory, size_t size)
{
    require(munmap(memory, size) == 0);
}

/* Shared with the child, which knows the address only when it runs. */
static void *volatile *blamed;

void *blame(void *pointer)
{
    *blamed = pointer;
    return opaque(pointer);
}

/* The child's end is returned as waitpid() has it, its standard error is stored in TEXT. */
static int watch_child(void (*function)(void), char *text, size_t size)
{
    int ends[2];
    require(pipe2(ends, O_CLOEXEC) == 0);
    fflush(NULL);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        require(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        close(ends[1]);
        function();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && ((got = read(ends[0], text + length, size - 1 - length)) > 0 ||
                                 (got < 0 && errno == EINTR)))
        length += got > 0 ? (size_t)got : 0;
    text[length] = '\0';
    close(ends[0]);
    int status;
    require(waitpid(child, &status, 0) == child);
    return status;
}

void assert_dies_with(const char *what, void (*function)(void))
{
    blamed = test_shared_memory(sizeof *blamed);
    char text[2000];
    int status = watch_child(function, text, sizeof text);
    char expected[200];
    snprintf(expected, sizeof expected, "libcalloc: %s of 0x%lx\n", what,
             (unsigned long)(uintptr_t)*blamed);
    test_unshare_memory((void *)blamed, sizeof *blamed);
    assert_string_equal(text, expected);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

void run_in_child(void (*function)(void), char *text, size_t size)
{
    int status = watch_child(function, text, size);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        print_error("the child wrote: %s\n", text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void start_thread(pthread_t *thread, void *(*function)(void *argument), void *argument)
{
    /* Small stacks, so that glibc keeps those of all the threads of a test for re-use: what it
     * allocates for a new one would show in the statistics. */
    pthread_attr_t attributes;
    require(pthread_attr_init(&attributes) == 0);
    require(pthread_attr_setstacksize(&attributes, (size_t)512 << 10) == 0);
    int error = pthread_create(thread, &attributes, function, argument);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        fprintf(stderr, "pthread_create: %s\n", strerror(error));
    require(error == 0);
}

static void *meet(void *barrier)
{
    pthread_barrier_wait(barrier);
    return NULL;
}

void warm_up_threads(size_t count)
{
    pthread_barrier_t barrier;
    pthread_t threads[64];
    require(count <= 64 && pthread_barrier_init(&barrier, NULL, (unsigned)count) == 0);
    for (size_t i = 0; i < count; i++)
        start_thread(&threads[i], meet, &barrier);
    for (size_t i = 0; i < count; i++)
        join_thread(threads[i]);
    pthread_barrier_destroy(&barrier);
}

void *join_thread(pthread_t thread)
{
    void *result;
    require(pthread_join(thread, &result) == 0);
    return result;
}
