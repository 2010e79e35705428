/* The input, and the model of what lives. */
#include "case.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

struct functions functions;
bool hardened, kinds_checked;
struct block blocks[BLOCKS];
size_t live_bytes;
size_t position;
unsigned writes;

static struct freed freed[FREED];
static unsigned freed_count;

_Noreturn void wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(shared->message, sizeof shared->message, format, arguments);
    va_end(arguments);
    _exit(99);
}

/* The input. */

uint8_t take(void)
{
    return position < shared->length ? shared->input[position++] : 0;
}

size_t take_size(void)
{
    unsigned scale = take(), rest = take();
    size_t size = rest;
    if (scale < 112)
        return size + (scale & 3) * 256 * (scale >= 64);
    /* 1 KiB to 4 MiB, and around the powers of two in between. */
    unsigned shift = scale < 224 ? 10 + (scale - 112) % 8 : 15 + (scale - 224) % 8;
    if (rest < 64)
        return ((size_t)1 << shift) + rest - 32;
    size = ((size_t)1 << shift) + (((size_t)rest << shift) >> 8);
    return live_bytes + size > LIVE_MAX ? rest : size;
}

/* A block that lives, the next one from a place of the input's choice; NULL for none. */
struct block *take_block(void)
{
    unsigned from = take();
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[(from + i) % BLOCKS].address != NULL)
            return &blocks[(from + i) % BLOCKS];
    return NULL;
}

struct block *free_place(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].address == NULL)
            return &blocks[i];
    return NULL;
}

struct freed *take_freed(void)
{
    unsigned from = take(), count = freed_count < FREED ? freed_count : FREED;
    for (unsigned i = 0; i < count; i++) {
        /* The last ones have the lowest numbers. */
        struct freed *one = &freed[(freed_count - 1 - (from + i) % count) % FREED];
        if (!is_start(one->address))
            return one;
    }
    return NULL;
}

/* The model. */

static unsigned char pattern(unsigned seed, size_t i)
{
    return (unsigned char)(seed + i * 7 + (i >> 8));
}

static void fill_range(const struct block *block, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        block->address[i] = pattern(block->seed, i);
}

void fill(struct block *block)
{
    static unsigned seeds;
    block->seed = seeds += 41;
    block->damaged = false;
    size_t size = block->size;
    if (size <= WHOLE) {
        fill_range(block, 0, size);
    } else {
        fill_range(block, 0, EDGE);
        fill_range(block, size - EDGE, size);
    }
}

static void check_range(const struct block *block, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (block->address[i] != pattern(block->seed, i))
            wrong("byte %zu of %p, size %zu, is %02x and was %02x", i, (void *)block->address,
                  block->size, block->address[i], pattern(block->seed, i));
}

/* The first KEPT bytes of what had SIZE. */
void check_kept(const struct block *block, size_t size, size_t kept)
{
    if (block->damaged)
        return;
    if (size <= WHOLE) {
        check_range(block, 0, kept);
        return;
    }
    check_range(block, 0, kept < EDGE ? kept : EDGE);
    if (kept > size - EDGE)
        check_range(block, size - EDGE, kept);
}

void check(const struct block *block)
{
    check_kept(block, block->size, block->size);
}

/* The block that ADDRESS lies in; one of size 0 takes a byte. */
struct block *block_around(const void *address)
{
    uintptr_t number = (uintptr_t)address;
    for (unsigned i = 0; i < BLOCKS; i++) {
        uintptr_t start = (uintptr_t)blocks[i].address;
        if (start != 0 && number >= start && number - start < blocks[i].size + !blocks[i].size)
            return &blocks[i];
    }
    return NULL;
}

bool is_start(const void *address)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].address == address && address != NULL)
            return true;
    return false;
}

size_t object_size(const void *pointer)
{
    return hardened ? functions.object_size(pointer) : 0;
}

int validate(void)
{
    int found = hardened ? functions.validate() : 0;
    if (found != 0 && writes == 0)
        wrong("validation finds %d errors where there are none", found);
    shared->errors_found = (unsigned)found;
    return found;
}

static void check_new(const struct block *block, size_t alignment)
{
    unsigned char *start = block->address, *end = start + block->size + !block->size;
    if ((uintptr_t)start % (alignment < 16 ? 16 : alignment) != 0)
        wrong("%p, size %zu, is not aligned to %zu", (void *)start, block->size, alignment);
    for (unsigned i = 0; i < BLOCKS; i++) {
        const struct block *other = &blocks[i];
        if (other != block && other->address != NULL && start < other->address + other->size &&
            other->address < end)
            wrong("%p, size %zu, overlaps %p, size %zu, which lives", (void *)start, block->size,
                  (void *)other->address, other->size);
    }
    size_t usable = malloc_usable_size(start);
    if (usable < block->size || (hardened && usable != block->size))
        wrong("%p, size %zu, has a usable size of %zu", (void *)start, block->size, usable);
    if (hardened && object_size(start) != block->size)
        wrong("%p, size %zu, has an object size of %zu", (void *)start, block->size,
              object_size(start));
}

void check_zero(const struct block *block)
{
    for (size_t i = 0; i < block->size; i++) {
        if (block->size > WHOLE && i == EDGE)
            i = block->size - EDGE;
        if (block->address[i] == 0)
            continue;
        if (writes == 0 || block->size <= ALWAYS_ZERO_MAX)
            wrong("byte %zu of %p, size %zu, of calloc is %02x", i, (void *)block->address,
                  block->size, block->address[i]);
        statistics->dirty++;
        return;
    }
}

void add(struct block *block, void *address, size_t size, enum kind kind, size_t alignment)
{
    if (address == NULL)
        wrong("no memory for %zu bytes", size);
    block->address = address;
    block->size = size;
    block->kind = kind;
    live_bytes += size;
    check_new(block, alignment);
}

void forget(struct block *block)
{
    freed[freed_count++ % FREED] = (struct freed){block->address, block->size};
    live_bytes -= block->size;
    block->address = NULL;
}

void check_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].address != NULL)
            check(&blocks[i]);
}
