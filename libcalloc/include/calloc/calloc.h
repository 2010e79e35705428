/* libcalloc: the native API.
 *
 * A program that links with -lcalloc (or runs with libcalloc.so.1 preloaded) already has its
 * malloc family and C++ operators served by this library; blocks of both interfaces are the same
 * and may be freed by either. Sizes are in bytes. All functions are thread-safe; all may be called
 * between fork and exec of a threaded program and after exit() began; none may be called from a
 * signal handler. A pointer that is not a live block ends the process with one line on standard
 * error ("libcalloc: invalid free of 0x...") and abort(). */
#ifndef CALLOC_CALLOC_H
#define CALLOC_CALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#    define CAL_MALLOC __attribute__((__malloc__, __warn_unused_result__))
#else
#    define CAL_MALLOC
#endif

/* A block of at least `size` bytes with unspecified contents, aligned to 16, valid until it is
 * given to cal_deallocate() or cal_reallocate(). NULL for `size` 0 (errno unchanged), and with
 * ENOMEM when memory is short or `size` is within 64 KiB of PTRDIFF_MAX
 * or beyond. */
CAL_MALLOC void *cal_allocate(size_t size);

/* The same, reading as zeros. */
CAL_MALLOC void *cal_allocate_zeroed(size_t size);

/* The same as cal_allocate(), aligned to `alignment`, a power of two of any size; NULL with EINVAL
 * when it is not one. */
CAL_MALLOC void *cal_allocate_aligned(size_t size, size_t alignment);

/* Ends the life of a block; NULL is ignored. errno is preserved. Any thread may free any block. */
void cal_deallocate(void *block);

/* Resizes a block, in place or by moving; the first min(old, new) bytes are kept. NULL as `block`
 * allocates. `size` 0 frees the block and returns NULL. NULL with ENOMEM otherwise means that
 * nothing happened: the old block is still good. */
void *cal_reallocate(void *block, size_t size);

/* Resizes without moving: returns `block`, or NULL when that is not possible or `size` is 0, and
 * then nothing has changed. errno is preserved. A NULL `block` gives NULL. */
void *cal_try_reallocate_in_place(void *block, size_t size);

/* Bytes usable in a block, at least what was asked for; 0 for NULL. */
size_t cal_allocation_size(const void *block);

/* Gives free memory back to the kernel now, as far as the calling thread can reach it: its own
 * empty pages, all memory that belongs to no thread, and what add-ons keep back of freed blocks. 1 if
 * there was any, else 0. */
int cal_trim(void);

/* What the allocator holds and did. Exact when no other thread allocates meanwhile. */
struct cal_statistics {
    size_t size;                  /* in: sizeof(struct cal_statistics) of the caller */
    size_t total_allocated;       /* bytes handed out since the start, rounded up to block sizes */
    size_t total_freed;           /* bytes of those that came back */
    size_t allocations;           /* blocks handed out since the start */
    size_t deallocations;         /* blocks that came back */
    size_t active_allocations;    /* blocks that the program holds now */
    size_t active_bytes;          /* their bytes */
    size_t os_memory_mapped;      /* bytes of address space mapped from the kernel */
    size_t os_memory_mapped_peak; /* its maximum so far */
    size_t fragmentation_bytes;   /* bytes between live blocks: once used, free, and not to be given
                                   * back while a block beside them lives */
    size_t retained_bytes;        /* bytes handed out once, free, and kept for re-use until their
                                   * delay; those never written cost no memory */
    size_t free_bytes;            /* bytes in free runs that cost no memory */
    size_t metadata_bytes;        /* bytes of the allocator's own structures */
    size_t threads;               /* threads that have a heap now */
};

/* Fills in the fields that the caller's structure has. 0, or -EINVAL when its size is less than
 * two fields. Allocates nothing. */
int cal_stats(struct cal_statistics *statistics);

/* fragmentation_bytes over active_bytes + fragmentation_bytes, from 0 (none) to 1. */
double cal_fragmentation(void);

/* "1.0.0", of the library that is loaded. Static. */
const char *cal_version(void);

#ifdef __cplusplus
}
#endif

#endif
