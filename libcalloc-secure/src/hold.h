/* The quarantine of each thread: blocks that were freed and are not used again yet.
 *
 * All of them are known, so that a thread that has no memory left can have what the others hold. So each has
 * a latch, which is held for some instructions, and which a process with one thread does without. */
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

/* All that all threads hold now leaves. Without locks held. True: there was something. */
bool cal__hold_drain(void);

/* Around a fork. What other threads held stays where it is in the child, until it is drained. */
void cal__hold_lock(void);
void cal__hold_unlock(bool in_child);

#endif
