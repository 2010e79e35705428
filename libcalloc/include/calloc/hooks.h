/* libcalloc: the hook table, by which an add-on changes the core.
 *
 * An add-on fills one `struct cal_hooks` and registers it. It fills the roles that it plays and
 * leaves the others NULL. With no hook registered the allocation fast paths execute not one
 * instruction more; with an observer, the role slots or an owner that claims requests, the processes that
 * registered it take the slower path.
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
    /* Memory is short, or cal_trim() was called: give up what is kept of blocks that the program has freed, and
     * what else can be done without. In the thread that asks, without locks of the allocator held. True: some
     * of it was. */
    bool (*reclaim)(void);
};

/* How a request was made: what the functions of the roles slots and owner are told of it. */
enum cal_call_kind {
    CAL_CALL_MALLOC = 1, /* malloc, free and their kin */
    CAL_CALL_NEW,        /* operator new, operator delete */
    CAL_CALL_NEW_ARRAY,  /* operator new[], operator delete[] */
    CAL_CALL_NATIVE,     /* the functions of <calloc/calloc.h> */
};

#define CAL_CALL_UNKNOWN SIZE_MAX

struct cal_call {
    size_t size; /* sizeof(struct cal_call) as the core knows it */
    enum cal_call_kind kind;
    bool zero;        /* allocation: the bytes must read as zeros */
    size_t bytes;     /* allocation, resize: as many as were asked for, which may be none; free: as
                       * the caller says, who asked for so many, or CAL_CALL_UNKNOWN */
    size_t alignment; /* allocation: at least 16; free: as the caller says, or 0 */
};

/* Role slots (exclusive): which slot of a slab is handed out, and what happens to it when it is freed.
 * From the registration on no block has anything of the allocator's inside: free slots are known by
 * bitmaps apart from them. Blocks of before stay what they are, and the role is not told of them.
 *
 * A slab is a range of slots of one size; a block that is too large for one (over 128 KiB with what
 * comes on top of it) has a slab of a single slot. Slot i is `block_size` bytes at `first` +
 * i * `block_size`. The structure is the core's and stays at its place while the slab is open. */
struct cal_slab {
    size_t size;       /* sizeof(struct cal_slab) as the core knows it */
    void *first;       /* the first slot */
    size_t block_size; /* bytes from one slot to the next */
    size_t room;     /* bytes of a slot that are there for the request and what the role adds; less
                         * than block_size while a tool (memcheck, AddressSanitizer) is told of blocks */
    uint32_t *marks; /* what each slot is: cal_slot_mark() */
    void *state;     /* `state_bytes` of the role's own, zeroed when the slab is opened */
    /* Bit i % 64 of word i / 64: slot i is free, and can be handed out next. For open(), where all bits are
     * set, and choose() only. */
    uint64_t *free_slots;
    uint32_t slots; /* 1: a block by itself */
    bool fresh;     /* when the slab was opened its memory read as zeros, untouched */
    bool faulting;  /* for close() to set */
    void *address;  /* the whole range, guard space included; a multiple of 64 KiB */
    size_t length;  /* bytes; a multiple of 64 KiB */
};

/* What a slot is, in one word beside it that threads may read at any time. Bits 0 to 29 of a slot that is live or
 * kept are the role's own, to keep what it has to know of the block: the size that was asked for, say. Of any
 * other they are the core's, and mean nothing to the role but these values. */
#define CAL_MARK_LIVE (UINT32_C(1) << 31) /* the program holds it */
#define CAL_MARK_KEPT \
    (UINT32_C(1) << 30) /* freed, and the role is about to decide on it or keeps it */
#define CAL_MARK_ROLE (CAL_MARK_KEPT - 1) /* the bits of the role */
enum {
    CAL_MARK_NEVER = 0,    /* the slot was never handed out */
    CAL_MARK_WITHHELD = 1, /* and never will be */
    CAL_MARK_FREED = 2,    /* it was, and can be again: with NEVER all that allocated() finds */
};

static inline uint32_t cal_slot_mark(const struct cal_slab *slab, uint32_t slot)
{
    return __atomic_load_n(&slab->marks[slot], __ATOMIC_ACQUIRE);
}

/* Only by the role, of a slot that is in its hands: in allocated(), which leaves it live, and in freeing() and
 * resize(); and of one it keeps. What was written to the block before is seen by whoever sees the mark. */
static inline void cal_slot_set_mark(struct cal_slab *slab, uint32_t slot, uint32_t mark)
{
    __atomic_store_n(&slab->marks[slot], mark, __ATOMIC_RELEASE);
}

