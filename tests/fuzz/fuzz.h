/* Sequences of calls with errors of the program among them, decoded from bytes.
 *
 * An input is one byte of flags, then operations: a byte that says which, with its highest bit for
 * the second thread, and the bytes that the operation takes. Behind its end an input reads as
 * zeros. The weights below say which byte is which operation: who changes them changes what inputs
 * mean, but not those in words (corpus/). */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INPUT_MAX = 2048, FRAMES = 24, MESSAGE = 240 };

/* The flags of an input. */
enum {
    FLAG_THREAD = 1, /* there is a second thread */
    FLAG_KEEP = 2,   /* what lives at the end is not freed */
    FLAG_JOIN = 4,   /* the second thread ends before the process */
};

/* OPERATION(name, weight) of programs without errors: weight of 100 first bytes choose it. */
#define OPERATIONS(OPERATION)   \
    OPERATION(malloc, 22)       \
    OPERATION(calloc, 8)        \
    OPERATION(aligned_alloc, 6) \
    OPERATION(new, 4)           \
    OPERATION(new_array, 4)     \
    OPERATION(native, 3)        \
    OPERATION(realloc, 10)      \
    OPERATION(in_place, 3)      \
    OPERATION(free, 20)         \
    OPERATION(sized_free, 6)    \
    OPERATION(usable_size, 3)   \
    OPERATION(object_size, 4)   \
    OPERATION(check, 1)         \
    OPERATION(fork, 1)          \
    OPERATION(validate, 2)      \
    OPERATION(trim, 1)          \
    OPERATION(churn, 2)

/* ERROR(name, weight, what may be reported then) of the 28 first bytes that are left. */
#define ERRORS(ERROR)                      \
    ERROR(overflow, 4, SAYS_WRITE)         \
    ERROR(gap_overflow, 2, SAYS_WRITE)     \
    ERROR(underflow, 2, SAYS_WRITE)        \
    ERROR(write_after_free, 4, SAYS_WRITE) \
    ERROR(write_guard, 1, SAYS_WRITE)      \
    ERROR(write_empty, 1, SAYS_WRITE)      \
    ERROR(double_free, 2, SAYS_FREE)       \
    ERROR(racing_free, 1, SAYS_FREE)       \
    ERROR(interior_free, 2, SAYS_FREE)     \
    ERROR(foreign_free, 1, SAYS_FREE)      \
    ERROR(freed_realloc, 1, SAYS_USE)      \
    ERROR(freed_usable, 1, SAYS_USE)       \
    ERROR(wrong_realloc, 1, SAYS_USE)      \
    ERROR(wrong_usable, 1, SAYS_USE)       \
    ERROR(wrong_size, 2, SAYS_SIZE)        \
    ERROR(wrong_kind, 2, SAYS_KIND)

enum operation {
#define OPERATION(name, weight)        DO_##name,
#define ERROR(name, weight, may_print) DO_##name,
    OPERATIONS(OPERATION) ERRORS(ERROR)
#undef ERROR
#undef OPERATION
        OPERATION_COUNT,
    FIRST_ERROR = DO_overflow,
    ERROR_COUNT = OPERATION_COUNT - FIRST_ERROR,
    /* First bytes from here on, below 128, are errors. */
    FIRST_ERROR_BYTE = 100,
};

/* How a line begins after "libcalloc: ", and its bit in a mask. */
#define PHRASES(PHRASE)                                \
    PHRASE("double free of ", SAYS_FREE)               \
    PHRASE("invalid free of ", SAYS_FREE)              \
    PHRASE("invalid use of ", SAYS_USE)                \
    PHRASE("invalid realloc of ", SAYS_USE)            \
    PHRASE("invalid malloc_usable_size of ", SAYS_USE) \
    PHRASE("overflow of ", SAYS_WRITE)                 \
    PHRASE("write after free of ", SAYS_WRITE)         \
    PHRASE("mismatched deallocation of ", SAYS_KIND)   \
    PHRASE("mismatched size of ", SAYS_SIZE)

enum { SAYS_FREE = 1, SAYS_USE = 2, SAYS_WRITE = 4, SAYS_KIND = 8, SAYS_SIZE = 16 };
#define PHRASE_COUNT 9

enum consequence { ABORT, LOG, IGNORE, CONSEQUENCES };

/* What the process of one case and the one that judges it both see. */
struct shared {
    uint8_t input[INPUT_MAX];
    size_t length;
    enum consequence consequence;
    int trace; /* descriptor to tell operations on, or -1 */

    /* Of the case. */
    size_t operations, at; /* how many, and the byte of the input where the last one is */
    enum operation operation;
    atomic_bool writing; /* an error writes to LOW to HIGH */
    uintptr_t low, high;
    unsigned may_print;            /* SAYS_… of the errors so far */
    unsigned errors_found;         /* of the last validation */
    unsigned pending[ERROR_COUNT]; /* errors of which is not known yet whether they were found */
    bool kinds_done[ERROR_COUNT];
    bool finished; /* all was done, the process ends */
    char message[MESSAGE];
    int signal;
    uintptr_t fault;
    int frame_count;
    void *frames[FRAMES];
};

struct statistics {
    uint64_t cases, operations, failures, dirty;
    uint64_t injected[ERROR_COUNT], caught[ERROR_COUNT];
    uint64_t guarded[ERROR_COUNT], harmless[ERROR_COUNT];
    uint64_t phrases[PHRASE_COUNT];
    uint64_t aborted, ended;
};

extern struct shared *shared;
extern struct statistics *statistics;

/* Once, before the first case. True if the allocator is hardened. */
bool case_prepare(void);

/* In a process of its own: carries the input out, and ends the process. */
_Noreturn void case_run(void);

const char *operation_name(enum operation operation);

/* OPERATION_COUNT if none has that name. */
enum operation operation_named(const char *name);

/* A first byte that means OPERATION. */
uint8_t operation_byte(enum operation operation, unsigned random);

#endif
