/* Errors of the program: writes to where it has no block, and calls that are wrong. */
#include "case.h"

#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf after_fault;
static unsigned char *mapping; /* of nobody */

void return_from_fault(uintptr_t fault)
{
    if (shared->writing && fault >= shared->low && fault < shared->high)
        siglongjmp(after_fault, 1);
}

struct extent {
    uintptr_t from, to;
};

static bool extend(const struct cal_region *region, void *argument)
{
    struct extent *extent = argument;
    uintptr_t start = (uintptr_t)region->address;
    if (start > extent->to || start + region->length <= extent->to)
        return true;
    extent->to = start + region->length;
    return false;
}

/* The end of what belongs to the heap from ADDRESS on, at most HIGH: beyond may be anybody's. */
static uintptr_t heap_end(uintptr_t address, uintptr_t high)
{
    struct extent extent = {address, address};
    while (extent.to < high && !functions.walk(extend, &extent)) {}
    return extent.to < high ? extent.to : high;
}

/* Blocks of libc and of the dynamic linker, which would not survive an error that hits them. */
enum { OTHERS = 256 };
static struct extent others[OTHERS];
static unsigned other_count;

static bool spare(void *block, size_t usable, void *argument)
{
    (void)argument;
    if (other_count < OTHERS)
        others[other_count++] = (struct extent){(uintptr_t)block, (uintptr_t)block + usable};
    return true;
}

void spare_others(void)
{
    mapping = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (hardened)
        functions.walk_blocks(spare, NULL);
}

static bool hits_others(uintptr_t low, uintptr_t high)
{
    for (unsigned i = 0; i < other_count; i++)
        if (low < others[i].to && high > others[i].from)
            return true;
    return other_count == OTHERS;
}

enum written { NOTHING, WRITTEN, FAULTED };

static __attribute__((noinline)) void flip(uintptr_t low, uintptr_t high, uint8_t value)
{
    for (; low < high; low++)
        *(volatile unsigned char *)low ^= value | 1;
}

static enum written flip_until_fault(uintptr_t low, uintptr_t high, uint8_t value)
{
    if (sigsetjmp(after_fault, 1) != 0)
        return FAULTED;
    flip(low, high, value);
    return WRITTEN;
}

static enum written write_wrongly(unsigned char *from, size_t count, uint8_t value)
{
    uintptr_t low = (uintptr_t)from, high = heap_end(low, low + count);
    if (high == low || hits_others(low, high))
        return NOTHING;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].address != NULL && (uintptr_t)blocks[i].address < high &&
            (uintptr_t)blocks[i].address + blocks[i].size > low)
            blocks[i].damaged = true;
    writes++;
    shared->low = low;
    shared->high = high;
    shared->writing = true;
    enum written written = flip_until_fault(low, high, value);
    shared->writing = false;
    return written;
}

static void note(enum operation error)
{
    static const unsigned says[] = {
#define ERROR(name, weight, may_print) may_print,
        ERRORS(ERROR)
#undef ERROR
    };
    settle();
    unsigned index = error - FIRST_ERROR;
    statistics->injected[index]++;
    shared->pending[index]++;
    shared->may_print |= says[index];
}

/* It is known to have been found. */
static void caught(enum operation error)
{
    statistics->caught[error - FIRST_ERROR]++;
    shared->pending[error - FIRST_ERROR]--;
}

/* Here a process that is to abort has done so. */
static void not_silent(enum operation error)
{
    if (shared->consequence == ABORT)
        wrong("%s was not noticed", operation_name(error));
    caught(error);
}

/* CERTAIN: a validation finds it, if it is the first. */
static void write_error(enum operation error, unsigned char *from, size_t count, uint8_t value,
                        bool certain)
{
    note(error);
    bool first = writes == 0, probe = value & 128;
    int before = probe && !first ? validate() : 0;
    enum written written = write_wrongly(from, count, value);
    if (written == NOTHING) {
        shared->pending[error - FIRST_ERROR]--;
        statistics->injected[error - FIRST_ERROR]--;
    } else if (written == FAULTED) {
        statistics->guarded[error - FIRST_ERROR]++;
        caught(error);
    } else if (probe) {
        int after = validate();
        if (after > before)
            caught(error);
        else if (certain && first)
            wrong("%s of %zu bytes at %p was not noticed", operation_name(error), count,
                  (void *)from);
    }
}

static size_t take_count(void)
{
    unsigned byte = take();
    return byte < 192 ? 1 + byte % 32 : (size_t)1 << (byte % 14);
}

static void overflow(enum operation error)
{
    struct block *block = take_block();
    size_t count = take_count(), gap = error == DO_overflow ? 0 : take_count();
    uint8_t value = take();
    if (block == NULL || block->size == 0)
        return;
    write_error(error, block->address + block->size + gap, count, value, gap == 0);
}

static void underflow(void)
{
    struct block *block = take_block();
    size_t count = take_count();
    uint8_t value = take();
    if (block == NULL || block->size == 0)
        return;
    write_error(DO_underflow, block->address - count, count, value, false);
}

/* Pages at both ends of a large block. */
static void write_guard(void)
{
    struct block *block = take_block();
    size_t offset = take() * (size_t)16;
    uint8_t value = take();
    if (block == NULL || block->size < (size_t)1 << 20)
        return;
    uintptr_t start = (uintptr_t)block->address & ~(uintptr_t)4095;
    uintptr_t end = ((uintptr_t)block->address + block->size + 4095) & ~(uintptr_t)4095;
    unsigned char *address = (unsigned char *)(value & 64 ? end + offset : start - 1 - offset);
    /* Not every level has a guard before a block, and one that starts a page may do so for its alignment, and
     * end far from the guard. */
    bool must = (value & 64) != 0 && (uintptr_t)block->address % 4096 != 0;
    write_error(DO_write_guard, address, 1, value, must);
}

