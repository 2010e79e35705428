/* Canaries: bytes behind what the program asked for, which it has no reason to write.
 *
 * They start at the byte after the requested size and go to the end of the block. Byte I of the slack
 * is byte I % 8 of one word that depends on the address of the block and on a key.
 *
 * The word is the upper half of MULTIPLIER * address + ADDEND modulo 2^128 (multiply-shift after
 * Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer arithmetic
 * without primes", 1996): one multiplication, and pairwise independent. Whoever has seen no canary or
 * one of a key knows nothing of any other. From several, the key can be computed: this is no message
 * authentication code. Use a key for each slab, so that what was read in one does not help in
 * another. Of the word two bytes are then changed:
 *
 *   byte 0 is never zero. The commonest overflow of all is the zero that ends a string one byte too
 *          far; with a canary that starts with zero, as other allocators have it, it is never seen.
 *   byte 1 is always zero. A string that is read beyond the end of its block stops here, so that it
 *          gives away one byte of the canary and no more.
 *
 * What remains: log2(255) + 48, almost 56 bits; of N bytes of slack 8 bits for N = 1 and 2, 8 * (N - 1)
 * up to 8.
 *
 * The cost is bounded: up to 16 bytes two words are stored or compared; of longer slack the first
 * BOUND bytes (at least 8) and the last 16, which are what an overflow that goes up and one that
 * comes down from the next block have to cross. With a BOUND of SIZE_MAX it is all of the slack. */
#ifndef CAL_CANARY_H
#define CAL_CANARY_H

#include <string.h>

#include "base.h"
#include "random.h"

enum { CAL_CANARY_WORD = 8, CAL_CANARY_END = 16 };

struct cal__canary_key {
    uint64_t multiplier[2]; /* lower half first */
    uint64_t addend[2];
};

_Static_assert(sizeof(struct cal__canary_key) == 32, "fits half a cache line");

void cal__canary_make_key(struct cal__canary_key *key, struct cal__random *random);

CAL_INLINE uint64_t cal__canary_word(const struct cal__canary_key *key, const void *block)
{
    uint64_t address = (uintptr_t)block;
    unsigned __int128 sum = (unsigned __int128)address * key->multiplier[0] +
                            ((unsigned __int128)key->addend[1] << 64 | key->addend[0]);
    uint64_t word = (uint64_t)(sum >> 64) + address * key->multiplier[1];
    /* Byte 1 is cleared; byte 0 of 0 becomes 1. */
    word &= ~UINT64_C(0xff00);
    return word + ((word & 0xff) == 0);
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

/* A block of CAPACITY bytes, at least 8, of which the program asked for REQUESTED, at most CAPACITY.
 * Without slack there is nothing to write, and nothing that could be wrong. BLOCK may have any
 * alignment. Nobody may use the block meanwhile: up to 7 bytes before the slack are read and written
 * back unchanged. Thread-safe for different blocks; no system calls, no locks. */
CAL_INLINE void cal__canary_write(const struct cal__canary_key *key, void *block, size_t requested,
                                  size_t capacity, size_t bound)
{
    unsigned char *slack = (unsigned char *)block + requested;
    size_t length = capacity - requested;
    uint64_t word = cal__canary_word(key, block);
    if (CAL_UNLIKELY(length > 2 * CAL_CANARY_WORD)) {
        cal__canary_write_long(word, slack, length, bound);
        return;
    }
    unsigned char *last = slack + length - CAL_CANARY_WORD;
    if (length >= CAL_CANARY_WORD) {
        cal__canary_store(slack, word);
        cal__canary_store(last, cal__canary_turn(word, length));
    } else if (length != 0) {
        unsigned kept = 8 * (unsigned)(CAL_CANARY_WORD - length);
        uint64_t before;
        memcpy(&before, last, sizeof before);
        cal__canary_store(last, word << kept | (before & ((UINT64_C(1) << kept) - 1)));
    }
}

/* Whether the canary that was written with the same arguments is still there. Only reads, up to 7
 * bytes before the slack, too. */
CAL_INLINE bool cal__canary_verify(const struct cal__canary_key *key, const void *block,
                                   size_t requested, size_t capacity, size_t bound)
{
    const unsigned char *slack = (const unsigned char *)block + requested;
    size_t length = capacity - requested;
    uint64_t word = cal__canary_word(key, block);
    if (CAL_UNLIKELY(length > 2 * CAL_CANARY_WORD))
        return cal__canary_verify_long(word, slack, length, bound);
    if (CAL_UNLIKELY(length == 0))
        return true;
    uint64_t end;
    memcpy(&end, slack + length - CAL_CANARY_WORD, sizeof end);
    if (length < CAL_CANARY_WORD)
        return (end ^ word << 8 * (CAL_CANARY_WORD - length)) >> 8 * (CAL_CANARY_WORD - length) ==
               0;
    uint64_t start;
    memcpy(&start, slack, sizeof start);
    return ((start ^ word) | (end ^ cal__canary_turn(word, length))) == 0;
}

/* For a report: the first byte of the block that is not what it should be, as an offset from its
 * start; CAPACITY if there is none. */
size_t cal__canary_damage(const struct cal__canary_key *key, const void *block, size_t requested,
                          size_t capacity, size_t bound);

/* The requested size is kept beside the slots of a slab, as the length of the slack, in as many bytes
 * as that takes for blocks of CAPACITY bytes: 1, 2 or 4. It is exact for every request of 0 to
 * CAPACITY bytes, and a slot of 16 bytes costs a sixteenth more, one of 256 a 128th. CAPACITY is at
 * most 2^32 - 1. */
CAL_INLINE unsigned cal__slack_width(size_t capacity)
{
    return capacity <= UINT8_MAX ? 1 : capacity <= UINT16_MAX ? 2 : 4;
}

/* TABLE has cal__slack_width(CAPACITY) bytes for each slot, without alignment. */
CAL_INLINE void cal__slack_set(void *table, size_t slot, size_t capacity, size_t requested)
{
    uint32_t slack = (uint32_t)(capacity - requested);
    if (CAL_LIKELY(capacity <= UINT8_MAX))
        ((uint8_t *)table)[slot] = (uint8_t)slack;
    else
        memcpy((unsigned char *)table + slot * cal__slack_width(capacity), &slack,
               cal__slack_width(capacity));
}

/* What was set; more than CAPACITY never, whatever the table was made to hold: a table that was
 * overwritten gives SIZE_MAX where it makes no sense. */
CAL_INLINE size_t cal__slack_requested(const void *table, size_t slot, size_t capacity)
{
    uint32_t slack = 0;
    if (CAL_LIKELY(capacity <= UINT8_MAX))
        slack = ((const uint8_t *)table)[slot];
    else
        memcpy(&slack, (const unsigned char *)table + slot * cal__slack_width(capacity),
               cal__slack_width(capacity));
    return CAL_LIKELY(slack <= capacity) ? capacity - slack : SIZE_MAX;
}

#endif
