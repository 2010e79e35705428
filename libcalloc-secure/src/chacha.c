#include "chacha.h"

#include <string.h>

/* One word of four blocks. The compilers make SSE2 and NEON of it, and plain code elsewhere. */
typedef uint32_t lanes __attribute__((vector_size(16)));

_Static_assert(sizeof(lanes) * 16 == CAL_CHACHA_OUTPUT, "sixteen words of four blocks");

CAL_INLINE lanes rotate(lanes value, int bits)
{
    return value << bits | value >> (32 - bits);
}

/* RFC 8439, section 2.1. */
CAL_INLINE void quarter_round(lanes *a, lanes *b, lanes *c, lanes *d)
{
    *a += *b, *d = rotate(*d ^ *a, 16);
    *c += *d, *b = rotate(*b ^ *c, 12);
    *a += *b, *d = rotate(*d ^ *a, 8);
    *c += *d, *b = rotate(*b ^ *c, 7);
}

CAL_INLINE lanes four_times(const unsigned char *word)
{
    uint32_t value;
    memcpy(&value, word, sizeof value);
    return (lanes){value, value, value, value};
}

CAL_NOINLINE void cal__chacha(const void *key, uint32_t counter, const void *nonce, unsigned rounds,
                              void *output)
{
    static const unsigned char constant[] = "expand 32-byte k";
    lanes start[16];
    for (size_t i = 0; i < 4; i++)
        start[i] = four_times(constant + 4 * i);
    for (size_t i = 0; i < 8; i++)
        start[4 + i] = four_times((const unsigned char *)key + 4 * i);
    start[12] = (lanes){counter, counter + 1, counter + 2, counter + 3};
    for (size_t i = 0; i < 3; i++)
        start[13 + i] = four_times((const unsigned char *)nonce + 4 * i);

    lanes x[16];
    memcpy(x, start, sizeof x);
    for (unsigned round = 0; round < rounds; round += 2) {
        quarter_round(&x[0], &x[4], &x[8], &x[12]);
        quarter_round(&x[1], &x[5], &x[9], &x[13]);
        quarter_round(&x[2], &x[6], &x[10], &x[14]);
        quarter_round(&x[3], &x[7], &x[11], &x[15]);
        quarter_round(&x[0], &x[5], &x[10], &x[15]);
        quarter_round(&x[1], &x[6], &x[11], &x[12]);
        quarter_round(&x[2], &x[7], &x[8], &x[13]);
        quarter_round(&x[3], &x[4], &x[9], &x[14]);
    }
    for (size_t i = 0; i < 16; i++)
        x[i] += start[i];
    memcpy(output, x, sizeof x);
}