static void write_empty(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].address != NULL && blocks[i].size == 0) {
            uint8_t value = take();
            write_error(DO_write_empty, blocks[i].address, 1, value, true);
            return;
        }
}

static void write_freed(void)
{
    const struct freed *target = take_freed();
    size_t offset = take_size(), count = take_count();
    uint8_t value = take();
    if (target == NULL || target->size == 0)
        return;
    offset %= target->size;
    if (count > target->size - offset)
        count = target->size - offset;
    write_error(DO_write_after_free, target->address + offset, count, value, false);
}

/* Errors in calls. */

static void double_free(bool second)
{
    struct freed *target = take_freed();
    if (target == NULL)
        return;
    note(DO_double_free);
    struct call call = {.what = FREE, .pointer = target->address};
    run(&call, second);
    not_silent(DO_double_free);
}

static void racing_free(void)
{
    struct block *block = take_block();
    if (block == NULL || !threaded)
        return;
    note(DO_racing_free);
    check(block);
    struct call calls[2] = {{.what = FREE, .kind = block->kind, .pointer = block->address},
                            {.what = FREE, .kind = block->kind, .pointer = block->address}};
    race(&calls[0], &calls[1]);
    forget(block);
    not_silent(DO_racing_free);
}

static unsigned char data[64] __attribute__((aligned(16)));

/* What is no start of a block: inside of one or shortly behind, or far from the heap. */
static unsigned char *take_interior(void)
{
    const struct block *block = take_block();
    size_t offset = take_size();
    if (block == NULL)
        return NULL;
    unsigned char *address = block->address + 1 + offset % (block->size + 64);
    /* Behind the block may be one that libc has allocated, for a thread say. */
    bool perhaps = address >= block->address + block->size && (uintptr_t)address % 16 == 0;
    return perhaps || is_start(address) ? NULL : address;
}

unsigned char *take_foreign(void)
{
    static unsigned char *const fixed[] = {
        data,
        data + 1,
        (unsigned char *)16,
        (unsigned char *)4096,
        (unsigned char *)0x123456789abcdef0,
        (unsigned char *)(uintptr_t)-16,
        (unsigned char *)(uintptr_t)1,
        (unsigned char *)0x800000000000,
        (unsigned char *)0x7ffffffff000,
    };
    unsigned char local[32], *stack = local + (-(uintptr_t)local & 15);
    /* The address alone counts. */
    __asm__("" : "+r"(stack));
    unsigned which = take() % 12;
    return which < 9 ? fixed[which] : which == 9 ? stack : which == 10 ? mapping : mapping + 4096;
}

static void wrong_call(enum operation error, enum what what, unsigned char *address, size_t size,
                       bool second)
{
    if (address == NULL)
        return;
    note(error);
    struct call call = {.what = what, .pointer = address, .size = size};
    run(&call, second);
    if (what == REALLOC && call.pointer != NULL)
        wrong("%s gave %p for %p", operation_name(error), call.pointer, (void *)address);
    if (what == USABLE && call.size != 0)
        wrong("%s gave %zu for %p", operation_name(error), call.size, (void *)address);
    not_silent(error);
}

static void wrong_size(bool second)
{
    struct block *block = take_block();
    size_t size = take_size();
    if (block == NULL || size == block->size)
        return;
    note(DO_wrong_size);
    check(block);
    struct call call = {
        .what = SIZED_FREE, .kind = block->kind, .pointer = block->address, .size = size};
    run(&call, second);
    forget(block);
    not_silent(DO_wrong_size);
}

static void wrong_kind(bool second)
{
    struct block *block = take_block();
    unsigned choice = take();
    if (block == NULL)
        return;
    note(DO_wrong_kind);
    check(block);
    struct call call = {.what = FREE,
                        .kind = (block->kind + 1 + choice % (KINDS - 1)) % KINDS,
                        .pointer = block->address};
    bool wrong = !block->native;
    run(&call, second);
    forget(block);
    if (kinds_checked && wrong)
        not_silent(DO_wrong_kind);
}

void do_error(enum operation error, bool second)
{
    switch (error) {
    case DO_overflow:
    case DO_gap_overflow:
        overflow(error);
        break;
    case DO_underflow:
        underflow();
        break;
    case DO_write_after_free:
        write_freed();
        break;
    case DO_write_guard:
        write_guard();
        break;
    case DO_write_empty:
        write_empty();
        break;
    case DO_double_free:
        double_free(second);
        break;
    case DO_racing_free:
        racing_free();
        break;
    case DO_interior_free:
        wrong_call(error, FREE, take_interior(), 0, second);
        break;
    case DO_foreign_free:
        wrong_call(error, FREE, take_foreign(), 0, second);
        break;
    case DO_freed_realloc:
    case DO_freed_usable: {
        const struct freed *target = take_freed();
        wrong_call(error, error == DO_freed_usable ? USABLE : REALLOC,
                   target == NULL ? NULL : target->address, 1 + take_size(), second);
        break;
    }
    case DO_wrong_realloc:
    case DO_wrong_usable: {
        unsigned char *address = take() & 1 ? take_interior() : take_foreign();
        wrong_call(error, error == DO_wrong_usable ? USABLE : REALLOC, address, 1 + take_size(),
                   second);
        break;
    }
    case DO_wrong_size:
        wrong_size(second);
        break;
    case DO_wrong_kind:
        wrong_kind(second);
        break;
    default:
        break;
    }
}
