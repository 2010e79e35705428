/* What memcheck and AddressSanitizer are told about blocks, so that they find a user's errors in
 * the stock library. Asked once at start; when on, heaps are in direct mode. */
#ifndef CAL_ANNOTATE_H
#define CAL_ANNOTATE_H

#include "base.h"

enum cal__annotating { CAL_ANNOTATE_NONE, CAL_ANNOTATE_MEMCHECK, CAL_ANNOTATE_ASAN };
extern enum cal__annotating cal__annotating;

/* Added to every request while annotating: the end of it holds the requested size and is
 * forbidden to the program, so that running off a block is seen. */
#define CAL_ANNOTATE_REDZONE ((size_t)16)

/* True when a tool is there. */
bool cal__annotate_start(void);

/* BLOCK of CAPACITY bytes serves a request of SIZE bytes, SIZE + REDZONE <= CAPACITY. */
void cal__annotate_allocated(void *block, size_t size, size_t capacity, bool zeroed);
void cal__annotate_freed(void *block, size_t capacity);
/* The SIZE that BLOCK was annotated with. */
size_t cal__annotate_size(void *block, size_t capacity);

/* Nothing in this range belongs to the program yet. */
void cal__annotate_region(void *address, size_t size);

/* All of this range, which reads as zeros, belongs to an add-on, who may tell of blocks in it himself. */
void cal__annotate_accessible(void *address, size_t size);

/* The range goes back to the kernel, which may give it to somebody who does not know us. */
void cal__annotate_forget(void *address, size_t size);

/* Around code of the allocator that reads free blocks. */
void cal__annotate_begin(void);
void cal__annotate_end(void);

#endif
