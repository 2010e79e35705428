/* Canaries: bytes behind what the program asked for, which it has no reason to write.
 *
 * They start at the byte after the requested size and go to the end of the block. Byte I of the slack
 * is byte I % 8 of one word that depends on the number of the block and on a key.
 *
 * The word is MULTIPLIER * number + ADDEND modulo 2^64, where the number tells the blocks of a key apart
 * (multiply-shift after Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer
 * arithmetic without primes", 1996): one multiplication, and for numbers below 2^15 the upper 48 bits are
 * pairwise independent. Whoever has seen no canary or one of a key knows nothing of those bits of any other. From
 * several, the key can be computed: this is no message authentication code. Use a key for each slab, so that what
 * was read in one does not help in another. Two bytes are then changed:
 *
 *   byte 0 always has its uppermost bit. The commonest overflow of all is the zero that ends a string one
 *          byte too far, and the next are the letters of one that is longer; with a canary that starts with
 *          zero, as other allocators have it, the first is never seen.
 *   byte 1 is always zero. A string that is read beyond the end of its block stops here, so that it
 *          gives away one byte of the canary and no more.
 *
 * What remains: 7 + 48 bits; of N bytes of slack 7 bits for N = 1 and 2, 7 + 8 * (N - 2) up to 8.
 *
 * The cost is bounded: up to 16 bytes two words are stored or compared; of longer slack the first
 * BOUND bytes (at least 8) and the last 32, which are what an overflow that goes up and one that
 * comes down from the next block have to cross. With a BOUND of SIZE_MAX it is all of the slack. */
#ifndef CAL_CANARY_H
#define CAL_CANARY_H

#include <string.h>

#include "base.h"
#include "random.h"

enum { CAL_CANARY_WORD = 8, CAL_CANARY_END = 32 };

struct cal__canary_key {
    uint64_t multiplier;
    uint64_t addend;
};

_Static_assert(sizeof(struct cal__canary_key) == 16, "nothing between, and all of it random");

void cal__canary_make_key(struct cal__canary_key *key, struct cal__random *random);

/* What it is before the two bytes are changed: that of the next number is MULTIPLIER more. */
CAL_INLINE uint64_t cal__canary_sum(const struct cal__canary_key *key, uint64_t number)
{
    return key->multiplier * number + key->addend;
}

CAL_INLINE uint64_t cal__canary_of_sum(uint64_t sum)
{
    return (sum & ~UINT64_C(0xff00)) | 0x80;
}

CAL_INLINE uint64_t cal__canary_word(const struct cal__canary_key *key, uint64_t number)
{
    return cal__canary_of_sum(cal__canary_sum(key, number));
}

/* For slack of more than 16 bytes. */
void cal__canary_write_long(uint64_t word, unsigned char *slack, size_t length, size_t bound);
bool cal__canary_verify_long(uint64_t word, const unsigned char *slack, size_t length,
                             size_t bound);

/* The bytes of WORD at position POSITION of the slack and those after it. */
CAL_INLINE uint64_t cal__canary_turn(uint64_t word, size_t position)
{
    unsigned bits = 8 * (unsigned)(position % CAL_CANARY_WORD);
    return word >> bits | word << ((64 - bits) % 64);
}

CAL_INLINE void cal__canary_store(unsigned char *bytes, uint64_t word)
{
    memcpy(bytes, &word, sizeof word);
}

/* A slack of 8 to 16 bytes: two words that overlap. */
CAL_INLINE void cal__canary_write_short(uint64_t word, void *slack, size_t length)
{
    unsigned char *first = slack;
    cal__canary_store(first, word);
    cal__canary_store(first + length - CAL_CANARY_WORD, cal__canary_turn(word, length));
}

CAL_INLINE bool cal__canary_verify_short(uint64_t word, const void *slack, size_t length)
{
    const unsigned char *first = slack;
    uint64_t start, end;
    memcpy(&start, first, sizeof start);
    memcpy(&end, first + length - CAL_CANARY_WORD, sizeof end);
    return ((start ^ word) | (end ^ cal__canary_turn(word, length))) == 0;
}

/* WORD in the slack of a block of CAPACITY bytes, at least 8, of which the program asked for REQUESTED, at most
 * CAPACITY. Without slack there is nothing to write, and nothing that could be wrong. BLOCK may have any
 * alignment. Nobody may use the block meanwhile: up to 7 bytes before the slack are read and written
 * back unchanged. Thread-safe for different blocks; no system calls, no locks. */
CAL_INLINE void cal__canary_write(uint64_t word, void *block, size_t requested, size_t capacity,
                                  size_t bound)
{
    unsigned char *slack = (unsigned char *)block + requested;
    size_t length = capacity - requested;
    if (CAL_UNLIKELY(length > 2 * CAL_CANARY_WORD)) {
        cal__canary_write_long(word, slack, length, bound);
    } else if (CAL_LIKELY(length >= CAL_CANARY_WORD)) {
        cal__canary_write_short(word, slack, length);
    } else if (length != 0) {
        unsigned char *last = slack + length - CAL_CANARY_WORD;
        unsigned kept = 8 * (unsigned)(CAL_CANARY_WORD - length);
        uint64_t before;
        memcpy(&before, last, sizeof before);
        cal__canary_store(last, word << kept | (before & ((UINT64_C(1) << kept) - 1)));
    }
}

/* Whether the canary that was written with the same arguments is still there. Only reads, up to 7
 * bytes before the slack, too. */
CAL_INLINE bool cal__canary_verify(uint64_t word, const void *block, size_t requested,
                                   size_t capacity, size_t bound)
{
    const unsigned char *slack = (const unsigned char *)block + requested;
    size_t length = capacity - requested;
    if (CAL_UNLIKELY(length > 2 * CAL_CANARY_WORD))
        return cal__canary_verify_long(word, slack, length, bound);
    if (CAL_LIKELY(length >= CAL_CANARY_WORD))
        return cal__canary_verify_short(word, slack, length);
    if (length == 0)
        return true;
    uint64_t end;
    memcpy(&end, slack + length - CAL_CANARY_WORD, sizeof end);
    unsigned kept = 8 * (unsigned)(CAL_CANARY_WORD - length);
    return (end ^ word << kept) >> kept == 0;
}

/* For a report: the first byte of the block that is not what it should be, as an offset from its
 * start; CAPACITY if there is none. */
size_t cal__canary_damage(uint64_t word, const void *block, size_t requested, size_t capacity,
                          size_t bound);

#endif
