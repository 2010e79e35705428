#include "os.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

#include "annotate.h"
#include "link.h"
#include "message.h"

/* Of Linux 5.14, and of C libraries since; older kernels answer EINVAL. */
#ifndef MADV_POPULATE_WRITE
#    define MADV_POPULATE_WRITE 23
#endif

static _Atomic size_t mapped_bytes;
static _Atomic size_t mapped_peak;

size_t cal__os_page_size(void)
{
    /* Read once: getauxval is a walk over the vector. Racing threads store the same value. */
    static _Atomic size_t known;
    size_t size = atomic_load_explicit(&known, memory_order_relaxed);
    if (size == 0) {
        int saved = errno;
        size = getauxval(AT_PAGESZ);
        errno = saved;
        if (size == 0)
            size = CAL_OS_PAGE;
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size;
}

static void *map_anonymous(void *hint, size_t length)
{
    void *address = mmap(hint, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static void *system_map(size_t length, size_t alignment, void *hint, int node)
{
    (void)node;
    void *address = map_anonymous(hint, length);
    if (address == NULL || ((uintptr_t)address & (alignment - 1)) == 0)
        return address;
    munmap(address, length);
    size_t slack = alignment - cal__os_page_size();
    if (length + slack < length)
        return NULL;
    char *wide = map_anonymous(NULL, length + slack);
    if (wide == NULL)
        return NULL;
    /* Cutting the ends off cannot lose memory: should the kernel refuse (too many mappings), what
     * stays is address space that nobody touches. */
    char *aligned = (char *)cal__round_up((uintptr_t)wide, alignment);
    size_t head = (size_t)(aligned - wide);
    if (head != 0)
        munmap(wide, head);
    if (slack != head)
        munmap(aligned + length, slack - head);
    return aligned;
}

static int system_unmap(void *address, size_t length)
{
    return munmap(address, length) == 0 ? 0 : -errno;
}

static int system_purge(void *address, size_t length)
{
    return madvise(address, length, MADV_DONTNEED) == 0 ? 0 : -errno;
}

/* Asked by a call that sandboxes let the allocator make in any case; a refusal of that says nothing. */
static bool is_mapped(char *address, size_t length)
{
    return madvise(address, length, MADV_NORMAL) == 0 || errno != ENOMEM;
}

/* Bytes from the first page that is mapped to the end, where nothing is mapped before it. */
static size_t mapped_end(char *address, size_t length)
{
    size_t page = cal__os_page_size();
    size_t low = 0;
    size_t high = length / page;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_mapped(address + middle * page, page))
            high = middle;
        else
            low = middle + 1;
    }
    return length - low * page;
}

static bool map_here(void *address, size_t length)
{
    void *mapped = mmap(address, length, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    /* Before 4.17 the flag is not known, and the address a hint. */
    if (mapped != MAP_FAILED && mapped != address)
        munmap(mapped, length);
    return mapped == address;
}

/* The start of a range was moved before the kernel gave up. */
static void move_back(void *moved, void *address, size_t length)
{
    if (mremap(moved, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, address) == address)
        return;
    if (!map_here(address, length))
        cal__fatal("the kernel moved memory and does not move it back", address);
    memcpy(address, moved, length);
}

/* Kernels before 6.17 unmap the destination before they look whether they can move, later ones a part
 * of it: puts back what is missing. */
static void map_missing(char *address, size_t length)
{
    size_t page = cal__os_page_size();
    if (map_here(address, length) || is_mapped(address, length))
        return;
    for (size_t done = 0; done < length; done += page)
        if (!is_mapped(address + done, page))
            map_here(address + done, page);
}

static int system_remap(void *address, size_t old_length, size_t new_length, void *destination)
{
    void *result = destination == NULL ? mremap(address, old_length, new_length, 0)
                                       : mremap(address, old_length, new_length,
                                                MREMAP_MAYMOVE | MREMAP_FIXED, destination);
    if (result != MAP_FAILED)
        return 0;
    int error = errno;
    if (destination != NULL) {
        /* Kernels from 6.17 on move mapping by mapping and stop at one that they refuse. */
        size_t moved = old_length - mapped_end(address, old_length);
        if (moved != 0)
            move_back(destination, address, moved);
        map_missing(destination, new_length);
    }
    return -error;
}

static const struct cal_source system_source = {
    .size = sizeof(struct cal_source),
    .map = system_map,
    .unmap = system_unmap,
    .purge = system_purge,
    .remap = system_remap,
};

/* A link; NULL: that of the system. */
static _Atomic uint64_t current_source;

CAL_EXPORT const struct cal_source *cal_source_system(void)
{
    return &system_source;
}

void cal__os_set_source(const struct cal_source *source)
{
    cal__link_store(&current_source, source == &system_source ? NULL : source,
                    memory_order_release);
}

const struct cal_source *cal__os_source(void)
{
    const struct cal_source *source = cal__link_load(&current_source, memory_order_acquire);
    return source == NULL ? &system_source : source;
}

static void count_mapped(size_t added)
{
    size_t now = atomic_fetch_add_explicit(&mapped_bytes, added, memory_order_relaxed) + added;
    size_t peak = atomic_load_explicit(&mapped_peak, memory_order_relaxed);
    while (now > peak &&
           !atomic_compare_exchange_weak_explicit(&mapped_peak, &peak, now, memory_order_relaxed,
                                                  memory_order_relaxed)) {}
}

static void count_unmapped(size_t removed)
{
    atomic_fetch_sub_explicit(&mapped_bytes, removed, memory_order_relaxed);
}

/* The kernel writes errno; callers such as free() must not be seen to. */
void *cal__os_map(size_t size, size_t alignment, void *hint)
{
    int saved = errno;
    void *address = cal__os_source()->map(size, alignment, hint, -1);
    errno = saved;
    if (address != NULL)
        count_mapped(size);
    return address;
}

bool cal__os_unmap(void *address, size_t size)
{
    int saved = errno;
    if (CAL_UNLIKELY(cal__annotating != CAL_ANNOTATE_NONE))
        cal__annotate_forget(address, size);
    bool done = cal__os_source()->unmap(address, size) == 0;
    errno = saved;
    if (done)
        count_unmapped(size);
    return done;
}

bool cal__os_purge(void *address, size_t size)
{
    int saved = errno;
    bool done = cal__os_source()->purge(address, size) == 0;
    errno = saved;
    return done;
}

bool cal__os_renew(void *address, size_t size)
{
    if (cal__os_source() != &system_source)
        return false;
    int saved = errno;
    void *mapped =
        mmap(address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = saved;
    return mapped == address;
}

/* Only what the kernel itself mapped: a source of an add-on has its own mind about pages. */
static int advise(void *address, size_t size, int advice)
{
    if (cal__os_source() != &system_source)
        return -ENOSYS;
    int saved = errno;
    int error = madvise(address, size, advice) == 0 ? 0 : -errno;
    errno = saved;
    return error;
}

void cal__os_advise_huge(void *address, size_t size)
{
    advise(address, size, MADV_HUGEPAGE);
}

int cal__os_populate(void *address, size_t size)
{
    return advise(address, size, MADV_POPULATE_WRITE);
}

bool cal__os_move(void *address, size_t size, void *destination)
{
    int saved = errno;
    bool done = cal__os_source()->remap(address, size, size, destination) == 0;
    errno = saved;
    /* DESTINATION was counted when it was mapped and is replaced; the old range is gone. */
    if (done)
        count_unmapped(size);
    return done;
}

size_t cal__os_mapped(void)
{
    return atomic_load_explicit(&mapped_bytes, memory_order_relaxed);
}

size_t cal__os_mapped_peak(void)
{
    return atomic_load_explicit(&mapped_peak, memory_order_relaxed);
}

uint64_t cal__os_milliseconds(void)
{
    static _Atomic int vdso; /* 0 unknown, 1 there, 2 missing */
    static _Atomic uint64_t calls;
    int known = atomic_load_explicit(&vdso, memory_order_relaxed);
    if (CAL_UNLIKELY(known == 0)) {
        int saved = errno;
        known = getauxval(AT_SYSINFO_EHDR) != 0 ? 1 : 2;
        errno = saved;
        atomic_store_explicit(&vdso, known, memory_order_relaxed);
    }
    struct timespec now;
    if (CAL_LIKELY(known == 1) && clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0)
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}
