/* Links between the records of the allocator, and the page that has what they are encoded with.
 *
 * In a process that an add-on hardens a link is an address times a secret odd number modulo 2^64, and is
 * multiplied with the inverse of that to be followed. What somebody wrote there who does not know the
 * secret gives an address that no user space has, but for one of 2^17 tries: each bit that is changed
 * changes all above it. NULL is zero with any number. Without an add-on that gives a secret the
 * number is 1, and a link is the address.
 *
 * What a link leads to is looked at too where that costs nothing that is counted: lists have two
 * directions, and what somebody else links names that again. A record that does not say what it has
 * to ends the process: "corrupted metadata".
 *
 * The numbers, and the functions of the role slots, which must not be written either, have a kernel page
 * of their own, which is read-only from the registration on. What they give to the lower layers, guard pages and
 * random places, is asked for here too. */
#ifndef CAL_LINK_H
#define CAL_LINK_H

#include <calloc/hooks.h>
#include <stdatomic.h>

#include "base.h"

/* Some words are read as plain ones: compilers do not fold an atomic load into the
 * instruction that uses it. Aligned words are read whole on all machines we know; the race
 * detector gets the atomic load that C asks for. */
#if defined(__has_feature)
#    define CAL_CLANG_TSAN __has_feature(thread_sanitizer)
#else
#    define CAL_CLANG_TSAN 0
#endif
#if defined(__SANITIZE_THREAD__) || CAL_CLANG_TSAN
#    define CAL_PLAIN_LOAD(object) atomic_load_explicit(&(object), memory_order_relaxed)
#else
#    define CAL_PLAIN_LOAD(object) (*(const uint64_t *)(const void *)&(object))
#endif

#define CAL_SEALED_BYTES ((size_t)4096)

union cal__sealed_page {
    struct cal__sealed_values {
        struct cal_slots slots; /* the role's functions; all NULL while nobody plays it */
        _Atomic bool playing;
        /* Odd. 0 while nobody plays the role, as 1. */
        _Atomic uint64_t decode;
        _Atomic uint64_t encode; /* its inverse */
        uint64_t last;           /* the last address that user space may have */
    } value;
    char bytes[CAL_SEALED_BYTES];
};
extern union cal__sealed_page cal__sealed_page __attribute__((visibility("hidden")));

#define cal__sealed (cal__sealed_page.value)

_Static_assert(sizeof(union cal__sealed_page) == CAL_SEALED_BYTES, "a page");

/* All zeros is NULL. */
struct cal__link {
    uint64_t word;
};

/* From now on links are encoded with SECRET, and FUNCTIONS is the role slots', of which only so much is read
 * as its size says. EARLY: there are no links yet; else they stay as they are, whatever the secret. For ever,
 * and the page is sealed. */
void cal__link_start(const struct cal_slots *role, bool early);

/* Whether there is somebody who makes guard pages around records, so that there has to be room for them. */
bool cal__link_guards(void);
/* Has a page of the kernel's made a guard, if one may be had. */
void cal__link_guard(void *page);
/* Has it made read-only. */
void cal__link_seal(void *page);

/* Whether places are to be chosen by chance. */
bool cal__link_scatters(void);
/* 0 to LIMIT - 1, by chance; 0 where places are not. */
uint64_t cal__link_place(uint64_t limit);

/* A record is not what it has to be. */
_Noreturn CAL_COLD void cal__link_broken(const void *record);

CAL_INLINE uint64_t cal__link_encoded(const void *address)
{
    return (uintptr_t)address * (CAL_PLAIN_LOAD(cal__sealed.encode) | 1);
}

/* Of any word at all. */
CAL_INLINE uint64_t cal__link_decoded(uint64_t word)
{
    return word * (CAL_PLAIN_LOAD(cal__sealed.decode) | 1);
}

/* What the link WORD in RECORD leads to. */
void *cal__link_follow(uint64_t word, const void *record);

CAL_INLINE void *cal__link_get(const struct cal__link *link)
{
    return cal__link_follow(link->word, link);
}

CAL_INLINE void cal__link_set(struct cal__link *link, const void *address)
{
    link->word = cal__link_encoded(address);
}

/* The same for links that other threads read. */
CAL_INLINE void *cal__link_load(const _Atomic uint64_t *link, memory_order order)
{
    return cal__link_follow(atomic_load_explicit(link, order), (const void *)link);
}

CAL_INLINE void cal__link_store(_Atomic uint64_t *link, const void *address, memory_order order)
{
    atomic_store_explicit(link, cal__link_encoded(address), order);
}

/* Where a record is not sealed but must not change: a sum over words of it, of which any one that is changed
 * changes it. Begin with the address of the record. */
CAL_INLINE uint64_t cal__link_sum(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * (CAL_PLAIN_LOAD(cal__sealed.encode) | 1);
    return sum << 29 | sum >> 35;
}

#endif
