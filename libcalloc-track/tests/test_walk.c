/* Stacks by way of the one before, where that is easily mistaken. */
#include <alloca.h>
#include <pthread.h>

#include "nodes.h"
#include "rows.h"
#include "support.h"
#include "walk.h"

#ifdef __clang__
#    define APART __attribute__((noinline))
#else
#    define APART __attribute__((noinline, noclone))
#endif
#define STAY() __asm__ volatile("" ::: "memory")

enum { DEPTH = 256 };

static __thread struct cal__walk walk;

/* Both ways find the same, from the frame of the caller on. */
APART static size_t check(void)
{
    uintptr_t plain[DEPTH];
    size_t count = cal__walk_plain(plain, DEPTH), at = 0;
    uint32_t node = cal__walk_stack(&walk), from = node;
    /* The first frame of each is in this function, at another place. */
    struct {
        uintptr_t addresses[DEPTH];
        size_t count;
    } found = {.count = 0};
    for (; node > CAL_NODE_UNKNOWN && found.count < DEPTH; node = cal__node(node).parent)
        found.addresses[found.count++] = cal__frame(cal__node(node).frame)->address;
    require(node == CAL_NODE_ROOT || from == CAL_NODE_UNKNOWN);
    /* cal__walk_plain() leaves out itself, cal__walk_stack() does not. */
    while (at < found.count && found.addresses[at] != plain[1])
        at++;
    require(count > 2 && at < found.count && found.count - at == count - 1);
    require(memcmp(found.addresses + at, plain + 1, (count - 1) * sizeof plain[0]) == 0);
    STAY();
    return count;
}

/* Frames of different sizes at the same place, with and without a frame pointer. */
APART static void with_room(size_t bytes, int depth)
{
    volatile char *room = alloca(bytes);
    room[0] = 1;
    if (depth > 0)
        with_room(bytes, depth - 1);
    check();
    room[bytes - 1] = 1;
}

APART static void without_room(int depth)
{
    if (depth > 0)
        without_room(depth - 1);
    check();
    STAY();
}

APART static void aligned(int depth)
{
    char bytes[64] __attribute__((aligned(64)));
    __asm__ volatile("" ::"r"(bytes) : "memory");
    if (depth % 2 == 0)
        without_room(depth / 2);
    if (depth > 0)
        aligned(depth - 1);
    check();
    STAY();
}

static void frames_of_all_sizes(void **state)
{
    (void)state;
    for (size_t bytes = 16; bytes <= 512; bytes += 16) {
        with_room(bytes, 4);
        without_room((int)(bytes / 64));
        with_room(528 - bytes, 3);
        aligned((int)(bytes % 5));
    }
}

/* The same place in the code and on the stack, called from different ones: what lies further out must be looked at. */
APART static void inner(void)
{
    check();
    STAY();
}

APART static void first_way(void)
{
    inner();
    STAY();
}

APART static void second_way(void)
{
    inner();
    STAY();
}

static void ways_to_the_same_place(void **state)
{
    (void)state;
    unsigned random = 1;
    void (*const ways[])(void) = {first_way, second_way, inner};
    for (int i = 0; i < 2000; i++) {
        random = random * 1664525 + 1013904223;
        ways[(random >> 16) % 3]();
    }
}

/* Frames whose sizes add up to the same: the innermost ones are where they were, but their callers are elsewhere, and
 * what was there before is there still. */
APART static void innermost(void)
{
    check();
    STAY();
}

/* It saves the frame pointer, and its caller has one. */
APART static void saves_frame_pointer(size_t count)
{
    char *volatile room = alloca(16);
    innermost();
    room[0] = (char)count;
    STAY();
}

APART static void second_half(size_t bytes, bool saving)
{
    char *volatile room = alloca(bytes);
    if (saving)
        saves_frame_pointer(bytes);
    else
        innermost();
    room[0] = 1;
    STAY();
}

APART static void first_half(size_t bytes, size_t all, bool saving)
{
    char *volatile room = alloca(bytes);
    second_half(all - bytes, saving);
    room[0] = 1;
    STAY();
}

APART static void other_first_half(size_t bytes, size_t all, bool saving)
{
    char *volatile room = alloca(bytes);
    second_half(all - bytes, saving);
    room[0] = 2;
    STAY();
}

static void sizes_that_add_up(void **state)
{
    (void)state;
    unsigned random = 1;
    for (int i = 0; i < 2000; i++) {
        random = random * 1664525 + 1013904223;
        bool saving = (random >> 24) % 2 == 0;
        if ((random >> 16) % 2 == 0)
            first_half(128, 1024, saving);
        else
            other_first_half(640, 1024, saving);
    }
}

APART static int compare(const void *a, const void *b)
{
    check();
    return *(const int *)a - *(const int *)b;
}

static void through_a_library(void **state)
{
    (void)state;
    int values[40];
    for (int i = 0; i < 40; i++)
        values[i] = i * 7 % 40;
    qsort(values, 40, sizeof values[0], compare);
}

static void *in_thread(void *argument)
{
    walk.limit = CAL_WALK_DEPTH_MAX;
    for (int i = 0; i < 50; i++) {
        with_room(64, i % 7);
        without_room(i % 11);
        first_way();
    }
    cal__walk_end(&walk);
    return argument;
}

static void in_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, in_thread, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static int start(void **state)
{
    (void)state;
    cal__walk_start();
    walk.limit = CAL_WALK_DEPTH_MAX;
    return !cal__nodes_start();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_all_sizes), cmocka_unit_test(ways_to_the_same_place),
        cmocka_unit_test(sizes_that_add_up),   cmocka_unit_test(through_a_library),
        cmocka_unit_test(in_threads),
    };
    return cmocka_run_group_tests_name("walk", tests, start, NULL);
}