/* Space around a block by itself, which the role may protect. */
struct cal_guard {
    /* Bytes at the start of the range, rounded up to the kernel's pages and the block's alignment; none
     * where that is 4 GiB and more. */
    size_t before;
    size_t after; /* and at its end */
    bool at_end; /* the block lies at the end of what is between, as far as its alignment lets it */
};

enum cal_slot_verdict {
    CAL_SLOT_RELEASE = 0, /* the slot is free now */
    CAL_SLOT_KEEP,        /* it is not, until cal_slot_release() */
};

/* `how` of allocated(): these bits, and a kind of call above them. */
#define CAL_SLOT_ZERO       1U
#define CAL_SLOT_ZEROED     2U
#define CAL_SLOT_KIND_SHIFT 2

/* What choose() answers when it has no preference. */
#define CAL_SLOT_ANY UINT32_MAX

enum cal_error {
    CAL_ERROR_INVALID_FREE = 1, /* free of what is not the start of a block */
    CAL_ERROR_DOUBLE_FREE,      /* free of a free slot */
    CAL_ERROR_FREE_OF_KEPT,     /* free of one that was freed and is kept */
    CAL_ERROR_INVALID_POINTER,  /* realloc or usable size of anything that is not a live block */
};

/* All functions may be NULL, but usable() where `extra` is not 0. Those that say so may be called
 * with locks of the allocator held: they must be short, call no function of the core, and not wait for a
 * lock that is held around a call of the core or taken by fork_prepare(). In all others cal_trim(),
 * cal_slot_find(), cal_slot_release(), cal_range_map() and cal_range_unmap() may be called. Functions
 * about different slots of a slab, or different slabs, may run at the same time in different threads. */
struct cal_slots {
    size_t size; /* sizeof(struct cal_slots) */

    /* Bytes of `state` for a slab of so many slots; always the same for the same number. */
    size_t (*state_bytes)(uint32_t slots);

    /* Bytes that a block of a slab needs behind those that are asked for, for a canary for example; up to
     * 4096. A block by itself gets none, unless it is one only because of them. Not to change after the
     * registration. */
    size_t extra;

    /* Guard space for a block by itself. `guard` is all zeros before. May run with locks held. */
    void (*guard)(const struct cal_call *call, struct cal_guard *guard);

    /* A slab is about to be used, and all of its slots are free; its bytes read as zeros or are what
     * earlier blocks left, and must stay so. Slots whose bits are cleared in `free_slots` are never handed
     * out. False: no memory. May run with locks held. */
    bool (*open)(struct cal_slab *slab);

    /* A slab is no longer used. All its memory must be readable and writable again; where the kernel refuses
     * that, `faulting` is to be set, which is false before. Then the range is kept out of use, its memory given
     * back, and close() called again when other slabs are closed, and when memory is short or cal_trim() is
     * called. May run with locks held. */
    void (*close)(struct cal_slab *slab);

    /* 64 random bits, for eight slots; asked for again and again, by each thread for some hundred slots at a
     * time. Where there is this function and no choose(), the slots that are handed out are random ones of
     * `free_slots`: in the same word as the last, or in a random one, or the next that has any, when that is
     * used up; there the next from a random place between the first and the last on. In several threads at a
     * time. May run with locks held. */
    uint64_t (*random)(void);

    /* Which of the slots in `free_slots` is handed out. CAL_SLOT_ANY, or one that is not free: the first.
     * NULL: a random one where there is random(), else the first. There is at least one. Slots that were
     * freed come there only when those at hand are used up, so no block is used again at once, unless it is
     * the only free one. For one slab it never runs in two threads at a time. May run with locks held. */
    uint32_t (*choose)(struct cal_slab *slab);

    /* A slot is handed out for a request of `bytes`, which are the program's once this returns; all other
     * bytes up to `room` are the role's. `how` says how it was made. The mark is what the slot was before,
     * and on return must be CAL_MARK_LIVE with bits of the role's: cal_slot_set_mark(). A slot that is set to
     * CAL_MARK_KEPT before anything else is changed is used no more in a child that another thread forks
     * meanwhile; one that has its old mark is free there. Where CAL_SLOT_ZERO is
     * set the `bytes` must read as zeros on return; with CAL_SLOT_ZEROED they do, as far as the core knows.
     * Returns `block`. NULL: the core does all this, and the bits of the role are 0. */
    void *(*allocated)(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how);

    /* A live block is given back: `bits` of the role's were in its mark, which now is CAL_MARK_KEPT without any.
     * That it is live was checked. With CAL_SLOT_KEEP the role may have set bits of its own beside
     * CAL_MARK_KEPT. Preserves errno. */
    enum cal_slot_verdict (*freeing)(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits, const struct cal_call *call);

    /* Bytes that the program may use of a live block, at least as many as it asked for; NULL: `room`. */
    size_t (*usable)(struct cal_slab *slab, uint32_t slot, const void *block);

