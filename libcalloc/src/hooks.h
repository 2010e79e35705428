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

/* Registers the family's add-ons that were loaded with the process. */
void cal__hooks_start(void);

/* Requests of more bytes than the first and up to the second are nobody's business but that of the role
 * slots, which has both an allocated() and a freeing(). None are while the second is 0. */
extern _Atomic size_t cal__hooks_lean_above, cal__hooks_lean_up_to;

CAL_INLINE bool cal__hooks_is_lean(size_t size)
{
    return size <= atomic_load_explicit(&cal__hooks_lean_up_to, memory_order_acquire) &&
           size > atomic_load_explicit(&cal__hooks_lean_above, memory_order_relaxed);
}

/* Observers. */
void cal__hooks_allocated(void *block, size_t requested, size_t usable);
void cal__hooks_freeing(void *block, size_t usable);
void cal__hooks_resized(void *block, size_t old_usable, size_t requested, size_t usable);
bool cal__hooks_observed(void);

/* Lifecycle. */
void cal__hooks_thread_start(void);
void cal__hooks_thread_end(void);
/* Also take and release the lock of the registry. */
void cal__hooks_fork_prepare(void);
void cal__hooks_fork_parent(void);
void cal__hooks_fork_child(void);
void cal__hooks_exiting(void);
void cal__hooks_print_statistics(int descriptor);

#endif
