/* libcalloc-secure: hardening. */
#ifndef CALLOC_SECURE_H
#define CALLOC_SECURE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Overwrites `size` bytes at `memory` with zeros, and is never optimised away: for keys and passwords
 * that nobody reads again, where a compiler leaves memset() out. `memory` may be any address, without
 * alignment, of memory that the caller may write; with `size` 0 it may be NULL, and nothing happens.
 *
 * It reaches what is in memory. Copies that the compiler made of it, in registers and in stack slots,
 * and pages in swap or in a core file stay as they are.
 *
 * Cannot fail. Preserves errno. Thread-safe as memset() is, safe in a signal handler and in the child
 * of a fork. The method is that of explicit_bzero(): a store that the compiler must take for read. */
void cal_secure_wipe(void *memory, size_t size);

#ifdef __cplusplus
}
#endif

#endif
