/* Every check with every consequence: with `abort` the exact line and SIGABRT; with `log` the line, and
 * the process goes on as if nothing had happened; with `ignore` it goes on without a word. */
#include "cases.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Blocks that an error elsewhere may not touch. */
enum { OTHERS = 400 };
static unsigned char *others[OTHERS];

static size_t size_of_other(size_t i)
{
    return 1 + i * 37 % 3000;
}

static void begin(void)
{
    for (size_t i = 0; i < OTHERS; i++) {
        require((others[i] = malloc(size_of_other(i))) != NULL);
        fill(others[i], size_of_other(i), (unsigned)i);
    }
}

/* Only with `log` and `ignore`. */
static void end(void)
{
    for (size_t i = 0; i < OTHERS; i++) {
        require(is_filled(others[i], size_of_other(i), (unsigned)i));
        free(others[i]);
    }
    for (size_t i = 0; i < 5000; i++) {
        unsigned char *block = calloc(1, 1 + i % 3000);
        require(block != NULL && is_zero(block, 1 + i % 3000));
        memset(block, 0x77, 1 + i % 3000);
        if (i % 3 == 0)
            free(block);
    }
    require(cal_secure_validate() == 0);
}

static void overflow(size_t size, size_t offset)
{
    begin();
    unsigned char *block = opaque(malloc(size));
    require(block != NULL);
    fill(block, size, 1);
    block[offset] ^= 1;
    expect_of("overflow", block, offset, size);
    free(block);
    end();
}

static void overflow_by_one(void)
{
    overflow(41, 41);
}

static void overflow_of_the_last_byte(void)
{
    void *block = malloc(40);
    overflow(40, room_of(block) - 1);
}

static void overflow_of_a_page(void)
{
    overflow(5000, 5000);
}

static void overflow_of_128_kib(void)
{
    overflow(131000, 131000);
}

static void overflow_of_a_large_block(void)
{
    overflow(200001, 200001);
}

static void underflow_of_a_large_block(void)
{
    overflow(200001, (size_t)-2);
}

static void underflow_of_a_word_more(void)
{
    overflow(300001, (size_t)-8);
}

/* A long one, beyond what the canary covers: one error, and not another at the next use. */
static void overflow_that_is_long(void)
{
    begin();
    unsigned char *block = opaque(malloc(2100));
    size_t room = room_of(block);
    require(room > 2100 + 120);
    memset(block, 0x55, room - 20);
    expect_of("overflow", block, 2100, 2100);
    free(block);
    end();
}

static void overflow_seen_by_realloc(void)
{
    begin();
    unsigned char *block = opaque(malloc(41));
    fill(block, 41, 9);
    block[44] ^= 4;
    expect_of("overflow", block, 44, 41);
    unsigned char *moved = realloc(block, 400);
    require(moved != NULL && is_filled(moved, 41, 9));
    free(moved);
    end();
}

static void overflow_seen_by_the_neighbour(void)
{
    begin();
    unsigned char *below, *above, *block = block_between(100, &below, &above);
    block[-1] ^= 0x80;
    expect_of("overflow", below, room_of(below) - 1, 100);
    free(block);
    /* It is found again when it is freed itself, at another place. */
#ifndef LINKED_STATICALLY
    expect_of("overflow", below, room_of(below) - 1, 100);
#endif
    free(below);
    end();
}

static void overflow_seen_by_validation(void)
{
    begin();
    unsigned char *block = opaque(malloc(77));
    block[77] ^= 1;
    expect_of("overflow", block, 77, 77);
    require(cal_secure_validate() == 1);
    block[77] ^= 1;
    free(block);
    end();
}

/* Freed blocks rest, or are in quarantine until others have been freed: so it takes a while until one is
 * used again. */
