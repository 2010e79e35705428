/* Conservatively: each aligned word of a root, or of a block that is reached, that is an address in a live block
 * reaches that block, also where it points into its middle. Roots are the writable data of all modules but the
 * allocator's own, and of each thread its stack, registers and thread-local storage.
 *
 * While the other threads stand still, nothing here calls anything that takes a lock: they may hold it. */
#include "leaks.h"

#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include <calloc/hooks.h>

#include "blocks.h"
#include "maps.h"
#include "memory.h"
#include "modules.h"
#include "nodes.h"
#include "record.h"
#include "rows.h"
#include "sort.h"
#include "stop.h"
#include "suppress.h"

enum state { UNREACHED = 0, REACHED, DIRECT, INDIRECT };

struct item {
    uintptr_t address;
    uint64_t size;
    uint64_t weight;
    uint32_t site;
    uint8_t state;
    bool pointed; /* another leaked block points to it */
};

struct range {
    uintptr_t start;
    uintptr_t end;
};

enum { ROOTS_MAX = 16384, STATIC_TLS_MAX = 4096 };

struct scan {
    struct item *items; /* by address */
    size_t count;
    size_t capacity;
    uint32_t *stack; /* of items that are reached and were not looked into */
    size_t depth;
    uintptr_t lowest;
    uintptr_t highest;
    struct cal__maps maps;
    struct range roots[ROOTS_MAX];
    size_t roots_count;
    /* Thread-local storage of modules, from the thread pointer on: the same for all threads. */
    struct range local[STATIC_TLS_MAX];
    size_t local_count;
    uint64_t scanned;
    bool incomplete;
};

/* Memory of a known size that holds on to its size. */
static bool reserve(struct scan *scan, size_t count)
{
    if (count <= scan->capacity)
        return true;
    size_t wanted = scan->capacity == 0 ? 1 << 14 : scan->capacity * 2;
    struct item *larger = cal__memory_map(wanted * sizeof *larger);
    if (larger == NULL)
        return false;
    if (scan->count != 0)
        memcpy(larger, scan->items, scan->count * sizeof *larger);
    cal__memory_unmap(scan->items, scan->capacity * sizeof *scan->items);
    scan->items = larger;
    scan->capacity = wanted;
    return true;
}

static bool add_item(void *address, const struct cal__block *block, void *argument)
{
    struct scan *scan = argument;
    if (!reserve(scan, scan->count + 1)) {
        scan->incomplete = true;
        return false;
    }
    scan->items[scan->count++] = (struct item){
        .address = (uintptr_t)address,
        .size = block->size,
        .weight = cal__record_weight(address, block->size, block->time),
        .site = block->site,
    };
    return true;
}

/* They come nearly sorted: only those of a granule with several tables are not. */
static void sort_items(struct scan *scan)
{
    for (size_t i = 1; i < scan->count; i++) {
        struct item item = scan->items[i];
        size_t j = i;
        for (; j > 0 && scan->items[j - 1].address > item.address; j--)
            scan->items[j] = scan->items[j - 1];
        if (j != i)
            scan->items[j] = item;
    }
    if (scan->count != 0) {
        const struct item *last = &scan->items[scan->count - 1];
        scan->lowest = scan->items[0].address;
        scan->highest = last->address + (last->size != 0 ? last->size : 1);
    }
}

/* The block that ADDRESS lies in, or is the end of one of no bytes; SIZE_MAX: none. */
static size_t find(const struct scan *scan, uintptr_t address)
{
    if (address < scan->lowest || address >= scan->highest)
        return SIZE_MAX;
    size_t low = 0, high = scan->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (scan->items[middle].address <= address)
            low = middle;
        else
            high = middle;
    }
    const struct item *item = &scan->items[low];
    uint64_t size = item->size != 0 ? item->size : 1;
    return address >= item->address && address - item->address < size ? low : SIZE_MAX;
}

