/* The C++ operators new and delete, written in C under their Itanium ABI names.
 *
 * On failure the new-handler is called until it frees memory, throws or is NULL; then bad_alloc is
 * thrown ([new.delete.single]). All three need libstdc++, which the library does not depend on:
 * a program that can install a handler or catch an exception has it loaded. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "message.h"

typedef void (*new_handler)(void);
typedef new_handler (*handler_getter)(void);

/* In the archive this file is only taken for programs that use the operators, which have libstdc++ then,
 * and from an archive only what is not weak brings that along. */
#ifdef CAL_ARCHIVE
#    define OF_LIBSTDCXX
#else
#    define OF_LIBSTDCXX __attribute__((weak))
#endif

/* std::get_new_handler() and std::__throw_bad_alloc(). */
extern new_handler _ZSt15get_new_handlerv(void) OF_LIBSTDCXX;
extern void _ZSt17__throw_bad_allocv(void) OF_LIBSTDCXX;

/* ISO C has no cast from dlsym's result to a function; POSIX says that the bytes are the same. */

/* A function of libstdc++ where a C program loaded it late, out of the global scope. */
static CAL_COLD void *late(const char *name)
{
#ifdef CAL_ARCHIVE
    (void)name;
    return NULL;
#else
    void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (library == NULL)
        return NULL;
    void *function = dlsym(library, name);
    dlclose(library);
    return function;
#endif
}

/* libstdc++'s function of a name that is ours too. */
static CAL_COLD void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    return function != NULL ? function : late(name);
}

static CAL_COLD new_handler current_handler(void)
{
    handler_getter get = _ZSt15get_new_handlerv;
    void *symbol = get == NULL ? late("_ZSt15get_new_handlerv") : NULL;
    if (symbol != NULL)
        memcpy(&get, &symbol, sizeof get);
    return get == NULL ? NULL : get();
}

static CAL_COLD _Noreturn void throw_bad_alloc(size_t size)
{
    void (*throw)(void) = _ZSt17__throw_bad_allocv;
    void *symbol = throw == NULL ? late("_ZSt17__throw_bad_allocv") : NULL;
    if (symbol != NULL)
        memcpy(&throw, &symbol, sizeof throw);
    if (throw != NULL)
        throw();
    struct cal__text text = {.length = 0};
    cal__text_string(&text, "out of memory in operator new for ");
    cal__text_decimal(&text, size);
    cal__text_string(&text, " bytes, and there is no libstdc++ to throw bad_alloc");
    text.bytes[text.length] = '\0';
    cal__warn(text.bytes, NULL);
    abort();
}

static CAL_COLD void *new_again(size_t size, size_t alignment, unsigned how)
{
    for (;;) {
        void *block = cal__block_allocate(size, alignment, how);
        if (block != NULL)
            return block;
        new_handler handler = current_handler();
        if (handler == NULL)
            throw_bad_alloc(size);
        handler();
    }
}

/* Single and array forms do the same, but an add-on may tell one from the other. */

CAL_INLINE void *new_or_throw(size_t size, size_t alignment, unsigned how)
{
    alignment = cal__max(alignment, CAL_ALIGNMENT);
    void *block = cal__block_allocate(size, alignment, how);
    return CAL_LIKELY(block != NULL) ? block : new_again(size, alignment, how);
}

static CAL_NOINLINE void *new_slow(size_t size)
{
    return new_or_throw(size, CAL_ALIGNMENT, CAL_HOW_NEW);
}

static CAL_NOINLINE void *new_array_slow(size_t size)
{
    return new_or_throw(size, CAL_ALIGNMENT, CAL_HOW_NEW_ARRAY);
}

static CAL_NOINLINE void *new_aligned_slow(size_t size, size_t alignment)
{
    return new_or_throw(size, alignment, CAL_HOW_NEW);
}

static CAL_NOINLINE void *new_array_aligned_slow(size_t size, size_t alignment)
{
    return new_or_throw(size, alignment, CAL_HOW_NEW_ARRAY);
}

/* The nothrow forms must catch what a handler throws, which C cannot. libstdc++'s own do that
 * around a call of the throwing form, which is ours. */
static CAL_COLD void *nothrow_again(size_t size, const char *name)
{
    if (current_handler() == NULL)
        return NULL;
    void *(*standard)(size_t, const void *);
    static const char any;
    void *symbol = next(name);
    if (symbol == NULL)
        return NULL;
    memcpy(&standard, &symbol, sizeof standard);
    return standard(size, &any);
}

static CAL_COLD void *nothrow_aligned_again(size_t size, size_t alignment, const char *name)
{
    if (current_handler() == NULL)
        return NULL;
    void *(*standard)(size_t, size_t, const void *);
    static const char any;
    void *symbol = next(name);
    if (symbol == NULL)
        return NULL;
    memcpy(&standard, &symbol, sizeof standard);
    return standard(size, alignment, &any);
}

