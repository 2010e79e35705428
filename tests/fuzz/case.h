/* What a case is carried out with: the input, the model of what lives, calls in one of two threads,
 * and the errors. */
#ifndef CASE_H
#define CASE_H

#include <calloc/hooks.h>
#include <calloc/secure.h>

#include "fuzz.h"

enum {
    BLOCKS = 96,
    FREED = 64,
    WHOLE = 16384,         /* up to here all bytes are filled and checked, of more the ends */
    EDGE = 1024,           /* so many at each end */
    LIVE_MAX = 48 << 20,   /* bytes */
    ALWAYS_ZERO_MAX = 4000 /* up to here freed memory is looked at before it is used again */
};

enum kind { KIND_MALLOC, KIND_NEW, KIND_ARRAY, KINDS };

struct block {
    unsigned char *address; /* NULL: none */
    size_t size;
    enum kind kind;
    bool native; /* came from the native functions, and whoever may give it back */
    unsigned seed;
    bool damaged; /* an error may have written into it */
};

struct freed {
    unsigned char *address;
    size_t size;
};

/* The functions of the allocator: what need not be there is NULL. */
struct functions {
    void *(*allocate[KINDS])(size_t);
    void (*deallocate[KINDS])(void *);
    void (*deallocate_sized[KINDS])(void *, size_t);
    void *(*native)(size_t);
    void *(*in_place)(void *, size_t);
    int (*trim)(void);
    bool (*walk)(bool (*)(const struct cal_region *, void *), void *);
    bool (*walk_blocks)(bool (*)(void *, size_t, void *), void *);
    size_t (*object_size)(const void *);
    int (*validate)(void);
    enum cal_secure_level (*level)(void);
};

extern struct functions functions;
extern bool hardened, kinds_checked;

/* --- model.c --- */

extern struct block blocks[BLOCKS];
extern size_t live_bytes;
extern size_t position; /* in the input */
extern unsigned writes; /* errors that wrote */

/* Ends the process: something is not as it has to be. */
_Noreturn __attribute__((format(printf, 1, 2))) void wrong(const char *format, ...);

uint8_t take(void);
size_t take_size(void);
/* A block that lives, the next one from a place of the input's choice; NULL for none. */
struct block *take_block(void);
/* One that was freed and is no block again, the same way. */
struct freed *take_freed(void);
struct block *free_place(void);

void fill(struct block *block);
void check(const struct block *block);
/* The first KEPT bytes of what had SIZE. */
void check_kept(const struct block *block, size_t size, size_t kept);
void check_zero(const struct block *block);
void check_all(void);
/* The block that ADDRESS lies in; one of size 0 takes a byte. */
struct block *block_around(const void *address);
bool is_start(const void *address);
size_t object_size(const void *pointer);
int validate(void);
/* What was just allocated, after all that can be checked of it. */
void add(struct block *block, void *address, size_t size, enum kind kind, size_t alignment);
void forget(struct block *block);

/* --- calls.c --- */

enum what { MALLOC, CALLOC, ALIGNED, NATIVE, REALLOC, IN_PLACE, FREE, SIZED_FREE, USABLE, CHURN };

struct call {
    enum what what;
    enum kind kind;
    void *pointer; /* and the result */
    size_t size, alignment;
};

extern bool threaded; /* there is a second thread */
extern bool churning; /* it allocates and frees by itself, until it is to settle */

void start_thread(void);
void end_thread(void);
/* In this thread. */
void perform(struct call *call);
void run(struct call *call, bool second);
/* Both at once. */
void race(struct call *here, struct call *there);
void start_churn(unsigned seed);
void settle(void);

/* --- errors.c --- */

/* Before the first operation: what lives now is not ours, and is spared. */
void spare_others(void);
void do_error(enum operation error, bool second);
/* Not the start of a block: far from the heap. */
unsigned char *take_foreign(void);
/* A fault that an error is to cause: does not return then. */
void return_from_fault(uintptr_t fault);

#endif
