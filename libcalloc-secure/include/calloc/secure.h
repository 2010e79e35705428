/* libcalloc-secure: hardening. */
#ifndef CALLOC_SECURE_H
#define CALLOC_SECURE_H

#include <stdbool.h>
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

enum cal_secure_level {
    CAL_SECURE_OFF = 0, /* not in effect */
    CAL_SECURE_LIGHT,
    CAL_SECURE_STANDARD,
    CAL_SECURE_PARANOID,
};

/* The level that is in force in this process. Single settings may differ from what the level has.
 * CAL_SECURE_OFF where secure.enable is 0, or the core was not loaded before this library, or the program
 * has been started without either. Constant once main() runs. Thread-safe, async-signal-safe. */
enum cal_secure_level cal_secure_level(void);

/* What the core looks for when it starts: the table of hooks of this library, see <calloc/hooks.h>. Nobody
 * else needs it. Valid for ever. */
struct cal_hooks;
extern const struct cal_hooks cal_addon_secure;

/* Sizes in bytes. Later versions add fields at the end. */
struct cal_secure_state {
    size_t size; /* sizeof(struct cal_secure_state), set by the caller */
    enum cal_secure_level level;
    bool strong_random; /* the kernel gave the random numbers that secrets are made of */
    const char *
        own_malloc; /* the file of a malloc that the program uses instead; NULL: it uses the core's */
    size_t held_bytes;       /* freed blocks that the calling thread keeps from being used again */
    size_t waiting_bytes;    /* address space of freed large blocks, of all threads */
    size_t guards_marked;    /* guard pages that cost no mapping */
    size_t guards_protected; /* and those that cost two */
    size_t guards_budget;    /* as many of the latter there may be */
    size_t guards_refused;   /* guard pages that could not be made so far */
};

/* Fills `state` in, as far as its `size` says. 0, or -EINVAL when `state` is NULL or its size is less than
 * that of the first two fields. Thread-safe; each figure is from a moment of its own. */
int cal_secure_state(struct cal_secure_state *state);

/* Bytes from `pointer`, which may point anywhere into a block, to the end of what was asked for; 0 where
 * that is behind its end or the block has been freed and is kept; SIZE_MAX where no block of the
 * hardened heap is known there. Thread-safe, if nobody frees the block meanwhile. Takes constant time for a
 * pointer to the first 64 KiB of a block; for others other threads wait while all blocks of more than 128 KiB
 * are looked through, so not to be called from a hook or a signal handler. */
size_t cal_secure_object_size(const void *pointer);

/* Looks at every block now: the canaries of those that live and the zeros of those that are free. Each
 * error is treated as the settings say: the process ends by default; with `log` and `ignore` their number
 * is returned, 0 when there are none. Blocks may be allocated and freed by other threads meanwhile, which
 * wait now and then; those that are in use at that moment may be left out. Not to be called from a hook
 * or a signal handler. */
int cal_secure_validate(void);

#ifdef __cplusplus
}
#endif

#endif
