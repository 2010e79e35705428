/* The core's side of the hook table: who is registered, and telling them. */
#ifndef CAL_CORE_HOOKS_H
#define CAL_CORE_HOOKS_H

#include <calloc/hooks.h>
#include <stdatomic.h>

#include "base.h"

/* As many tables are registered at the most. */
#define CAL_HOOKS_MAX 8

/* A function of a role, NULL where there is none; roles of other ages may be shorter. */
#define CAL_HOOKS_FUNCTION(role, field)                                                   \
    ((role) != NULL &&                                                                    \
             (role)->size >= offsetof(__typeof__(*(role)), field) + sizeof((role)->field) \
         ? (role)->field                                                                  \
         : NULL)

/* Requests in which nobody but the role slots has a say go a short way (hooked.c): those for more than
 * `claimed` bytes and for no more than `most`, which is 0 where an observer or a tool has a say. */
struct cal__hooks_lean {
    _Atomic size_t claimed;
    _Atomic size_t most;
};
extern struct cal__hooks_lean cal__hooks_lean __attribute__((visibility("hidden")));

CAL_INLINE bool cal__hooks_is_lean(size_t size)
{
    return size <= atomic_load_explicit(&cal__hooks_lean.most, memory_order_acquire) &&
           size > atomic_load_explicit(&cal__hooks_lean.claimed, memory_order_relaxed);
}

/* Requests for no more than `most` bytes, which may be 0, are the observers' business alone: they go a short way too
 * (observed.c). The functions are those of the only observer, or tell all there are. */
struct cal__hooks_alone {
    _Atomic size_t most;
    void (*_Atomic allocated)(void *block, size_t requested, size_t usable);
    void (*_Atomic freeing)(void *block, size_t usable);
};
extern struct cal__hooks_alone cal__hooks_alone __attribute__((visibility("hidden")));

/* SIZE may be 0, which is none of these. */
CAL_INLINE bool cal__hooks_is_alone(size_t size)
{
    return size - 1 < atomic_load_explicit(&cal__hooks_alone.most, memory_order_acquire);
}

CAL_INLINE void cal__hooks_alone_allocated(void *block, size_t requested, size_t usable)
{
    atomic_load_explicit(&cal__hooks_alone.allocated, memory_order_relaxed)(block, requested,
                                                                            usable);
}

CAL_INLINE void cal__hooks_alone_freeing(void *block, size_t usable)
{
    atomic_load_explicit(&cal__hooks_alone.freeing, memory_order_relaxed)(block, usable);
}

/* Registers the family's add-ons that were loaded with the process. */
void cal__hooks_start(void);

/* Observers. */
void cal__hooks_allocated(void *block, size_t requested, size_t usable);
void cal__hooks_freeing(void *block, size_t usable);
void cal__hooks_resized(void *block, size_t old_usable, size_t requested, size_t usable);
bool cal__hooks_observed(void);

/* Lifecycle. */
void cal__hooks_thread_start(void);
void cal__hooks_thread_end(void);
void cal__hooks_fork_prepare(void);
void cal__hooks_fork_parent(void);
void cal__hooks_fork_child(void);
void cal__hooks_exiting(void);
void cal__hooks_print_statistics(int descriptor);
/* True: an add-on has given something up. */
bool cal__hooks_reclaim(void);

/* The lock of the registry, for a fork. */
void cal__hooks_lock(void);
void cal__hooks_unlock(bool in_child);

#endif