/* Calls VISIT with each block that a word from START to END points to. What cannot be read is left out. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static void look_at(
    struct scan *scan, uintptr_t start, uintptr_t end,
    void (*visit)(struct scan *scan, size_t found, void *argument), void *argument)
{
    start = (start + 7) & ~(uintptr_t)7;
    end &= ~(uintptr_t)7;
    while (start < end) {
        const struct cal__map *map = cal__maps_find(&scan->maps, start);
        uintptr_t stop = map == NULL ? start : cal__maps_readable(&scan->maps, map, start, end);
        if (stop == start) {
            /* The next page that may be there. */
            start = (start + 4096) & ~(uintptr_t)4095;
            continue;
        }
        scan->scanned += stop - start;
        for (; start < stop; start += 8) {
            size_t found = find(scan, *(const volatile uintptr_t *)start);
            if (found != SIZE_MAX)
                visit(scan, found, argument);
        }
    }
}

static void reach(struct scan *scan, size_t found, void *argument)
{
    uint8_t state = *(const uint8_t *)argument;
    struct item *item = &scan->items[found];
    if (item->state != UNREACHED)
        return;
    item->state = state;
    scan->stack[scan->depth++] = (uint32_t)found;
}

/* Goes on from the blocks on the stack, until all that can be reached from there is STATE. */
static void spread(struct scan *scan, uint8_t state)
{
    while (scan->depth != 0) {
        const struct item *item = &scan->items[scan->stack[--scan->depth]];
        look_at(scan, item->address, item->address + item->size, reach, &state);
    }
}

/* ARGUMENT is the block that is looked into. */
static void point(struct scan *scan, size_t found, void *argument)
{
    struct item *item = &scan->items[found];
    if (item != argument && item->state == UNREACHED)
        item->pointed = true;
}

static void add_root(struct scan *scan, uintptr_t start, uintptr_t end)
{
    if (scan->roots_count == ROOTS_MAX)
        scan->incomplete = true;
    else if (start < end)
        scan->roots[scan->roots_count++] = (struct range){start, end};
}

/* What is the program's, and what is not to be looked at: the data of the allocator and of this library know
 * every block. */
static bool is_allocator(const struct dl_phdr_info *information, uintptr_t address)
{
    for (size_t i = 0; i < information->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &information->dlpi_phdr[i];
        uintptr_t start = information->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && address >= start && address - start < segment->p_memsz)
            return information->dlpi_name != NULL && information->dlpi_name[0] != '\0';
    }
    return false;
}

static int add_module(struct dl_phdr_info *information, size_t size, void *argument)
{
    struct scan *scan = argument;
    if (is_allocator(information, (uintptr_t)add_module) ||
        is_allocator(information, (uintptr_t)cal_walk_blocks))
        return 0;
    for (size_t i = 0; i < information->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &information->dlpi_phdr[i];
        uintptr_t start = information->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) != 0)
            add_root(scan, start, start + segment->p_memsz);
        if (segment->p_type == PT_TLS && size > offsetof(struct dl_phdr_info, dlpi_tls_data) &&
            information->dlpi_tls_data != NULL && scan->local_count < STATIC_TLS_MAX) {
            uintptr_t at = (uintptr_t)information->dlpi_tls_data - cal__stop_thread_pointer();
            scan->local[scan->local_count++] = (struct range){at, at + segment->p_memsz};
        }
    }
    return 0;
}

/* glibc's own structure of a thread begins or ends there: it has the values of pthread_setspecific() and leads
 * to what is allocated for the thread-local storage of modules that were loaded later. */
enum { DESCRIPTOR = 2304, STATIC_TLS_BYTES = 1 << 24 };

static void add_thread(struct scan *scan, uintptr_t low, uintptr_t pointer)
{
    const struct cal__map *stack = cal__maps_find(&scan->maps, low);
    uintptr_t end = stack == NULL ? low : stack->end;
    bool on_own = stack != NULL && pointer >= low && pointer < end;
    /* glibc puts the descriptor on top of the stack; what is above it in the mapping is something else. */
    if (on_own && pointer + DESCRIPTOR < end)
        end = pointer + DESCRIPTOR;
    add_root(scan, low, end);
    if (pointer == 0)
        return;
    for (size_t i = 0; i < scan->local_count; i++) {
        /* Of the calling thread; those at other distances are the dynamic ones. */
        intptr_t at = (intptr_t)scan->local[i].start;
        if (at > -STATIC_TLS_BYTES && at < STATIC_TLS_BYTES)
            add_root(scan, pointer + scan->local[i].start, pointer + scan->local[i].end);
    }
#if defined(__x86_64__)
    add_root(scan, pointer, pointer + DESCRIPTOR);
#else
    add_root(scan, pointer - DESCRIPTOR, pointer + 16);
#endif
}

