/* Calls, in one of two threads. */
#include "case.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

/* Blocks that only this thread knows of. */
static void churn(unsigned seed)
{
    enum { OWN = 24, ROUNDS = 300 };
    struct {
        unsigned char *address;
        size_t size;
    } own[OWN] = {{NULL, 0}};
    uint32_t random = seed * 2654435761U + 1;
    for (int round = 0; round < ROUNDS + OWN; round++) {
        random = random * 1664525U + 1013904223U;
        unsigned i = round < ROUNDS ? (random >> 16) % OWN : (unsigned)(round - ROUNDS);
        unsigned char mark = (unsigned char)(i + 1);
        unsigned char *address = own[i].address;
        if (address != NULL) {
            if (own[i].size != 0 && (address[0] != mark || address[own[i].size - 1] != mark))
                wrong("a block %p of the second thread, size %zu, was changed", (void *)address,
                      own[i].size);
            free(address);
            own[i].address = NULL;
        } else if (round < ROUNDS) {
            size_t size = random % 16 == 0 ? random >> 14 : random >> 23;
            own[i].address = malloc(size);
            own[i].size = size;
            if (own[i].address == NULL)
                wrong("no memory for %zu bytes in the second thread", size);
            memset(own[i].address, mark, size);
        }
    }
}

void perform(struct call *call)
{
    void *pointer = call->pointer;
    switch (call->what) {
    case MALLOC:
        call->pointer = functions.allocate[call->kind](call->size);
        break;
    case CALLOC:
        call->pointer = calloc(call->alignment, call->size / call->alignment);
        break;
    case ALIGNED:
        call->pointer = aligned_alloc(call->alignment, call->size);
        break;
    case NATIVE:
        call->pointer = functions.native(call->size);
        break;
    case REALLOC:
        call->pointer = realloc(pointer, call->size);
        break;
    case IN_PLACE:
        call->pointer = functions.in_place(pointer, call->size);
        break;
    case FREE:
        functions.deallocate[call->kind](pointer);
        break;
    case SIZED_FREE:
        functions.deallocate_sized[call->kind](pointer, call->size);
        break;
    case USABLE:
        call->size = malloc_usable_size(pointer);
        break;
    case CHURN:
        churn((unsigned)call->size);
        break;
    }
}

static pthread_t thread;
bool threaded, churning;
static sem_t work, done;
static struct call *handed;
static struct call churn_call;

static void *second_thread(void *unused)
{
    for (;;) {
        sem_wait(&work);
        struct call *call = handed;
        if (call == NULL)
            return unused;
        perform(call);
        sem_post(&done);
    }
}

static void hand(struct call *call)
{
    handed = call;
    sem_post(&work);
}

void settle(void)
{
    if (churning)
        sem_wait(&done);
    churning = false;
}

void run(struct call *call, bool second)
{
    if (!second || !threaded) {
        perform(call);
        return;
    }
    settle();
    hand(call);
    sem_wait(&done);
}

void race(struct call *here, struct call *there)
{
    settle();
    hand(there);
    perform(here);
    sem_wait(&done);
}

void start_churn(unsigned seed)
{
    if (!threaded)
        return;
    settle();
    churn_call = (struct call){.what = CHURN, .size = seed};
    churning = true;
    hand(&churn_call);
}

void start_thread(void)
{
    sem_init(&work, 0, 0);
    sem_init(&done, 0, 0);
    threaded = pthread_create(&thread, NULL, second_thread, NULL) == 0;
}

void end_thread(void)
{
    settle();
    hand(NULL);
    pthread_join(thread, NULL);
}