    /* May the block serve `bytes` where it is? They fit into `room` with `extra`. True: it
     * does from now on. NULL: never, so every realloc moves. */
    bool (*resize)(struct cal_slab *slab, uint32_t slot, void *block, const struct cal_call *call);

    /* The core has found an error of the program. True: ignore it, as if the call had not been made
     * (realloc then returns NULL, a usable size is 0). False or NULL: the process ends with a line.
     * Errors in blocks of before the registration, or of an owner, are reported too where they can
     * be ignored. */
    bool (*error)(enum cal_error error, const void *address);

    /* A block by itself was given back, and another one is to have its range: `first`, `block_size` and `room` are
     * those of the new one, and guard space has to be where guard() says; what the memory holds is what the last
     * one left, and the mark is CAL_MARK_NEVER. False: it cannot be, and the slab is closed. NULL: slabs of such blocks are closed each time. May run
     * with locks held. */
    bool (*reopen)(struct cal_slab *slab);

    /* 64 bits that nobody can foresee, asked for once, at the registration. With these the core encodes the
     * links between its own records, if the table was bound before the first allocation; what a damaged one
     * leads to is mostly no address then, and the process ends: "corrupted metadata". NULL: links are
     * addresses. */
    uint64_t (*secret)(void);

    /* Makes whole pages of the kernel's, which hold records of the core or lie around them, fault at each
     * access or, with `readable`, at each write, for as long as the process lives; what is in unreadable ones is
     * not needed. False: it cannot, and nothing has changed. May run with locks held. NULL: no pages are
     * protected, nor set aside for it. */
    bool (*protect)(void *address, size_t length, bool readable);

    /* 64 random bits, for where things lie: the first segment of the heap, if nothing was mapped before, the
     * order of the next ones, and the place of each slab of many slots among free ones. May run with locks
     * held. NULL: the kernel says where the first is, and one follows the other. */
    uint64_t (*place)(void);
};

/* Role owner (several at a time, asked in the order of their registration): serves requests from memory
 * of its own, and owns address ranges, so that free, realloc and usable size of any pointer into one
 * go to it. The functions run in the thread that allocates, without locks of the allocator held unless
 * they say so, and may map and unmap ranges.
 *
 * An owner that does not claim anything of malloc's, because it has an interface of its own, need not be
 * registered, and then costs nothing. */
struct cal_range_counts {
    size_t size;            /* sizeof(struct cal_range_counts) as the core knows it */
    size_t live;            /* blocks that the program holds */
    size_t live_bytes;      /* their usable bytes */
    size_t allocations;     /* blocks ever handed out */
    size_t allocated_bytes; /* their bytes */
};

/* What an owner's usable() answers of a live block that has no byte. */
#define CAL_RANGE_EMPTY SIZE_MAX

struct cal_owner {
    size_t size; /* sizeof(struct cal_owner) */

    /* A block of a range for this request (`bytes`, `alignment`, `zero`), or NULL to leave it to the
     * next owner or the core. Asked at each allocation of up to `claims` bytes. NULL: the owner claims
     * nothing. */
    void *(*claim)(const struct cal_call *call);

    /* Ends the life of a block; false when `block` is not one, which is then the program's error.
     * Not NULL. `state` is what the range was mapped with. */
    bool (*deallocate)(void *state, void *block, const struct cal_call *call);

    /* Bytes that may be used of a block, or CAL_RANGE_EMPTY; 0 when `block` is not one. Not NULL. */
    size_t (*usable)(void *state, const void *block);

    /* Resizes a block where it is; false, and nothing changed, when that is not possible. May be
     * NULL. */
    bool (*resize)(void *state, void *block, size_t bytes);

    /* For the statistics: fills in `counts`, which is zeroed. Runs with locks held, so it must not
     * wait for a lock that is held around a call of the core or taken by fork_prepare(). May be NULL:
     * nothing is counted. */
    void (*count)(void *state, struct cal_range_counts *counts);

    /* For cal_walk_blocks(): calls `visit` for each live block until that returns false, and returns
     * what it returned last, or true. As count(). May be NULL. */
    bool (*walk)(void *state, bool (*visit)(void *block, size_t usable, void *argument),
                 void *argument);

    /* The largest request in bytes that claim() is asked for; those for more are spared the question.
     * 0: any. Not to change while the owner is registered. */
    size_t claims;
};

struct cal_hooks {
    size_t size;                   /* sizeof(struct cal_hooks) */
    uint32_t version;              /* CAL_HOOKS_VERSION */
    const char *name;              /* "secure", for messages; not NULL */
    const char *component_version; /* "1.0.0"; not NULL */
    const struct cal_source *source;
    const struct cal_slots *slots;
    const struct cal_owner *owner;
    const struct cal_observer *observer;
    const struct cal_lifecycle *lifecycle;