static void use_again(unsigned char *block, size_t size)
{
    enum { KEPT = 2000, MOST = 2000000 };
    static void *kept[KEPT];
    for (size_t i = 0; i < MOST; i++) {
        unsigned char *now = calloc(1, size);
        require(now != NULL && is_zero(now, size));
        free(kept[i % KEPT]);
        kept[i % KEPT] = now;
        if (now == block)
            break;
        require(i + 1 < MOST);
    }
    for (size_t i = 0; i < KEPT; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
}

/* A slab that was full is used again when a part of it is free, and given up when all of it is: so others
 * are freed with this block, and others stay. */
enum { NEIGHBOURS = 64 };
static unsigned char *neighbours[NEIGHBOURS];

static void written_after_free(size_t size, size_t offset)
{
    begin();
    for (size_t i = 0; i < NEIGHBOURS; i++)
        require((neighbours[i] = opaque(malloc(size))) != NULL);
    unsigned char *block = neighbours[NEIGHBOURS / 2];
    fill(block, size, 3);
    expect_of("write after free", block, offset, SIZE_MAX);
    for (size_t i = 0; i < NEIGHBOURS; i += 2)
        free(neighbours[i]);
    block[offset] = 1;
    use_again(block, size);
    end();
}

static void written_after_free_start(void)
{
    written_after_free(48, 0);
}

static void written_after_free_end(void)
{
    written_after_free(300, 299);
}

static void written_after_free_of_2000(void)
{
    written_after_free(2000, 1234);
}

static void written_after_free_of_10000(void)
{
    written_after_free(10000, 9999);
}

static void written_seen_by_the_neighbour(void)
{
    begin();
    unsigned char *below, *above, *block = block_between(100, &below, &above);
    expect_of("write after free", below, room_of(below) - 3, SIZE_MAX);
    free(below);
    ((unsigned char *)opaque(block))[-3] = 7;
    free(block);
    /* As it was, or it is found again when it is used again. */
    block[-3] = 0;
    end();
}

static void written_seen_by_validation(void)
{
    begin();
    unsigned char *block = opaque(malloc(64));
    /* Its slab stays open. */
    void *other = malloc(64);
    expect_of("write after free", block, 5, SIZE_MAX);
    free(block);
    block[5] = 1;
    require(cal_secure_validate() == 1);
    block[5] = 0;
    free(other);
    end();
}

static void freed_twice(size_t size)
{
    begin();
    void *block = opaque(malloc(size));
    void *other = malloc(size);
    free(block);
    expect_of("double free", block, SIZE_MAX, SIZE_MAX);
    free(block);
    free(other);
    end();
}

static void double_free(void)
{
    freed_twice(48);
}

static void double_free_of_5000(void)
{
    freed_twice(5000);
}

static void double_free_of_a_large_block(void)
{
    freed_twice(300000);
}

static void *free_it(void *block)
{
    free(block);
    return NULL;
}

static void double_free_by_another_thread(void)
{
    begin();
    void *block = opaque(malloc(48));
    pthread_t thread;
    require(pthread_create(&thread, NULL, free_it, block) == 0 && pthread_join(thread, NULL) == 0);
    expect_of("double free", block, SIZE_MAX, SIZE_MAX);
    free(block);
    end();
}

static void invalid(void *pointer)
{
    expect_of("invalid free", pointer, SIZE_MAX, SIZE_MAX);
    free(opaque(pointer));
}

static void invalid_free_inside(void)
{
    begin();
    unsigned char *block = opaque(malloc(100));
    fill(block, 100, 8);
    invalid(block + 16);
    require(is_filled(block, 100, 8));
    free(block);
    end();
}

static void invalid_free_inside_a_large_block(void)
{
    begin();
    unsigned char *block = opaque(malloc(500000));
    invalid(block + 65536);
    free(block);
    end();
}

static void invalid_free_unaligned(void)
{
    begin();
    unsigned char *block = opaque(malloc(100));
    invalid(block + 1);
    free(block);
    end();
}

static void invalid_free_of_the_stack(void)
{
    begin();
    unsigned char array[64];
    invalid(array);
    end();
}

static void invalid_free_far_away(void)
{
    begin();
    invalid((void *)(uintptr_t)0x123450);
    end();
}

static void invalid_realloc(void)
{
    begin();
    unsigned char *block = opaque(malloc(100));
    fill(block, 100, 8);
    expect_of("invalid use", block + 32, SIZE_MAX, SIZE_MAX);
    require(realloc(opaque(block + 32), 50) == NULL);
    require(is_filled(block, 100, 8));
    free(block);
    end();
}

static void realloc_of_a_freed_block(void)
{
    begin();
    void *block = opaque(malloc(100));
    free(block);
    expect_of("invalid use", block, SIZE_MAX, SIZE_MAX);
    require(realloc(block, 200) == NULL);
    end();
}

static void usable_size_of_a_freed_block(void)
{
    begin();
    void *block = opaque(malloc(100));
    free(block);
    expect_of("invalid use", block, SIZE_MAX, SIZE_MAX);
    require(malloc_usable_size(block) == 0);
    end();
}

#ifndef CAL_FAMILY_PREFIX
/* operator new(size_t), new[], delete, delete[], delete with a size. */
void *_Znwm(size_t size);
void *_Znam(size_t size);
void _ZdlPv(void *block);
void _ZdaPv(void *block);
void _ZdlPvm(void *block, size_t size);

static void *(*volatile new_one)(size_t) = _Znwm;
static void *(*volatile new_array)(size_t) = _Znam;
static void (*volatile delete_one)(void *) = _ZdlPv;
static void (*volatile delete_array)(void *) = _ZdaPv;
static void (*volatile delete_sized)(void *, size_t) = _ZdlPvm;

static void mismatched(void *block, size_t size, void (*release)(void *))
{
    expect_of("mismatched deallocation", block, SIZE_MAX, size);
    release(block);
    end();
}

static void delete_of_malloc(void)
{
    begin();
    mismatched(malloc(60), 60, delete_one);
}

static void delete_array_of_malloc(void)
{
    begin();
    mismatched(malloc(60), 60, delete_array);
}

static void free_of_new(void)
{
    begin();
    mismatched(new_one(60), 60, free);
}

static void delete_of_new_array(void)
{
    begin();
    mismatched(new_array(60), 60, delete_one);
}

static void delete_array_of_large_new(void)
{
    begin();
    mismatched(new_one(600000), 600000, delete_array);
}

static void sized(size_t size, size_t said)
{
    begin();
    void *block = new_one(size);
    expect_of("mismatched size", block, SIZE_MAX, size);
    delete_sized(block, said);
    end();
}

static void delete_with_another_size(void)
{
    sized(60, 61);
}

static void large_delete_with_another_size(void)
{
    sized(600000, 600001);
}

/* groff 1.22.4 does the first of these; the light level lets it. */
static void kinds_agree(void)
{
    begin();
    if (cal_secure_level() == CAL_SECURE_LIGHT)
        delete_array(malloc(60));
    delete_one(new_one(60));
    delete_array(new_array(60));
    delete_sized(new_one(60), 60);
    free(cal_allocate(60));
    cal_deallocate(malloc(60));
    end();
}
#endif

#ifndef LINKED_STATICALLY
/* Where an error was found. */

__attribute__((noinline)) static void free_here(void *block)
{
    free(block);
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void free_there(void *block)
{
    free(block);
    __asm__ volatile("" ::: "memory");
}

static bool is_in(void (*function)(void *), const void *address)
{
    return (uintptr_t)address - (uintptr_t)function < 100;
}

static void damage_and_free(size_t size, void (*function)(void *))
{
    unsigned char *block = opaque(malloc(size));
    require(block != NULL);
    block[size] ^= 1;
    function(block);
}

/* What a child says that makes the same error several times at two places, or once and ends. */
static size_t say_places(size_t size, char *text, size_t room)
{
    int ends[2];
    require(pipe(ends) == 0);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        require(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        for (int i = 0; i < 3; i++) {
            damage_and_free(size, free_here);
            damage_and_free(size, free_there);
        }
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], text + length, room - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    int status;
    require(waitpid(child, &status, 0) == child);
    size_t lines = 0;
    for (const char *end = text; (end = strchr(end, '\n')) != NULL; end++)
        lines++;
    return lines;
}

/* The line names the place, as an address and in its file. */
static void check_place(const char *line, void (*function)(void *))
{
    static const char begin[] = ", found at ";
    const char *place = strstr(line, begin);
    require(place != NULL && place < strchr(line, '\n'));
    char *end;
    uintptr_t address = strtoull(place + sizeof begin - 1, &end, 16);
    require(is_in(function, (void *)address));
    Dl_info information;
    require(dladdr((void *)function, &information) != 0);
    const char *path = (const char *)getauxval(AT_EXECFN), *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    char expected[200];
    snprintf(expected, sizeof expected, " (%s+0x%zx)\n", name,
             (size_t)(address - (uintptr_t)information.dli_fbase));
    require(strncmp(end, expected, strlen(expected)) == 0);
}

static const size_t sizes_of_places[] = {41, 3001, 300001};

static void each_place_is_said_once(void)
{
    char text[4096];
    for (size_t i = 0; i < 3; i++) {
        require(say_places(sizes_of_places[i], text, sizeof text) == 2);
        check_place(text, free_here);
        check_place(strchr(text, '\n') + 1, free_there);
    }
}

static void the_last_line_says_the_place(void)
{
    char text[4096];
    for (size_t i = 0; i < 3; i++) {
        require(say_places(sizes_of_places[i], text, sizeof text) == 1);
        check_place(text, free_here);
    }
}
#endif

#define EACH(level, check, function)                                                              \
    {#function " abort " level,                                                                   \
     "secure.level=" level ",secure.on_" #check "=abort",                                         \
     function,                                                                                    \
     -SIGABRT,                                                                                    \
     false,                                                                                       \
     0},                                                                                          \
        {#function " log " level,                                                                 \
         "secure.level=" level ",secure.on_" #check "=log",                                       \
         function,                                                                                \
         0,                                                                                       \
         false,                                                                                   \
         0},                                                                                      \
    {                                                                                             \
#        function " ignore " level, "secure.level=" level ",secure.on_" #        check "=ignore", \
            function, 0, true, 0                                                                  \
    }

/* clang-format off */
static const struct test_case cases[] = {
    EACH("light", overflow, overflow_by_one),
    EACH("light", overflow, overflow_of_the_last_byte),
    EACH("light", overflow, overflow_of_a_page),
    EACH("light", overflow, overflow_of_128_kib),
    EACH("light", overflow, overflow_of_a_large_block),
    EACH("light", overflow, underflow_of_a_large_block),
    EACH("light", overflow, underflow_of_a_word_more),
    EACH("light", overflow, overflow_that_is_long),
    EACH("light", overflow, overflow_seen_by_realloc),
    EACH("light", overflow, overflow_seen_by_the_neighbour),
    EACH("light", overflow, overflow_seen_by_validation),
    EACH("light", write_after_free, written_after_free_start),
    EACH("light,secure.write_after_free=1M", write_after_free, written_after_free_end),
    EACH("light,secure.write_after_free=1M", write_after_free, written_after_free_of_2000),
    EACH("light,secure.write_after_free=1M", write_after_free, written_after_free_of_10000),
    EACH("light", write_after_free, written_seen_by_the_neighbour),
    EACH("light", write_after_free, written_seen_by_validation),
    EACH("light", double_free, double_free),
    EACH("light", double_free, double_free_of_5000),
    EACH("light,secure.address_quarantine=64M", double_free, double_free_of_a_large_block),
    EACH("light", double_free, double_free_by_another_thread),
    EACH("light", invalid_free, invalid_free_inside),
    EACH("light", invalid_free, invalid_free_inside_a_large_block),
    EACH("light", invalid_free, invalid_free_unaligned),
    EACH("light", invalid_free, invalid_free_of_the_stack),
    EACH("light", invalid_free, invalid_free_far_away),
    EACH("light", invalid_use, invalid_realloc),
    EACH("light", invalid_use, realloc_of_a_freed_block),
    EACH("light", invalid_use, usable_size_of_a_freed_block),
    EACH("standard", overflow, overflow_by_one),
    EACH("standard", overflow, overflow_of_a_large_block),
    EACH("standard", write_after_free, written_after_free_start),
    EACH("standard", write_after_free, written_after_free_of_2000),
    EACH("standard", double_free, double_free),
    EACH("standard", double_free, double_free_of_a_large_block),
    EACH("standard", invalid_free, invalid_free_inside),
    EACH("standard", invalid_use, realloc_of_a_freed_block),
#ifndef LINKED_STATICALLY
    {"each_place_is_said_once light", "secure.level=light,secure.on_overflow=log", each_place_is_said_once, 0, true, 0},
    {"each_place_is_said_once standard", "secure.level=standard,secure.on_overflow=log", each_place_is_said_once, 0, true, 0},
    {"each_place_is_said_once paranoid", "secure.level=paranoid,secure.on_overflow=log", each_place_is_said_once, 0, true, 0},
    {"the_last_line_says_the_place light", "secure.level=light", the_last_line_says_the_place, 0, true, 0},
    {"the_last_line_says_the_place standard", "secure.level=standard", the_last_line_says_the_place, 0, true, 0},
    {"the_last_line_says_the_place paranoid", "secure.level=paranoid", the_last_line_says_the_place, 0, true, 0},
#endif
#ifndef CAL_FAMILY_PREFIX
    EACH("standard", kind_mismatch, delete_of_malloc),
    EACH("standard", kind_mismatch, delete_array_of_malloc),
    EACH("standard", kind_mismatch, free_of_new),
    EACH("standard", kind_mismatch, delete_of_new_array),
    EACH("standard", kind_mismatch, delete_array_of_large_new),
    EACH("light", size_mismatch, delete_with_another_size),
    EACH("light", size_mismatch, large_delete_with_another_size),
    {"kinds_agree light", "secure.level=light", kinds_agree, 0, true, 0},
    {"kinds_agree standard", "secure.level=standard", kinds_agree, 0, true, 0},
#endif
};
/* clang-format on */

int main(int count, char **arguments)
{
    return run_cases(count, arguments, cases, sizeof cases / sizeof *cases);
}