static CAL_NOINLINE void *nothrow_slow(size_t size)
{
    void *block = cal__block_allocate(size, CAL_ALIGNMENT, CAL_HOW_NEW);
    return CAL_LIKELY(block != NULL) ? block : nothrow_again(size, "_ZnwmRKSt9nothrow_t");
}

static CAL_NOINLINE void *nothrow_array_slow(size_t size)
{
    void *block = cal__block_allocate(size, CAL_ALIGNMENT, CAL_HOW_NEW_ARRAY);
    return CAL_LIKELY(block != NULL) ? block : nothrow_again(size, "_ZnamRKSt9nothrow_t");
}

CAL_INLINE void *nothrow_aligned(size_t size, size_t alignment, unsigned how, const char *name)
{
    void *block = cal__block_allocate(size, cal__max(alignment, CAL_ALIGNMENT), how);
    return CAL_LIKELY(block != NULL) ? block : nothrow_aligned_again(size, alignment, name);
}

static CAL_NOINLINE void *nothrow_aligned_slow(size_t size, size_t alignment)
{
    return nothrow_aligned(size, alignment, CAL_HOW_NEW, "_ZnwmSt11align_val_tRKSt9nothrow_t");
}

static CAL_NOINLINE void *nothrow_array_aligned_slow(size_t size, size_t alignment)
{
    return nothrow_aligned(size, alignment, CAL_HOW_NEW_ARRAY,
                           "_ZnamSt11align_val_tRKSt9nothrow_t");
}

/* One line per operator. */
#define NEW(name, slow, how)                      \
    CAL_EXPORT void *name(size_t size)            \
    {                                             \
        return cal__allocate_or(size, slow, how); \
    }
#define NEW_NOTHROW(name, slow, how)                        \
    CAL_EXPORT void *name(size_t size, const void *nothrow) \
    {                                                       \
        (void)nothrow;                                      \
        return cal__allocate_or(size, slow, how);           \
    }
#define NEW_ALIGNED(name, slow)                                           \
    CAL_EXPORT void *name(size_t size, size_t alignment)                  \
    {                                                                     \
        void *block = cal__at_hand_aligned(size, alignment);              \
        return CAL_LIKELY(block != NULL) ? block : slow(size, alignment); \
    }
#define NEW_ALIGNED_NOTHROW(name, slow)                                       \
    CAL_EXPORT void *name(size_t size, size_t alignment, const void *nothrow) \
    {                                                                         \
        (void)nothrow;                                                        \
        void *block = cal__at_hand_aligned(size, alignment);                  \
        return CAL_LIKELY(block != NULL) ? block : slow(size, alignment);     \
    }
/* What further arguments of delete promise, size and alignment, is for hardening to check. */
#define DELETE(name, how, said_size, said_alignment, ...)    \
    CAL_EXPORT void name(void *block, ##__VA_ARGS__)         \
    {                                                        \
        cal__free_as(block, how, said_size, said_alignment); \
    }

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wunused-parameter"

#define ONE     CAL_HOW_NEW
#define ARRAY   CAL_HOW_NEW_ARRAY
#define UNKNOWN CAL_CALL_UNKNOWN
NEW(_Znwm, new_slow, ONE)
NEW(_Znam, new_array_slow, ARRAY)
NEW_NOTHROW(_ZnwmRKSt9nothrow_t, nothrow_slow, ONE)
NEW_NOTHROW(_ZnamRKSt9nothrow_t, nothrow_array_slow, ARRAY)
NEW_ALIGNED(_ZnwmSt11align_val_t, new_aligned_slow)
NEW_ALIGNED(_ZnamSt11align_val_t, new_array_aligned_slow)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t, nothrow_aligned_slow)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t, nothrow_array_aligned_slow)
DELETE(_ZdlPv, ONE, UNKNOWN, 0)
DELETE(_ZdaPv, ARRAY, UNKNOWN, 0)
DELETE(_ZdlPvm, ONE, size, 0, size_t size)
DELETE(_ZdaPvm, ARRAY, size, 0, size_t size)
DELETE(_ZdlPvRKSt9nothrow_t, ONE, UNKNOWN, 0, const void *nothrow)
DELETE(_ZdaPvRKSt9nothrow_t, ARRAY, UNKNOWN, 0, const void *nothrow)
DELETE(_ZdlPvSt11align_val_t, ONE, UNKNOWN, alignment, size_t alignment)
DELETE(_ZdaPvSt11align_val_t, ARRAY, UNKNOWN, alignment, size_t alignment)
DELETE(_ZdlPvmSt11align_val_t, ONE, size, alignment, size_t size, size_t alignment)
DELETE(_ZdaPvmSt11align_val_t, ARRAY, size, alignment, size_t size, size_t alignment)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, ONE, UNKNOWN, alignment, size_t alignment,
       const void *nothrow)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, ARRAY, UNKNOWN, alignment, size_t alignment,
       const void *nothrow)
