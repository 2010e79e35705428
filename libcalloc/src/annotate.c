#include "annotate.h"

#include <string.h>
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>

#include "options.h"

enum cal__annotating cal__annotating;

/* Bound when the program was built with AddressSanitizer and its runtime is loaded first. */
extern void __asan_poison_memory_region(const volatile void *address, size_t size)
    __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *address, size_t size)
    __attribute__((weak));

/* Instrumented code must not touch what it poisons: in its own sanitizer builds the library is
 * what is tested, not the program. */
#if defined(__SANITIZE_ADDRESS__)
#    define SELF_INSTRUMENTED 1
#elif defined(__has_feature)
#    define SELF_INSTRUMENTED __has_feature(address_sanitizer)
#else
#    define SELF_INSTRUMENTED 0
#endif

/* RUNNING_ON_VALGRIND is true for every tool, callgrind too, whose counts must be of the fast
 * path. Only memcheck knows validity bits. */
static bool under_memcheck(void)
{
    if (!RUNNING_ON_VALGRIND)
        return false;
    char byte = 0;
    char bits = 0;
    return VALGRIND_GET_VBITS(&byte, &bits, 1) == 1;
}

bool cal__annotate_start(void)
{
    if (cal__options.annotate == 0)
        return false;
    if (under_memcheck())
        cal__annotating = CAL_ANNOTATE_MEMCHECK;
    else if (!SELF_INSTRUMENTED && &__asan_poison_memory_region != NULL)
        cal__annotating = CAL_ANNOTATE_ASAN;
    return cal__annotating != CAL_ANNOTATE_NONE;
}

static size_t *size_word(void *block, size_t capacity)
{
    return (size_t *)((char *)block + capacity - sizeof(size_t));
}

void cal__annotate_allocated(void *block, size_t size, size_t capacity, bool zeroed)
{
    *size_word(block, capacity) = size;
    if (cal__annotating == CAL_ANNOTATE_MEMCHECK) {
        VALGRIND_MALLOCLIKE_BLOCK(block, size, 0, zeroed);
        VALGRIND_MAKE_MEM_NOACCESS((char *)block + size, capacity - size);
    } else {
        __asan_unpoison_memory_region(block, size);
        __asan_poison_memory_region((char *)block + size, capacity - size);
    }
}

void cal__annotate_freed(void *block, size_t capacity)
{
    if (cal__annotating == CAL_ANNOTATE_MEMCHECK)
        VALGRIND_FREELIKE_BLOCK(block, 0);
    else
        __asan_poison_memory_region(block, capacity);
}

size_t cal__annotate_size(void *block, size_t capacity)
{
    return *size_word(block, capacity);
}

void cal__annotate_region(void *address, size_t size)
{
    if (cal__annotating == CAL_ANNOTATE_MEMCHECK)
        VALGRIND_MAKE_MEM_NOACCESS(address, size);
    else if (cal__annotating == CAL_ANNOTATE_ASAN)
        __asan_poison_memory_region(address, size);
}

void cal__annotate_accessible(void *address, size_t size)
{
    if (cal__annotating == CAL_ANNOTATE_MEMCHECK)
        VALGRIND_MAKE_MEM_DEFINED(address, size);
    else if (cal__annotating == CAL_ANNOTATE_ASAN)
        __asan_unpoison_memory_region(address, size);
}

void cal__annotate_forget(void *address, size_t size)
{
    /* memcheck sees the system call itself. */
    if (cal__annotating == CAL_ANNOTATE_ASAN)
        __asan_unpoison_memory_region(address, size);
}

void cal__annotate_begin(void)
{
    if (cal__annotating == CAL_ANNOTATE_MEMCHECK)
        VALGRIND_DISABLE_ERROR_REPORTING;
}

void cal__annotate_end(void)
{
    if (cal__annotating == CAL_ANNOTATE_MEMCHECK)
        VALGRIND_ENABLE_ERROR_REPORTING;
}
