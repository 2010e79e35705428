/* A kernel with pages of 16 or 64 KiB, as some have on ARM: this program has functions in the place of libc's that say
 * so, and refuse what such a kernel refuses. TEST_PAGE says how large they are. */
#include "cases.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { PAGE_LEAST = 4096 };
static size_t page;
static size_t refused; /* calls whose address is not that of a page */

/* The first call comes before libc has set anything up: at the end of the stack are argc, argv, NULL, envp, NULL and
 * the vector (System V ABI, 3.4.1). */
extern void *__libc_stack_end;

unsigned long getauxval(unsigned long type)
{
    uintptr_t *next = __libc_stack_end;
    next += 1 + next[0] + 1;
    static const char name[] = "TEST_PAGE=";
    for (; *next != 0; next++)
        if (page == 0 && strncmp((const char *)*next, name, sizeof name - 1) == 0)
            page = strtoul((const char *)*next + sizeof name - 1, NULL, 10);
    if (type == AT_PAGESZ)
        return page;
    for (next++; next[0] != AT_NULL; next += 2)
        if (next[0] == type)
            return next[1];
    return 0;
}

static size_t round_up(size_t length)
{
    return (length + page - 1) & ~(page - 1);
}

static bool is_refused(const void *address)
{
    if ((uintptr_t)address % (page != 0 ? page : PAGE_LEAST) == 0)
        return false;
    refused++;
    errno = EINVAL;
    return true;
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset)
{
    if ((flags & MAP_FIXED) != 0 && is_refused(address))
        return MAP_FAILED;
    length = round_up(length);
    bool fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    size_t more = fixed ? 0 : page;
    char *memory = (char *)syscall(SYS_mmap, fixed ? address : NULL, length + more, protection,
                                   flags, descriptor, offset);
    if (memory == MAP_FAILED || fixed)
        return memory;
    char *aligned = (char *)round_up((uintptr_t)memory);
    if (aligned != memory)
        syscall(SYS_munmap, memory, aligned - memory);
    if (aligned != memory + more)
        syscall(SYS_munmap, aligned + length, memory + more - aligned);
    return aligned;
}

int munmap(void *address, size_t length)
{
    return is_refused(address) ? -1 : (int)syscall(SYS_munmap, address, round_up(length));
}

int mprotect(void *address, size_t length, int protection)
{
    return is_refused(address) ? -1
                               : (int)syscall(SYS_mprotect, address, round_up(length), protection);
}

int madvise(void *address, size_t length, int advice)
{
    return is_refused(address) ? -1 : (int)syscall(SYS_madvise, address, round_up(length), advice);
}

/* Whether one byte can be written: asked of the kernel, which answers EFAULT instead. */
static bool can_touch(char *address)
{
    int ends[2];
    require(pipe(ends) == 0);
    bool can = write(ends[1], address, 1) == 1 && read(ends[0], address, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return can;
}

static void the_heap_is_sound(void)
{
    enum { PLACES = 500 };
    static unsigned char *blocks[PLACES];
    uint64_t seed = 11;
    for (size_t i = 0; i < 20000; i++) {
        uint64_t number = next_number(&seed);
        size_t size = (number >> 20) % (number % 50 == 0 ? 900000 : 4000);
        unsigned char **place = &blocks[(number >> 8) % PLACES];
        free(*place);
        require((*place = calloc(1, size)) != NULL && is_zero(*place, size));
        memset(*place, 7, size);
    }
    for (size_t i = 0; i < PLACES; i++)
        free(blocks[i]);
    malloc_trim(0);
    require(cal_secure_validate() == 0);
    /* Nothing was asked for that such a kernel has to refuse. */
    require(page > PAGE_LEAST && refused == 0);
}

static void large_blocks_have_guards(void)
{
    static const size_t sizes[] = {131073, 200000, 262144, 1000001};
    size_t before = state_now().guards_refused;
    for (size_t i = 0; i < 4; i++) {
        char *block = malloc(sizes[i]);
        require(block != NULL);
        memset(block, 1, sizes[i]);
        size_t end = (uintptr_t)block + sizes[i];
        require((round_up(end) - end) < 16);
        require(can_touch(block) && can_touch(block + sizes[i] - 1));
        require(!can_touch((char *)round_up(end)));
        /* At light only before those that start with a page. */
        if (cal_secure_level() != CAL_SECURE_LIGHT || (uintptr_t)block % page == 0)
            require(!can_touch((char *)(((uintptr_t)block & ~(page - 1)) - 1)));
        free(block);
    }
    require(state_now().guards_refused == before && refused == 0);
    the_heap_is_sound();
}

/* Where a slab is no longer than a page it has none. */
static void slabs_have_guards(void)
{
    enum { BLOCKS = 20000 };
    size_t guards = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        char *block = malloc(1000);
        require(block != NULL);
        memset(block, 1, 1000);
        const struct cal_slab *slab = slab_of(block);
        guards += !can_touch((char *)slab->address + slab->length - 1);
    }
    require((guards != 0) == (page < 65536));
    the_heap_is_sound();
}

static void blocks_have_their_own_pages(void)
{
    static const size_t sizes[] = {0, 1, 100, 16384, 20000, 65536, 100000, 131072};
    for (size_t round = 0; round < 50; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char *block = malloc(sizes[i]);
            require(block != NULL);
            memset(block, 1, sizes[i]);
            size_t end = (uintptr_t)block + sizes[i];
            require(sizes[i] == 0 || !can_touch((char *)round_up(end)));
            require(sizes[i] != 0 || !can_touch(block));
            free(block);
            require(!can_touch(block));
        }
    the_heap_is_sound();
}

#define LIGHT    "secure.level=light"
#define STANDARD "secure.level=standard"
#define PARANOID "secure.level=paranoid"
#define PROTECT  ",secure.guard_protect_only=1"
/* clang-format off */
static const struct test_case cases[] = {
    {"large_blocks_have_guards light", LIGHT, large_blocks_have_guards, 0, true, 0},
    {"large_blocks_have_guards light, protected", LIGHT PROTECT, large_blocks_have_guards, 0, true, 0},
    {"large_blocks_have_guards standard", STANDARD, large_blocks_have_guards, 0, true, 0},
    {"large_blocks_have_guards standard, protected", STANDARD PROTECT, large_blocks_have_guards, 0, true, 0},
    {"slabs_have_guards standard", STANDARD, slabs_have_guards, 0, true, 0},
    {"slabs_have_guards standard, protected", STANDARD PROTECT, slabs_have_guards, 0, true, 0},
    {"blocks_have_their_own_pages paranoid", PARANOID, blocks_have_their_own_pages, 0, true, 0},
    {"blocks_have_their_own_pages paranoid, protected", PARANOID PROTECT, blocks_have_their_own_pages, 0, true, 0},
};
/* clang-format on */

int main(int count, char **arguments)
{
    return run_cases(count, arguments, cases, sizeof cases / sizeof *cases);
}
