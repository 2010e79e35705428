/* One case: operations without errors, and the process. */
#include "case.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Generous: other processes may take the machine. The processor time is what tells a hang. */
enum { HANG_SECONDS = 20, HANG_WALL_SECONDS = 180 };

static void allocate(enum operation operation, bool second)
{
    struct block *block = free_place();
    struct call call = {.what = MALLOC, .size = take_size(), .alignment = 16};
    size_t alignment = 16;
    switch (operation) {
    case DO_calloc:
        call.what = CALLOC;
        call.alignment = 1 + take() % 16;
        call.size -= call.size % call.alignment;
        break;
    case DO_aligned_alloc:
        call.what = ALIGNED;
        call.alignment = alignment = (size_t)1 << take() % 18;
        break;
    case DO_new:
        call.kind = KIND_NEW;
        break;
    case DO_new_array:
        call.kind = KIND_ARRAY;
        break;
    case DO_native:
        if (functions.native != NULL && call.size != 0)
            call.what = NATIVE;
        break;
    default:
        break;
    }
    if (block == NULL)
        return;
    run(&call, second);
    add(block, call.pointer, call.size, call.kind, alignment);
    block->native = call.what == NATIVE;
    if (operation == DO_calloc)
        check_zero(block);
    fill(block);
}

static void reallocate(bool in_place, bool second)
{
    struct block *block = take_block();
    size_t size = take_size();
    if (block == NULL || block->kind != KIND_MALLOC || (in_place && functions.in_place == NULL))
        return;
    check(block);
    struct call call = {
        .what = in_place ? IN_PLACE : REALLOC, .pointer = block->address, .size = size};
    run(&call, second);
    if (in_place && call.pointer == NULL)
        return;
    if (!in_place && size == 0) {
        if (call.pointer != NULL)
            wrong("realloc to 0 gave %p", call.pointer);
        forget(block);
        return;
    }
    if (in_place && call.pointer != block->address)
        wrong("resizing %p in place gave %p", (void *)block->address, call.pointer);
    size_t old_size = block->size;
    if (call.pointer != block->address) {
        struct block moved = *block;
        forget(block);
        *block = moved;
        block->address = NULL;
    } else {
        live_bytes -= old_size;
    }
    add(block, call.pointer, size, KIND_MALLOC, 16);
    check_kept(block, old_size, size < old_size ? size : old_size);
    fill(block);
}

static void deallocate(bool sized, bool second)
{
    struct block *block = take_block();
    if (block == NULL)
        return;
    check(block);
    struct call call = {.what = sized ? SIZED_FREE : FREE,
                        .kind = block->kind,
                        .pointer = block->address,
                        .size = block->size};
    run(&call, second);
    forget(block);
}

static void ask_usable(bool second)
{
    struct block *block = take_block();
    if (block == NULL)
        return;
    struct call call = {.what = USABLE, .pointer = block->address};
    run(&call, second);
    if (call.size < block->size || (hardened && call.size != block->size))
        wrong("%p, size %zu, has a usable size of %zu now", (void *)block->address, block->size,
              call.size);
}

static void ask_object_size(void)
{
    const struct block *block = take_block();
    size_t offset = take_size();
    const struct freed *old = take_freed();
    if (!hardened)
        return;
    if (block != NULL && block->size != 0) {
        offset %= block->size;
        size_t size = object_size(block->address + offset);
        if (size != block->size - offset)
            wrong("byte %zu of %p, size %zu, has an object size of %zu", offset,
                  (void *)block->address, block->size, size);
    }
    if (old != NULL && block_around(old->address) == NULL && !churning) {
        size_t size = object_size(old->address);
        if (size != 0 && size != SIZE_MAX)
            wrong("%p, which was freed, has an object size of %zu", (void *)old->address, size);
    }
    object_size(take_foreign());
}

/* In the child of a fork: all is as it was, and can be used. */
static _Noreturn void live_as_child(void)
{
    alarm(HANG_WALL_SECONDS);
    threaded = churning = false;
    check_all();
    validate();
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i].address != NULL && i % 2 == 0) {
            functions.deallocate[blocks[i].kind](blocks[i].address);
            forget(&blocks[i]);
        }
        if (blocks[i].address == NULL && i < BLOCKS / 4) {
            struct call call = {.what = MALLOC, .size = i * 61};
            perform(&call);
            add(&blocks[i], call.pointer, call.size, KIND_MALLOC, 16);
            blocks[i].native = false;
            fill(&blocks[i]);
        }
    }
    check_all();
    validate();
    exit(0);
}

static void fork_here(void)
{
    pid_t child = fork();
    if (child == 0)
        live_as_child();
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        wrong("fork: %d", errno);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    /* What it ended with has been noted. */
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    _exit(99);
}

static void carry_out(enum operation operation, bool second)
{
    switch (operation) {
    case DO_realloc:
    case DO_in_place:
        reallocate(operation == DO_in_place, second);
        break;
    case DO_free:
    case DO_sized_free:
        deallocate(operation == DO_sized_free, second);
        break;
    case DO_usable_size:
        ask_usable(second);
        break;
    case DO_object_size:
        ask_object_size();
        break;
    case DO_check:
        check_all();
        break;
    case DO_fork:
        fork_here();
        break;
    case DO_validate:
        validate();
        break;
    case DO_trim:
        if (functions.trim != NULL)
            functions.trim();
        break;
    case DO_churn:
        start_churn(take());
        break;
    default:
        allocate(operation, second);
        break;
    }
}

/* First bytes. */

