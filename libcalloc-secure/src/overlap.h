/* What short blocks hold: canaries and zeros, by vectors of 32 bytes that overlap, of two halves where the processor
 * has none so long. For whoever includes it, compiled for the processor that the compiler is told of.
 *
 * Where sizes are random the processor guesses each loop wrong, and each choice between lengths, and for the time that
 * costs it does twenty of these instructions. So there are hardly any of both. */
#ifndef CAL_OVERLAP_H
#define CAL_OVERLAP_H

#include "canary.h"
#include "vector.h"

typedef uint64_t wide __attribute__((vector_size(32), may_alias, aligned(16)));
typedef uint64_t anywhere __attribute__((vector_size(32), may_alias, aligned(1)));
typedef uint64_t narrow __attribute__((vector_size(16), may_alias));
#define WIDE(address)     (*(wide *)(void *)(address))
#define ANYWHERE(address) (*(anywhere *)(void *)(address))
#define NARROW(address)   (*(narrow *)(void *)(address))
enum { VECTOR = sizeof(wide) };

/* Where the second of four vectors begins that are all of SIZE bytes, up to 128; the third ends as far from the end. */
CAL_INLINE size_t second_of(size_t size)
{
    return size < 2 * VECTOR ? size - VECTOR : VECTOR;
}

/* Whether the SIZE bytes, a multiple of 16 from 16 on, are zeros. */
CAL_INLINE bool cal__overlap_are_zeros(void *memory, size_t size)
{
    char *start = memory, *end = start + size;
    if (CAL_UNLIKELY(size < VECTOR)) {
        narrow sum = NARROW(start);
        return (sum[0] | sum[1]) == 0;
    }
    size_t second = second_of(size);
    wide one = WIDE(start) | WIDE(start + second);
    wide other = WIDE(end - VECTOR) | WIDE(end - VECTOR - second);
    if (size > 4 * VECTOR) {
        one |= WIDE(start + 2 * VECTOR) | WIDE(start + 3 * VECTOR);
        other |= WIDE(end - 4 * VECTOR) | WIDE(end - 3 * VECTOR);
        for (char *next = start + 4 * VECTOR; next < end - 4 * VECTOR; next += 2 * VECTOR) {
            one |= WIDE(next);
            other |= WIDE(next + VECTOR);
        }
    }
    return is_zero_wide(one | other);
}

/* Makes them zeros. */
CAL_INLINE void cal__overlap_clear(void *memory, size_t size)
{
    char *start = memory, *end = start + size;
    if (CAL_UNLIKELY(size < VECTOR)) {
        NARROW(start) = (narrow){0};
        return;
    }
    const wide zero = {0};
    size_t second = second_of(size);
    WIDE(start) = WIDE(start + second) = zero;
    WIDE(end - VECTOR) = WIDE(end - VECTOR - second) = zero;
    if (size > 4 * VECTOR) {
        WIDE(start + 2 * VECTOR) = WIDE(start + 3 * VECTOR) = zero;
        WIDE(end - 4 * VECTOR) = WIDE(end - 3 * VECTOR) = zero;
        for (char *next = start + 4 * VECTOR; next < end - 4 * VECTOR; next += 4 * VECTOR) {
            WIDE(next) = WIDE(next + VECTOR) = zero;
            WIDE(next + 2 * VECTOR) = WIDE(next + 3 * VECTOR) = zero;
        }
    }
}

/* The slack of a block of 32 bytes or more, at its first and its last 32. Two vectors are stored or compared. Where the
 * slack is shorter they are one and the same, and begin before it. */
struct slack {
    char *first, *last;
    size_t covered; /* bytes of the first that belong to the slack: its last ones */
    size_t turned;  /* by so many bytes more the word is turned in the last */
};

CAL_INLINE struct slack slack_of(char *end, size_t length)
{
    size_t covered = length < VECTOR ? length : VECTOR;
    size_t over = length - covered;
    return (struct slack){.first = end - VECTOR - over,
                          .last = end - VECTOR,
                          .covered = covered,
                          .turned = over % CAL_CANARY_WORD};
}

#define EIGHT(first) \
    first, first + 1, first + 2, first + 3, first + 4, first + 5, first + 6, first + 7
#define SPREAD(word) ((wide){0} + (word))

/* in_slack(): BITS, but zeros before the slack. canary_at(): the canary WORD in a vector that has COVERED bytes of slack,
 * or all and is TURNED bytes further; zeros before the slack. */
#ifdef __AVX2__
typedef char characters __attribute__((vector_size(32)));

/* Which bytes of the word are where; those before the slack are none, which makes them zeros. */
CAL_INLINE characters places_from(size_t at)
{
    enum { NONE = -128 };
    static const _Alignas(64) signed char places[VECTOR + CAL_CANARY_WORD + VECTOR] = {
        [0 ... VECTOR - 1] = NONE, EIGHT(0), EIGHT(0), EIGHT(0), EIGHT(0), EIGHT(0)};
    return (characters)ANYWHERE(places + at);
}

CAL_INLINE wide in_slack(wide bits, size_t covered)
{
    return (wide)__builtin_ia32_pblendvb256((characters)bits, (characters){0},
                                            places_from(covered));
}

CAL_INLINE wide canary_at(uint64_t word, size_t covered, size_t turned)
{
    return (wide)__builtin_ia32_pshufb256((characters)SPREAD(word), places_from(covered + turned));
}
#else
CAL_INLINE wide in_slack(wide bits, size_t covered)
{
    static const _Alignas(64) unsigned char masks[2 * VECTOR] = {[VECTOR... 2 * VECTOR - 1] = 0xff};
    return bits & ANYWHERE(masks + covered);
}

CAL_INLINE wide canary_at(uint64_t word, size_t covered, size_t turned)
{
    return in_slack(SPREAD(cal__canary_turn(word, covered + turned)), covered);
}
#endif

/* The canary WORD in a slack of LENGTH bytes, at least 8, of a block of ROOM that nobody uses yet: bytes before the
 * slack may become zeros. */
CAL_INLINE void cal__overlap_write(uint64_t word, char *block, size_t room, size_t length)
{
    if (CAL_UNLIKELY(room < VECTOR)) {
        cal__canary_write_short(word, block + room - length, length);
        return;
    }
    struct slack slack = slack_of(block + room, length);
    ANYWHERE(slack.first) = canary_at(word, slack.covered, 0);
    WIDE(slack.last) = canary_at(word, slack.covered, slack.turned);
}

CAL_INLINE bool cal__overlap_verify(uint64_t word, char *block, size_t room, size_t length)
{
    if (CAL_UNLIKELY(room < VECTOR))
        return cal__canary_verify_short(word, block + room - length, length);
    struct slack slack = slack_of(block + room, length);
    wide first = ANYWHERE(slack.first) ^ canary_at(word, slack.covered, 0);
    wide last = WIDE(slack.last) ^ canary_at(word, slack.covered, slack.turned);
    return is_zero_wide(in_slack(first | last, slack.covered));
}

#endif
