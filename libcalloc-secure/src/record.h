/* What the add-on writes down for itself, beside the core's records: encoded where it says where something is, and
 * compared before it is used. The secret for it is in the page of hardened.h. */
#ifndef CAL_RECORD_H
#define CAL_RECORD_H

#include "hardened.h"

/* A word that nobody can write who does not know the secret, and back. All zeros before there is one: the same. */
CAL_INLINE uint64_t cal__record_encode(uint64_t word)
{
    return word ^ cal__hardened.secret;
}

/* The sum of a record that does not change, word by word; begin with its address. Another value of any one word
 * gives another sum. */
CAL_INLINE uint64_t cal__record_sum(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * (cal__hardened.secret | 1);
    return sum << 29 | sum >> 35;
}

/* What is written at ADDRESS, or of it, is not what was. Ends the process with a line. */
_Noreturn void cal__record_broken(const void *address);

#endif
