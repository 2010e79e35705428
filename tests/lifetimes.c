/* lifetimes: allocates at every stage of a process's life that user code can run in. Prints the
 * stages that passed, one per line; a missing line, another order or a status but 0 is a failure,
 * which lifetimes.sh decides. Also built as a library, which is preloaded beside the allocator. */
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef WHO
#    define WHO "program"
#endif

static char *early;
static char *middle;

/* Straight to the descriptor: at some of the stages stdio is not there. */
static void stage(const char *name)
{
    char line[80] = WHO ": ";
    strncat(line, name, 40);
    strcat(line, "\n");
    if (write(STDOUT_FILENO, line, strlen(line)) < 0)
        _exit(3);
}

static void expect(bool good)
{
    if (!good)
        abort();
}

static void traffic(void)
{
    char *blocks[50];
    for (size_t i = 0; i < 50; i++) {
        blocks[i] = calloc(1, i * i * 40 + 1);
        expect(blocks[i] != NULL && blocks[i][i * i * 40] == 0);
        blocks[i][i * i * 40] = 1;
    }
    for (size_t i = 0; i < 50; i += 2)
        expect((blocks[i] = realloc(blocks[i], i * 100 + 1)) != NULL);
    for (size_t i = 0; i < 50; i++)
        free(blocks[i]);
}

__attribute__((constructor(101))) static void first_constructor(void)
{
    expect((early = strdup("early")) != NULL);
    traffic();
    stage("first constructor");
}

__attribute__((constructor)) static void constructor(void)
{
    traffic();
    stage("constructor");
}

__attribute__((destructor)) static void destructor(void)
{
    expect(strcmp(middle, "middle") == 0);
    free(middle);
    traffic();
    stage("destructor");
}

__attribute__((destructor(101))) static void last_destructor(void)
{
    expect(strcmp(early, "early") == 0);
    free(early);
    traffic();
    /* A mapping of its own, and what was kept for re-use given back, after all is over. */
    free(malloc(4 << 20));
    malloc_trim(0);
    stage("last destructor");
}

#ifndef LIBRARY

/* What the C library calls when thread-local C++ objects are destroyed; needs no C++ here. */
extern int __cxa_thread_atexit_impl(void (*function)(void *), void *object, void *library);
extern void *__dso_handle;

static void at_exit(void)
{
    traffic();
    stage("atexit handler");
}

static void at_thread_exit(void *block)
{
    free(block);
    traffic();
    stage("destructor of a thread-local object");
}

int main(void)
{
    expect((middle = strdup("middle")) != NULL);
    traffic();
    expect(atexit(at_exit) == 0);
    expect(__cxa_thread_atexit_impl(at_thread_exit, malloc(30), &__dso_handle) == 0);
    stage("main");
    return 0;
}

#else

__attribute__((constructor(102))) static void no_main(void)
{
    expect((middle = strdup("middle")) != NULL);
}

#endif
