/* The few attributes and helpers used throughout. */
#ifndef CAL_TRACK_BASE_H
#define CAL_TRACK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAL_LIKELY(x)    __builtin_expect(!!(x), 1)
#define CAL_UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define CAL_COLD         __attribute__((cold, noinline))
#define CAL_NOINLINE     __attribute__((noinline))
#define CAL_INLINE       static inline __attribute__((always_inline))
#define CAL_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))
#define CAL_EXPORT       __attribute__((visibility("default")))

/* Reads the stack as it is, which MemorySanitizer knows only in part. */
#ifdef __clang__
#    define CAL_READS_STACK __attribute__((no_sanitize("memory")))
#else
#    define CAL_READS_STACK
#endif

/* The alignment of every block, and the smallest one. */
#define CAL_BLOCK_ALIGNMENT ((size_t)16)

/* User space ends below this, see the core's base.h. */
#define CAL_ADDRESS_BITS 48

_Static_assert(sizeof(void *) == 8, "64-bit systems only");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "and little-endian ones");

#endif
