#include "canary.h"

void cal__canary_make_key(struct cal__canary_key *key, struct cal__random *random)
{
    cal__random_bytes(random, key, sizeof *key);
    /* So that all values of each byte come up. */
    key->multiplier |= 1;
}

/* How much of the slack is covered from its start; a multiple of 8 unless it is all. */
static size_t covered(size_t length, size_t bound)
{
    if (length <= CAL_CANARY_END || bound >= length - CAL_CANARY_END)
        return length;
    size_t words = bound / CAL_CANARY_WORD;
    return (words == 0 ? 1 : words) * CAL_CANARY_WORD;
}

/* Words that end with the slack. */
static size_t last_words(size_t length)
{
    return (length < CAL_CANARY_END ? length : CAL_CANARY_END) / CAL_CANARY_WORD;
}

void cal__canary_write_long(uint64_t word, unsigned char *slack, size_t length, size_t bound)
{
    size_t end = covered(length, bound);
    for (size_t i = 0; i + CAL_CANARY_WORD <= end; i += CAL_CANARY_WORD)
        memcpy(slack + i, &word, sizeof word);
    word = cal__canary_turn(word, length);
    for (size_t i = last_words(length); i != 0; i--)
        memcpy(slack + length - i * CAL_CANARY_WORD, &word, sizeof word);
}

bool cal__canary_verify_long(uint64_t word, const unsigned char *slack, size_t length, size_t bound)
{
    size_t end = covered(length, bound);
    uint64_t found, difference = 0;
    for (size_t i = 0; i + CAL_CANARY_WORD <= end; i += CAL_CANARY_WORD) {
        memcpy(&found, slack + i, sizeof found);
        difference |= found ^ word;
    }
    word = cal__canary_turn(word, length);
    for (size_t i = last_words(length); i != 0; i--) {
        memcpy(&found, slack + length - i * CAL_CANARY_WORD, sizeof found);
        difference |= found ^ word;
    }
    return difference == 0;
}

CAL_COLD size_t cal__canary_damage(uint64_t word, const void *block, size_t requested,
                                   size_t capacity, size_t bound)
{
    const unsigned char *bytes = block;
    size_t length = capacity - requested;
    size_t end = covered(length, bound);
    for (size_t i = 0; i < length; i++) {
        if (i == end && length - i > CAL_CANARY_END)
            i = length - CAL_CANARY_END;
        if (bytes[requested + i] != (unsigned char)(word >> 8 * (i % CAL_CANARY_WORD)))
            return requested + i;
    }
    return capacity;
}
