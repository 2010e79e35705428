/* The quarantine of each thread: blocks that were freed and are not used again yet. */
#ifndef CAL_HOLD_H
#define CAL_HOLD_H

#include "base.h"
#include "hardened.h"

/* True: the block, of SIZE bytes with its slack, is kept, and others may have left for it. */
bool cal__hold_block_long(void *block, size_t size);

CAL_INLINE bool cal__hold_block(void *block, size_t size)
{
    return cal__hardened.settings.quarantine != 0 && cal__hold_block_long(block, size);
}

/* When a thread ends: what it holds leaves, and what it frees afterwards is not held. */
void cal__hold_end(void);

/* Bytes that the calling thread holds. */
size_t cal__hold_bytes(void);

/* All that the calling thread holds leaves. */
void cal__hold_drain(void);

/* In the child of a fork nothing need be done: what other threads held stays where it is. */

#endif