/* A coroutine's stack is not the thread's, whose own one waits below. */
static void add_main_stack(struct scan *scan, uintptr_t low)
{
    extern void *__libc_stack_end;
    uintptr_t end = (uintptr_t)__libc_stack_end;
    const struct cal__map *map = cal__maps_find(&scan->maps, end);
    if (map != NULL && (low < map->start || low >= map->end))
        add_root(scan, map->start, map->end);
    else if (map != NULL)
        add_root(scan, end, map->end);
}

/* What the loader allocates by itself is thread-local storage, which it may keep for threads to come, and its own
 * lists: it loses nothing. */
static bool is_of_loader(uint32_t site, uint32_t loader)
{
    uint32_t node = cal__site_node(site);
    return loader != CAL_MODULE_NONE && node > CAL_NODE_UNKNOWN &&
           cal__frame(cal__node(node).frame)->module == loader;
}

static void mark(struct scan *scan)
{
    uint8_t state = REACHED;
    uintptr_t loader = getauxval(AT_BASE);
    uint32_t module = loader == 0 ? CAL_MODULE_NONE : cal__modules_known(loader);
    for (size_t i = 0; i < scan->count; i++) {
        if (is_of_loader(scan->items[i].site, module)) {
            reach(scan, i, &state);
            spread(scan, REACHED);
        }
    }
    for (size_t i = 0; i < scan->roots_count; i++) {
        look_at(scan, scan->roots[i].start, scan->roots[i].end, reach, &state);
        spread(scan, REACHED);
    }
    for (size_t i = 0; i < scan->count; i++) {
        struct item *item = &scan->items[i];
        if (item->state == UNREACHED)
            look_at(scan, item->address, item->address + item->size, point, item);
    }
    /* First those that nothing points to, and then of each cycle that is left the first one. */
    for (int cycles = 0; cycles < 2; cycles++) {
        for (size_t i = 0; i < scan->count; i++) {
            struct item *item = &scan->items[i];
            if (item->state != UNREACHED || (item->pointed && cycles == 0))
                continue;
            item->state = DIRECT;
            scan->stack[scan->depth++] = (uint32_t)i;
            spread(scan, INDIRECT);
        }
    }
}

/* Registers that the caller's callers have values in are on the stack below this frame. */
static CAL_NOINLINE int look_for_unreached(struct scan *scan, struct cal__leaks *leaks)
{
    __builtin_unwind_init();
    uintptr_t low = (uintptr_t)__builtin_frame_address(0);
    struct cal__stop stop;
    if (!cal__stop_threads(&stop))
        return -ENOMEM;
    leaks->facts.threads = stop.count + stop.waiting_count;
    leaks->facts.threads_missed = stop.missed;
    int result = -ENOMEM;
    cal__blocks_each(add_item, scan);
    size_t stack_bytes = scan->count * sizeof *scan->stack;
    scan->stack = cal__memory_map(stack_bytes + 1);
    if (scan->stack != NULL && cal__maps_read(&scan->maps)) {
        sort_items(scan);
        add_thread(scan, low, cal__stop_thread_pointer());
        for (uint32_t i = 0; i < stop.count; i++)
            add_thread(scan, stop.threads[i].low, stop.threads[i].pointer);
        for (uint32_t i = 0; i < stop.waiting_count; i++)
            add_thread(scan, stop.waiting[i], 0);
        add_main_stack(scan, low);
        mark(scan);
        cal__maps_free(&scan->maps);
        result = 0;
    }
    if (stop.missed != 0 || scan->incomplete)
        leaks->facts.flags |= CAL_LEAKS_INCOMPLETE;
    cal__stop_resume(&stop);
    cal__memory_unmap(scan->stack, stack_bytes + 1);
    return result;
}

static int find_unreached(struct scan *scan, struct cal__leaks *leaks)
{
    cal__stop_begin();
    /* Takes the loader's lock, so before others may be stopped with it. */
    dl_iterate_phdr(add_module, scan);
    int result = look_for_unreached(scan, leaks);
    cal__stop_end();
    return result;
}

/* Sums. */

static bool before(const void *a, const void *b)
{
    const struct cal__file_leak *first = a, *second = b;
    if (first->site != second->site)
        return first->site < second->site;
    return first->kind != second->kind ? first->kind < second->kind : first->size < second->size;
}

