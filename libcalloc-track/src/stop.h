/* Stops all other threads for a while, without ptrace: by a signal, whose handler waits. */
#ifndef CAL_TRACK_STOP_H
#define CAL_TRACK_STOP_H

#include "base.h"

/* A thread that stands still. Its registers are on its stack above `low`. */
struct cal__stopped {
    uintptr_t low;     /* the lowest address of its stack that is in use */
    uintptr_t pointer; /* its thread pointer */
};

struct cal__stop {
    struct cal__stopped *threads;
    uint32_t count;
    uintptr_t
        *waiting; /* stack pointers of threads that cannot be stopped, but wait in a system call */
    uint32_t waiting_count;
    uint32_t missed; /* that run and block the signal, or did not answer in time */
    size_t mapped;
};

/* From the first to the last no process forks, and one thread at a time comes so far: what takes locks for which a fork does
 * not wait, the loader's for example, is done between those two. */
void cal__stop_begin(void);
void cal__stop_end(void);

/* Between these, which are to be called between those, the caller must take no lock that another thread may hold: the
 * heap's, libc's, the loader's. False: no memory; nobody stands still then. */
bool cal__stop_threads(struct cal__stop *stop);
void cal__stop_resume(struct cal__stop *stop);

/* The calling thread's thread pointer. */
uintptr_t cal__stop_thread_pointer(void);

/* Around a fork. */
void cal__stop_fork_prepare(void);
void cal__stop_fork_done(bool in_child);

#endif
