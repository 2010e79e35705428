/* A program with a known heap: recorded KIND. What is done at which line the test reads here. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

/* Overwritten before the look at what leaked: no pointer is left in registers or dead frames. */
static void *volatile place;

NOINLINE static void leak_some(void)
{
    for (int i = 0; i < 7; i++)
        place = malloc(1234); /* leaked */
    place = NULL;
}

NOINLINE static void *keep_one(void)
{
    return malloc(50000); /* kept */
}

NOINLINE static void use_much(void)
{
    for (int i = 0; i < 1000; i++) {
        place = malloc(64); /* temporary */
        free(place);
    }
    place = NULL;
}

NOINLINE static void scrub(void)
{
    volatile char stack[4096];
    memset((char *)stack, 0, sizeof stack);
}

static void *work(void *argument)
{
    use_much();
    return argument;
}

static void *volatile kept;

int main(int count, char **words)
{
    const char *kind = count > 1 ? words[1] : "";
    pthread_t threads[3];
    leak_some();
    kept = keep_one();
    use_much();
    scrub();
    if (strcmp(kind, "threads") == 0) {
        for (int i = 0; i < 3; i++)
            pthread_create(&threads[i], NULL, work, NULL);
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
    } else if (strcmp(kind, "forks") == 0) {
        for (int i = 0; i < 2; i++)
            if (fork() == 0)
                exit(0);
        while (wait(NULL) > 0) {}
    } else if (strcmp(kind, "waits") == 0) {
        puts("ready");
        fflush(stdout);
        /* Until the test closes its end. */
        for (char byte; read(0, &byte, 1) == 1;)
            use_much();
    } else if (strcmp(kind, "status") == 0) {
        return 7;
    }
    return 0;
}
