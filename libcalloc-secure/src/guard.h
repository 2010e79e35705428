/* Guard pages: address space that faults when it is touched.
 *
 * Marked: MADV_GUARD_INSTALL (Linux 6.13) marks pages of a mapping, which stays one mapping. There may
 * be any number.
 * Protected: mprotect(PROT_NONE) works everywhere, but cuts the mapping into three, and a process may
 * have only so many (vm.max_map_count, 65,530 by default): at the limit every mmap fails, also that of
 * the program. So each protected guard counts as two mappings, and no more are made than a part of the
 * limit allows.
 *
 * Sandboxes that a process enters later may kill on an advice they do not know, as that of OpenSSH
 * since 9.3 does, but let mprotect pass. So the first guards of a process, which may be all that a
 * small one ever has, are protected ones, if it is told so; until sixteen times as many have been made, of
 * which most are gone.
 *
 * Memory with guards must be private and anonymous. Both kinds survive fork, and, with MADV_DONTNEED
 * and MADV_FREE over the range, stay; mmap over the range with MAP_FIXED takes marks away. */
#ifndef CAL_GUARD_H
#define CAL_GUARD_H

#include "base.h"

enum cal__guard {
    CAL_GUARD_NONE,
    CAL_GUARD_MARKED,
    CAL_GUARD_PROTECTED,
};

struct cal__guard_limits {
    bool protect_only;      /* as if the kernel had no MADV_GUARD_INSTALL */
    unsigned protect_first; /* so many guards are protected before any is marked */
    unsigned percent;       /* of vm.max_map_count for protected guards, 0 to 100 */
    void *unused;           /* memory that nobody uses and that begins with a page, or NULL */
    size_t unused_length;
};

/* Looks what the kernel has, once: marks the first page of UNUSED for a moment, or one that it maps, where
 * that is shorter than a page; and where nothing can be marked reads /proc/sys/vm/max_map_count. 65,530 is
 * assumed where that cannot be read, and where guards are marked and few are protected. Before the process has
 * threads and guards. Without it no guard is made. Preserves errno. */
void cal__guard_start(const struct cal__guard_limits *limits);

/* Makes the range fault. ADDRESS and LENGTH, not 0, are multiples of the kernel's page size. What was in
 * it is lost, and its memory given back. Returns how, which cal__guard_remove() has to be told, or
 * CAL_GUARD_NONE: refused, because the budget is used up or the kernel would not; the range can be used
 * as before, but what was in it may be lost. Thread-safe, lock-free. Preserves errno. One or two system
 * calls. */
enum cal__guard cal__guard_install(void *address, size_t length);

/* Makes the range readable and writable again; it must have been installed as GUARD in one call.
 * CAL_GUARD_NONE does nothing. True; false: some of it still faults, and it counts. Guards beside each other are
 * one mapping to the kernel, of which a part can be opened only while the process may have more mappings: so
 * that has to be reckoned with, and may work later. What is in it is unspecified. Not needed before munmap: see
 * cal__guard_forget(). Thread-safe. Preserves errno. */
bool cal__guard_remove(void *address, size_t length, enum cal__guard guard);

/* A guard's address space was unmapped: the budget has it back. No system call. */
void cal__guard_forget(enum cal__guard guard);

/* For ranges that are guards as a whole, and of which parts are used for a time. */

/* What cal__guard_install() would make now: CAL_GUARD_NONE when the budget is used up. No system call. */
enum cal__guard cal__guard_next(void);

/* Whether the kernel can mark, and may. */
bool cal__guard_can_mark(void);

/* As cal__guard_install(), but in this way or not at all. */
bool cal__guard_install_as(void *address, size_t length, enum cal__guard guard);

/* Counts one guard more, for a part that will be opened and so cuts a guard in two. False: the budget does
 * not allow it. It is not to be taken back when the part is shut again, because the kernel does not always
 * make one mapping of what was cut; cal__guard_forget() does. No system call. */
bool cal__guard_charge(enum cal__guard guard);

/* Makes a part of a guard readable and writable, whose bytes are zeros; it may be so already. False: the
 * kernel refuses. Preserves errno. */
bool cal__guard_open(void *address, size_t length, enum cal__guard guard);

/* Makes such a part fault again, and gives its memory back. False: the kernel refuses, because it is
 * locked, and nothing has changed. Preserves errno. */
bool cal__guard_shut(void *address, size_t length, enum cal__guard guard);

struct cal__guard_counts {
    bool can_mark;
    size_t marked;    /* guards there are now */
    size_t protected; /* the same */
    size_t budget;    /* protected ones there may be */
    size_t refused;   /* so far */
};

/* Exact when no other thread installs or removes. */
struct cal__guard_counts cal__guard_counts(void);

#endif
