/* libcalloc: the hook table, by which an add-on changes the core.
 *
 * An add-on fills one `struct cal_hooks` and registers it. It fills the roles that it plays and
 * leaves the others NULL. With no hook registered the allocation fast paths execute not one
 * instruction more; with an observer, the processes that registered it take the slower path.
 *
 * For the add-ons of this family the core looks for the tables `cal_addon_secure`,
 * `cal_addon_numa`, `cal_addon_track`, `cal_addon_defrag` and `cal_addon_arena` as weak symbols
 * and registers what the dynamic linker bound before the first allocation of the process. Any
 * other add-on calls cal_hooks_register() from a constructor or later.
 *
 * Tables begin with their size, so that older and newer ones work together: the core reads no
 * field beyond `size`. They must stay valid until the process ends (a library that registered
 * one must not be unloaded; link it with -z nodelete).
 *
 * No function of a table may allocate from the heap, unless its comment says so. */
#ifndef CALLOC_HOOKS_H
#define CALLOC_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a field changes its meaning; fields added at the end do not raise it. */
#define CAL_HOOKS_VERSION 1

/* Role source (exclusive): where address space comes from. Sizes are in bytes and multiples of
 * the kernel's page size; called from any thread, with locks of the allocator held. What is given
 * back, purged or moved may be a part of what one `map` returned, or span several that are neighbours, and
 * with a source registered late it may be memory that the kernel's own source mapped. */
struct cal_source {
    size_t size; /* sizeof(struct cal_source) */

    /* Readable and writable zeroed memory of `length` bytes whose address is a multiple of
     * `alignment` (a power of two), near `hint` if that is not NULL, for NUMA node `node`
     * (-1: any). NULL when there is none. */
    void *(*map)(size_t length, size_t alignment, void *hint, int node);

    /* Gives memory back. 0, or a negative errno: the memory then stays mapped, and the allocator uses
     * it again, but for mappings it gave up half-made because something else failed too. */
    int (*unmap)(void *address, size_t length);

    /* Gives the physical memory back and keeps the addresses. 0: the memory now reads as zeros;
     * a negative errno: it is unchanged. */
    int (*purge)(void *address, size_t length);

    /* Resizes a mapping. With `destination` NULL only in place; otherwise to that address, where
     * `new_length` bytes are mapped, which are replaced. 0 or a negative errno, and then nothing
     * has changed. The core only moves, with both lengths the same. */
    int (*remap)(void *address, size_t old_length, size_t new_length, void *destination);

    /* The NUMA node the calling thread runs on, or -1. May be NULL. Not called yet. */
    int (*node)(void);
};

/* Role observer (up to eight at a time): sees every allocation. The functions run in the thread
 * that allocates, without locks of the allocator held; any may be NULL. Memory is `usable` bytes
 * at `block`; `requested` is what the caller asked for. */
struct cal_observer {
    size_t size; /* sizeof(struct cal_observer) */
    void (*allocated)(void *block, size_t requested, size_t usable);
    void (*freeing)(void *block, size_t usable);
    /* The block kept its address. A resize that moves is an `allocated` and a `freeing`. */
    void (*resized)(void *block, size_t old_usable, size_t requested, size_t usable);
};

/* Role lifecycle (up to eight at a time); any may be NULL. */
struct cal_lifecycle {
    size_t size;                /* sizeof(struct cal_lifecycle) */
    void (*thread_start)(void); /* before the first allocation of a thread */
    void (*thread_end)(void);   /* when its memory is handed over */
    void (*fork_prepare)(void); /* in the parent, before fork, before the allocator's locks */
    void (*fork_parent)(void);  /* in the parent, after fork */
    void (*fork_child)(void);   /* in the child, after the allocator is usable again */
    void (*exiting)(void);      /* once, when the library's destructors run; may allocate */
    /* The statistics table was asked for: write further lines to `descriptor`. */
    void (*print_statistics)(int descriptor);
};

/* Roles that the core does not call yet; the fields keep their places in the table. */
struct cal_slots;
struct cal_owner;

struct cal_hooks {
    size_t size;                   /* sizeof(struct cal_hooks) */
    uint32_t version;              /* CAL_HOOKS_VERSION */
    const char *name;              /* "secure", for messages; not NULL */
    const char *component_version; /* "1.0.0"; not NULL */
    const struct cal_source *source;
    const struct cal_slots *slots; /* must be NULL */
    const struct cal_owner *owner; /* must be NULL */
    const struct cal_observer *observer;
    const struct cal_lifecycle *lifecycle;
};

/* Registers a table. Its observer sees everything from the first allocation of the process if the
 * dynamic linker bound it, from this call on what the calling thread and later threads do, and what
 * another running thread does once it has used up the free blocks it holds at hand.
 * 0; -EINVAL: the table is malformed, of another version, or asks for a role the core does not
 * know; -EEXIST: it is registered already; -EBUSY: another add-on has the exclusive role;
 * -ENOSPC: eight are registered. A refusal of a table that has a name, but -EEXIST,
 * prints one line with that name and, where there is one, the name of the add-on in the way. Thread-safe; not to be called from a hook. */
int cal_hooks_register(const struct cal_hooks *hooks);

/* Takes a table out again. 0; -ENOENT: it is not registered; -EBUSY: it plays the role source,
 * whose memory is in use. A call that is under way in another thread may still end after this
 * returned, so the functions must stay valid. Thread-safe. */
int cal_hooks_unregister(const struct cal_hooks *hooks);

/* The source that uses the kernel directly, for sources that wrap it. Never NULL. */
const struct cal_source *cal_source_system(void);

/* Introspection: what the heap consists of. */
enum cal_region_kind {
    CAL_REGION_SLAB = 1, /* blocks of one size */
    CAL_REGION_RUN,      /* one large block inside a segment */
    CAL_REGION_MAPPING,  /* one block of more than 4 MiB */
    CAL_REGION_FREE,     /* free memory */
};

struct cal_region {
    size_t size; /* sizeof(struct cal_region) as the core knows it */
    enum cal_region_kind kind;
    void *address;
    size_t length;     /* bytes */
    size_t block_size; /* SLAB: bytes of one block; RUN, MAPPING: usable bytes; FREE: 0 */
    size_t blocks;     /* blocks that were ever cut from it */
    size_t live;       /* blocks that the program holds */
    bool dirty;        /* FREE: still backed by physical memory */
};

/* Calls `visit` for each region of the process until it returns false. True when all were visited.
 * No memory is allocated or returned to the kernel meanwhile: other threads wait, so `visit` must
 * be short and must not allocate or free. `live` is exact when no other thread allocates. */
bool cal_walk_regions(bool (*visit)(const struct cal_region *region, void *argument),
                      void *argument);

/* Calls `visit` for each live block of each region. As cal_walk_regions(); exact only while no
 * other thread allocates. False also when no memory could be had for the walk. */
bool cal_walk_blocks(bool (*visit)(void *block, size_t usable, void *argument), void *argument);

#ifdef __cplusplus
}
#endif

#endif