    /* For an item "NAME.option=value" of CALLOC_OPTIONS that begins with `name` of this table and a dot:
     * `item` starts after the dot and is not ended by '\0'. Called before any other function of the
     * table, each time it is registered, once for each item, in their order; never in a process that runs
     * with more rights than its user. What the add-on cannot use it says itself. The core says a line, at
     * the first allocation, of items whose name is not that of a table of this family with this function. */
    void (*option)(const char *item, size_t length);

    /* Called when the table is registered, after the options and before the roles are looked at, which may
     * be filled in here. Not called for a table that is registered already. 0; or a negative errno, and
     * the table is not registered: -ECANCELED without a word, anything else with a line. Neither this nor
     * option() may register or take out a table. */
    int (*start)(void);
};

/* Registers a table. Its observer sees everything from the first allocation of the process if the
 * dynamic linker bound it, from this call on what the calling thread and later threads do, and what
 * another running thread does once it has used up the free blocks it holds at hand.
 * 0; -EINVAL: the table is malformed, of another version, or asks for a role the core does not
 * know; -EEXIST: it is registered already; -EBUSY: another add-on has the exclusive role;
 * -ENOSPC: eight are registered; or what its start() answered. A refusal of a table that has a name prints
 * one line with that name and, where there is one, the name of the add-on in the way; -EEXIST and the
 * -ECANCELED of start() print none. Thread-safe; not to be called from a hook. */
int cal_hooks_register(const struct cal_hooks *hooks);

/* Takes a table out again. 0; -ENOENT: it is not registered; -EBUSY: it plays the role source or
 * slots, whose memory is in use. Ranges of an owner stay its own. A call that is under way in another thread may still end after this
 * returned, so the functions must stay valid. Thread-safe. */
int cal_hooks_unregister(const struct cal_hooks *hooks);

/* The source that uses the kernel directly, for sources that wrap it. Never NULL. */
const struct cal_source *cal_source_system(void);

/* For the role slots, from any thread and from those of its functions that may. */

/* The slab of the block that is live or kept and that `address` lies in, at its start or anywhere up to
 * the next slot, and the number of its slot; NULL for any other address, guard space among them, and then
 * `*slot` says nothing. `slot` may be NULL. */
struct cal_slab *cal_slot_find(const void *address, uint32_t *slot);

/* Lets go of a slot that freeing() kept. 0, or -EINVAL when it is not kept. */
int cal_slot_release(void *block);

/* Takes a free slot out of a slab as if it had been freed and kept. Only in choose(), for the slab that
 * it was called with. 0, or -EINVAL when the slot is not free. */
int cal_slot_hold(struct cal_slab *slab, uint32_t slot);

/* For the role owner. Maps `length` bytes (rounded up to 64 KiB) of zeroed memory whose address is a
 * multiple of `alignment` (a power of two; at least 64 KiB in any case): from then on pointers into it
 * are `owner`'s, and its functions are called with `state`. NULL when out of memory or when a function
 * that must be there is missing. Memory that is never touched costs nothing. Thread-safe. */
void *cal_range_map(const struct cal_owner *owner, size_t length, size_t alignment, void *state);

/* Gives back a range that cal_range_map() returned. All of it must be readable and writable. 0, or
 * -EINVAL when `address` is not the start of a range of `owner`. Thread-safe. */
int cal_range_unmap(const struct cal_owner *owner, void *address);

/* Introspection: what the heap consists of. */
enum cal_region_kind {
    CAL_REGION_SLAB = 1, /* blocks of one size */
    CAL_REGION_RUN,      /* one large block inside a segment */
    CAL_REGION_MAPPING,  /* one block of more than 4 MiB */
    CAL_REGION_FREE,     /* free memory */
    CAL_REGION_RANGE,    /* an owner's range */
};

struct cal_region {
    size_t size; /* sizeof(struct cal_region) as the core knows it */
    enum cal_region_kind kind;
    void *address;
    size_t length;     /* bytes */
    size_t block_size; /* SLAB: bytes of one block; RUN, MAPPING: usable bytes; FREE, RANGE: 0 */
    size_t blocks;     /* blocks that were ever cut from it; RANGE: ever handed out */
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

/* For the role slots: calls `visit` for each open slab, those of a single block too, under the same
 * conditions. Slots may be handed out and freed meanwhile by other threads. False only when `visit` was. */
bool cal_walk_slabs(bool (*visit)(struct cal_slab *slab, void *argument), void *argument);

#ifdef __cplusplus
}
#endif

#endif
