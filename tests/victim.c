/* victim ERROR: a small program with one memory error in a function of that name. Tools must find
 * it with the allocator preloaded or linked, and say its name. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef NATIVE
#    include <calloc/calloc.h>
#    define malloc              cal_allocate
#    define calloc(count, size) cal_allocate_zeroed((count) * (size))
#    define realloc             cal_reallocate
#    define free                cal_deallocate
#endif

#define VICTIM static __attribute__((noinline, noclone)) void

/* The compiler may see neither where blocks come from nor what becomes of what is read. */
static void *volatile hide;
static volatile char sink;

static char *hidden(void *block)
{
    hide = block;
    return hide;
}

static void *make(size_t size)
{
    return hidden(malloc(size));
}

VICTIM clean(void)
{
    char *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        size_t size = i * i * 20 + 1;
        blocks[i] = i % 2 ? malloc(size) : calloc(1, size);
        if (i % 2)
            memset(blocks[i], 1, size);
        if (i % 3 == 0) {
            blocks[i] = realloc(blocks[i], size * 2);
            memset(blocks[i] + size, 1, size);
        }
        for (size_t j = 0; j < size; j += 7)
            if (blocks[i][j] == 5)
                puts("never");
    }
    for (size_t i = 0; i < 300; i++)
        free(blocks[i]);
}

static void *in_thread(void *argument)
{
    clean();
    return argument;
}

VICTIM clean_threads(void)
{
    pthread_t threads[3];
    char *left = make(100);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, in_thread, left);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    free(left);
}

VICTIM overflow_by_one(void)
{
    char *block = make(24);
    block[24] = 1;
    free(block);
}

VICTIM overflow_read_large(void)
{
    char *block = make(300001);
    memset(block, 0, 300001);
    sink = block[300001];
    free(block);
}

VICTIM underflow_by_one(void)
{
    char *block = make(64);
    block[-1] = 1;
    free(block);
}

VICTIM overflow_after_shrinking(void)
{
    char *block = hidden(realloc(make(1000), 500));
    block[500] = 1;
    free(block);
}

VICTIM use_after_free(void)
{
    char *block = make(40);
    block[0] = 1;
    free(block);
    sink = block[8];
}

VICTIM use_after_free_large(void)
{
    char *block = make(2 << 20);
    block[0] = 1;
    free(block);
    sink = block[4096];
}

VICTIM use_after_realloc(void)
{
    char *block = make(100);
    char *moved = hidden(realloc(block, 5000));
    block[0] = 1;
    free(moved);
}

VICTIM leak(void)
{
    char *block = make(77);
    block[0] = 1;
    hide = NULL;
}

VICTIM leak_large(void)
{
    char *block = make(3000001);
    block[0] = 1;
    hide = NULL;
}

VICTIM uninitialised_read(void)
{
    char *block = make(32);
    if (block[5] == 7)
        puts("seven");
    free(block);
}

VICTIM uninitialised_after_reuse(void)
{
    /* The memory was written once, but not by the block that it is now. */
    char *block = make(32);
    memset(block, 1, 32);
    free(block);
    block = make(32);
    if (block[9] == 7)
        puts("seven");
    free(block);
}

VICTIM invalid_free(void)
{
    char *block = make(64);
    free(hidden(block + 16));
}

VICTIM double_free(void)
{
    char *block = make(64);
    free(block);
    free(hidden(block));
}

int main(int argc, char **argv)
{
#define ROW(name)   \
    {               \
#        name, name \
    }
    static const struct {
        const char *name;
        void (*function)(void);
    } errors[] = {ROW(clean),
                  ROW(clean_threads),
                  ROW(overflow_by_one),
                  ROW(overflow_read_large),
                  ROW(underflow_by_one),
                  ROW(overflow_after_shrinking),
                  ROW(use_after_free),
                  ROW(use_after_free_large),
                  ROW(use_after_realloc),
                  ROW(leak),
                  ROW(leak_large),
                  ROW(uninitialised_read),
                  ROW(uninitialised_after_reuse),
                  ROW(invalid_free),
                  ROW(double_free)};
    for (size_t i = 0; argc == 2 && i < sizeof errors / sizeof *errors; i++) {
        if (strcmp(argv[1], errors[i].name) == 0) {
            errors[i].function();
            return EXIT_SUCCESS;
        }
    }
    fprintf(stderr, "usage: victim ERROR\n");
    return 2;
}