static bool alike(const struct cal__file_leak *a, const struct cal__file_leak *b)
{
    return a->site == b->site && a->kind == b->kind && a->size == b->size;
}

static void suppress(struct cal__leaks *leaks)
{
    struct cal__suppress_search search = {.verdicts = NULL};
    uint32_t site = 0, found = CAL_FILE_NONE;
    for (uint32_t i = 0; i < cal__suppressions_count(); i++)
        cal__suppression(i)->blocks = cal__suppression(i)->bytes = 0;
    for (size_t i = 0; i < leaks->count; i++) {
        struct cal__file_leak *leak = &leaks->leaks[i];
        if (i == 0 || leak->site != site) {
            site = leak->site;
            found = cal__suppress_find(&search, cal__site_node(site));
        }
        leak->suppression = found;
        if (leak->kind == CAL_LEAK_NOT_FREED) {
            leaks->suppressed_kept_blocks += found == CAL_FILE_NONE ? 0 : leak->blocks;
            leaks->suppressed_kept_bytes += found == CAL_FILE_NONE ? 0 : leak->bytes;
            continue;
        }
        if (found != CAL_FILE_NONE) {
            cal__suppression(found)->blocks += leak->blocks;
            cal__suppression(found)->bytes += leak->bytes;
            leaks->suppressed_blocks += leak->blocks;
            leaks->suppressed_bytes += leak->bytes;
        } else {
            leaks->leaked_blocks += leak->blocks;
            leaks->leaked_bytes += leak->bytes;
        }
    }
    cal__suppress_end(&search);
}

static int sum_up(struct scan *scan, struct cal__leaks *leaks)
{
    static const uint32_t kinds[] = {[UNREACHED] = CAL_LEAK_NOT_FREED,
                                     [REACHED] = CAL_LEAK_NOT_FREED,
                                     [DIRECT] = CAL_LEAK_DIRECT,
                                     [INDIRECT] = CAL_LEAK_INDIRECT};
    leaks->mapped = scan->count * sizeof *leaks->leaks + 1;
    leaks->leaks = cal__memory_map(leaks->mapped);
    if (leaks->leaks == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < scan->count; i++) {
        const struct item *item = &scan->items[i];
        leaks->live_blocks += item->weight;
        leaks->live_bytes += item->weight * item->size;
        leaks->leaks[i] = (struct cal__file_leak){.site = item->site,
                                                  .kind = kinds[item->state],
                                                  .size = item->size,
                                                  .blocks = item->weight,
                                                  .bytes = item->weight * item->size,
                                                  .example = item->address};
    }
    /* In place, as there may be many. */
    cal__sort(leaks->leaks, sizeof *leaks->leaks, scan->count, before);
    for (size_t i = 0; i < scan->count; i++) {
        const struct cal__file_leak *leak = &leaks->leaks[i];
        struct cal__file_leak *last = leaks->count == 0 ? NULL : &leaks->leaks[leaks->count - 1];
        if (last != NULL && alike(last, leak)) {
            last->blocks += leak->blocks;
            last->bytes += leak->bytes;
        } else {
            leaks->leaks[leaks->count++] = *leak;
        }
    }
    suppress(leaks);
    return 0;
}

int cal__leaks_find(struct cal__leaks *leaks, bool reachability)
{
    *leaks = (struct cal__leaks){.count = 0};
    uint64_t start = cal__modules_time();
    struct scan *scan = cal__memory_map(sizeof *scan);
    if (scan == NULL)
        return -ENOMEM;
    int result = 0;
    if (reachability) {
        leaks->facts.flags |= CAL_LEAKS_UNREACHABLE;
        result = find_unreached(scan, leaks);
    } else {
        cal__blocks_each(add_item, scan);
    }
    leaks->facts.scanned_bytes = scan->scanned;
    if (result == 0)
        result = sum_up(scan, leaks);
    leaks->facts.duration = cal__modules_time() - start;
    cal__memory_unmap(scan->items, scan->capacity * sizeof *scan->items);
    cal__memory_unmap(scan, sizeof *scan);
    return result;
}

void cal__leaks_free(struct cal__leaks *leaks)
{
    cal__memory_unmap(leaks->leaks, leaks->mapped);
    leaks->leaks = NULL;
}
