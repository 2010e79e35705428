/* ChaCha, the block function of RFC 8439, section 2.3, on four blocks at once. */
#ifndef CAL_CHACHA_H
#define CAL_CHACHA_H

#include "base.h"

enum { CAL_CHACHA_KEY = 32, CAL_CHACHA_NONCE = 12, CAL_CHACHA_BLOCKS = 4, CAL_CHACHA_OUTPUT = 256 };

/* The blocks COUNTER to COUNTER + 3 (modulo 2^32) under KEY and NONCE, after ROUNDS rounds, an even
 * number. Interleaved: word W of block B, four bytes, stands at OUTPUT + 16 * W + 4 * B, as the vector
 * unit has it; the order does not matter where the bytes are only to be random. OUTPUT has
 * CAL_CHACHA_OUTPUT bytes and may overlap KEY and NONCE. No alignment is needed. No branch and no
 * address depends on the key. Leaves parts of its state in registers and possibly on the stack. */
void cal__chacha(const void *key, uint32_t counter, const void *nonce, unsigned rounds,
                 void *output);

#endif
