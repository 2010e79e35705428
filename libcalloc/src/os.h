/* The only door to the kernel for memory and time. Everything above asks here, and here the
 * source of an add-on may take the place of the kernel.
 *
 * After start only these system calls are made: mmap (private, anonymous), munmap, mremap, madvise
 * (DONTNEED, NORMAL, POPULATE_WRITE; HUGEPAGE where an option asks for it) and, by lock.c, futex. Each
 * may be refused at any time. */
#ifndef CAL_OS_H
#define CAL_OS_H

#include <calloc/hooks.h>

#include "base.h"

/* Zeroed memory aligned to ALIGNMENT (a power of two, at least a kernel page); NULL when refused. */
void *cal__os_map(size_t size, size_t alignment, void *hint);
/* False when refused: the memory is still mapped. */
bool cal__os_unmap(void *address, size_t size);
/* True: physical memory given back, and the range reads as zeros. */
bool cal__os_purge(void *address, size_t size);
/* The same by mapping it anew, all as one mapping of the kernel's. False and unchanged where there is
 * another source of memory, or when refused. */
bool cal__os_renew(void *address, size_t size);
/* Asks for pages of 2 MiB, where the kernel has some; it need not answer. */
void cal__os_advise_huge(void *address, size_t size);
/* Gives the range its pages now: 0 or a negative errno. Only -ENOMEM says that there are not enough;
 * with all others the pages come when they are touched, as ever. */
int cal__os_populate(void *address, size_t size);
/* Moves pages onto DESTINATION, which is mapped. False when refused, and nothing has changed. */
bool cal__os_move(void *address, size_t size, void *destination);

/* Milliseconds of some clock that never makes a system call: the kernel's coarse clock where the
 * vDSO has it, else a count of calls. */
uint64_t cal__os_milliseconds(void);

/* Bytes mapped now and at most so far. */
size_t cal__os_mapped(void);
size_t cal__os_mapped_peak(void);

/* The kernel's page size, from the auxiliary vector. */
size_t cal__os_page_size(void);

/* A value that no two living threads share and that costs one instruction to read. */
CAL_INLINE uintptr_t cal__thread_pointer(void)
{
#if defined(__x86_64__)
    uintptr_t pointer;
    /* The x86-64 ABI keeps the thread pointer's own address at offset 0. Not volatile: within a
     * function the value cannot change. */
    __asm__("mov %%fs:0, %0" : "=r"(pointer));
    return pointer;
#elif defined(__aarch64__)
    uintptr_t pointer;
    __asm__("mrs %0, tpidr_el0" : "=r"(pointer));
    return pointer;
#else
    return (uintptr_t)__builtin_thread_pointer();
#endif
}

/* Installed by hook registration; NULL means the kernel itself. */
void cal__os_set_source(const struct cal_source *source);
const struct cal_source *cal__os_source(void);

#endif