static const char *const names[] = {
#define OPERATION(name, weight)        #name,
#define ERROR(name, weight, may_print) #name,
    OPERATIONS(OPERATION) ERRORS(ERROR)
#undef ERROR
#undef OPERATION
};

static const unsigned weights[] = {
#define OPERATION(name, weight)        weight,
#define ERROR(name, weight, may_print) weight,
    OPERATIONS(OPERATION) ERRORS(ERROR)
#undef ERROR
#undef OPERATION
};

const char *operation_name(enum operation operation)
{
    return operation < OPERATION_COUNT ? names[operation] : "?";
}

enum operation operation_named(const char *name)
{
    unsigned operation = 0;
    while (operation < OPERATION_COUNT && strcmp(names[operation], name) != 0)
        operation++;
    return (enum operation)operation;
}

uint8_t operation_byte(enum operation operation, unsigned random)
{
    unsigned byte = 0;
    for (unsigned i = 0; i < operation; i++)
        byte += weights[i];
    return (uint8_t)(byte + random % weights[operation]);
}

static enum operation decode(uint8_t byte)
{
    unsigned rest = byte & 127, operation = 0;
    while (rest >= weights[operation])
        rest -= weights[operation++];
    return (enum operation)operation;
}

/* The process. */

static void on_signal(int signal, siginfo_t *information, void *context)
{
    (void)context;
    uintptr_t fault = (uintptr_t)information->si_addr;
    if (signal == SIGSEGV)
        return_from_fault(fault);
    shared->signal = signal;
    shared->fault = signal == SIGSEGV || signal == SIGBUS ? fault : 0;
    shared->frame_count = backtrace(shared->frames, FRAMES);
    /* Ends the process on return. */
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal, &action, NULL);
    raise(signal);
}

static void handle_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU, SIGALRM};
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    struct rlimit cores = {0, 0};
    setrlimit(RLIMIT_CORE, &cores);
    struct rlimit time = {HANG_SECONDS, HANG_SECONDS + 5};
    setrlimit(RLIMIT_CPU, &time);
    struct itimerval wall = {.it_value = {.tv_sec = HANG_WALL_SECONDS}};
    setitimer(ITIMER_REAL, &wall, NULL);
}

static void *find(const char *name, void *otherwise)
{
    void *function = dlsym(RTLD_DEFAULT, name);
    return function != NULL ? function : otherwise;
}

/* A pointer to a function, which is no object in ISO C. */
#define FIND(variable, name, otherwise)                          \
    do {                                                         \
        void *found_ = find(name, (void *)(uintptr_t)otherwise); \
        memcpy(&(variable), &found_, sizeof found_);             \
    } while (0)

static void any_size(void *block, size_t size)
{
    (void)size;
    free(block);
}

bool case_prepare(void)
{
    FIND(functions.allocate[KIND_MALLOC], "malloc", malloc);
    FIND(functions.allocate[KIND_NEW], "_Znwm", malloc);
    FIND(functions.allocate[KIND_ARRAY], "_Znam", malloc);
    FIND(functions.deallocate[KIND_MALLOC], "free", free);
    FIND(functions.deallocate[KIND_NEW], "_ZdlPv", free);
    FIND(functions.deallocate[KIND_ARRAY], "_ZdaPv", free);
    FIND(functions.deallocate_sized[KIND_MALLOC], "free_sized", any_size);
    FIND(functions.deallocate_sized[KIND_NEW], "_ZdlPvm", any_size);
    FIND(functions.deallocate_sized[KIND_ARRAY], "_ZdaPvm", any_size);
    FIND(functions.native, "cal_allocate", NULL);
    FIND(functions.in_place, "cal_try_reallocate_in_place", NULL);
    FIND(functions.trim, "cal_trim", NULL);
    FIND(functions.walk, "cal_walk_regions", NULL);
    FIND(functions.walk_blocks, "cal_walk_blocks", NULL);
    FIND(functions.object_size, "cal_secure_object_size", NULL);
    FIND(functions.validate, "cal_secure_validate", NULL);
    FIND(functions.level, "cal_secure_level", NULL);
    hardened = functions.level != NULL && functions.level() != CAL_SECURE_OFF;
    kinds_checked = hardened && functions.level() >= CAL_SECURE_STANDARD;
    /* The first time it loads a library. */
    void *frames[2];
    backtrace(frames, 2);
    return hardened;
}

static void finish(unsigned flags)
{
    settle();
    check_all();
    validate();
    if (!(flags & FLAG_KEEP))
        for (unsigned i = 0; i < BLOCKS; i++)
            if (blocks[i].address != NULL) {
                struct call call = {
                    .what = FREE, .kind = blocks[i].kind, .pointer = blocks[i].address};
                run(&call, i % 3 == 0);
                forget(&blocks[i]);
            }
    if (threaded && (flags & FLAG_JOIN))
        end_thread();
    shared->finished = true;
    exit(0);
}

_Noreturn void case_run(void)
{
    handle_signals();
    unsigned flags = take();
    if (flags & FLAG_THREAD)
        start_thread();
    spare_others();
    while (position < shared->length) {
        shared->at = position;
        uint8_t byte = take();
        enum operation operation = decode(byte);
        shared->operation = operation;
        shared->operations++;
        if (shared->trace >= 0)
            dprintf(shared->trace, "%4zu %s%s\n", shared->at, operation_name(operation),
                    byte & 128 ? ", second thread" : "");
        if (operation < FIRST_ERROR)
            carry_out(operation, byte & 128);
        else if (hardened)
            do_error(operation, byte & 128);
    }
    finish(flags);
    _exit(98);
}
