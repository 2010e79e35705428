#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory.h"

/* Of Linux 6.13; the headers may be older. */
#ifndef MADV_GUARD_INSTALL
#    define MADV_GUARD_INSTALL 102
#    define MADV_GUARD_REMOVE  103
#endif

enum { PAGE = 4096, PIECE = 64 * PAGE };

static bool add(struct cal__maps *maps, uintptr_t start, uintptr_t end)
{
    if (maps->count != 0 && maps->maps[maps->count - 1].end == start) {
        maps->maps[maps->count - 1].end = end;
        return true;
    }
    size_t bytes = (maps->count + 1) * sizeof *maps->maps;
    if (bytes > maps->mapped) {
        size_t wanted = maps->mapped == 0 ? 64 << 10 : maps->mapped * 2;
        struct cal__map *larger = cal__memory_map(wanted);
        if (larger == NULL)
            return false;
        if (maps->count != 0)
            memcpy(larger, maps->maps, maps->count * sizeof *larger);
        cal__memory_unmap(maps->maps, maps->mapped);
        maps->maps = larger;
        maps->mapped = wanted;
    }
    maps->maps[maps->count++] = (struct cal__map){.start = start, .end = end};
    return true;
}

static uintptr_t hexadecimal(const char **at)
{
    uintptr_t value = 0;
    for (;; (*at)++) {
        char byte = **at;
        if (byte >= '0' && byte <= '9')
            value = value << 4 | (uintptr_t)(byte - '0');
        else if (byte >= 'a' && byte <= 'f')
            value = value << 4 | (uintptr_t)(byte - 'a' + 10);
        else
            return value;
    }
}

/* "start-end rwxp offset …": memory of devices is not looked at, where reading may do something. */
static bool add_line(struct cal__maps *maps, const char *line)
{
    uintptr_t start = hexadecimal(&line);
    line += *line == '-';
    uintptr_t end = hexadecimal(&line);
    bool readable = line[0] == ' ' && line[1] == 'r';
    if (!readable || end >> 48 != 0 || strstr(line, " /dev/") != NULL || strstr(line, "[v") != NULL)
        return true;
    return add(maps, start, end);
}

/* A byte of each page from START to END is read by the kernel, which says where it cannot. How many can be read before
 * one that cannot; negative: it does not tell. */
static long probe(uintptr_t start, uintptr_t end)
{
    struct iovec pages[PIECE / PAGE];
    char bytes[PIECE / PAGE];
    size_t count = 0;
    for (uintptr_t page = start; page < end; page += PAGE)
        pages[count++] = (struct iovec){.iov_base = (void *)page, .iov_len = 1};
    struct iovec local = {.iov_base = bytes, .iov_len = count};
    int saved = errno;
    /* Not the process's number, whose first thread may have ended. */
    long got = syscall(SYS_process_vm_readv, (int)syscall(SYS_gettid), &local, 1, pages, count, 0);
    if (got < 0 && errno == EFAULT)
        got = 0;
    errno = saved;
    return got;
}

/* False: the kernel does not tell. */
static bool look_at_piece(struct cal__piece *piece, uintptr_t start, uintptr_t end)
{
    for (uintptr_t page = start; page < end; page += PAGE) {
        long count = probe(page, end);
        if (count < 0)
            return false;
        for (; count > 0; count--, page += PAGE)
            piece->pages |= UINT64_C(1) << (page - start) / PAGE;
    }
    piece->known = true;
    return true;
}

static size_t page_bytes(void)
{
    return getauxval(AT_PAGESZ);
}

/* The last whole page is there for has_guards(). */
static size_t pieces_bytes(const struct cal__maps *maps)
{
    return maps->pieces_count * sizeof *maps->pieces + 2 * page_bytes();
}

/* A kernel without such guards has none. */
static bool has_guards(const struct cal__maps *maps)
{
    uintptr_t end = (uintptr_t)maps->pieces + pieces_bytes(maps);
    void *page = (void *)((end & ~(page_bytes() - 1)) - page_bytes());
    int saved = errno;
    /* Of a process that has locked all its memory this page is locked too, and takes no guard. */
    munlock(page, page_bytes());
    bool has = madvise(page, page_bytes(), MADV_GUARD_INSTALL) == 0 &&
               madvise(page, page_bytes(), MADV_GUARD_REMOVE) == 0;
    errno = saved;
    return has;
}

static void end_pieces(struct cal__maps *maps)
{
    cal__memory_unmap(maps->pieces, pieces_bytes(maps));
    maps->pieces = NULL;
}

/* Without memory for them all pages are taken for readable. */
static void begin_pieces(struct cal__maps *maps)
{
    for (size_t i = 0; i < maps->count; i++) {
        struct cal__map *map = &maps->maps[i];
        map->piece = maps->pieces_count;
        maps->pieces_count += map->end / PIECE - map->start / PIECE + 1;
    }
    maps->pieces = cal__memory_map(pieces_bytes(maps));
    if (maps->pieces != NULL && !has_guards(maps))
        end_pieces(maps);
}

bool cal__maps_read(struct cal__maps *maps)
{
    char bytes[8192] = "";
    size_t used = 0;
    long part;
    bool good = true;
    *maps = (struct cal__maps){.count = 0};
    int file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    while (good && (part = syscall(SYS_read, file, bytes + used, sizeof bytes - 1 - used)) > 0) {
        char *line = bytes, *end;
        used += (size_t)part;
        bytes[used] = '\0';
        while (good && (end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            good = add_line(maps, line);
            line = end + 1;
        }
        used -= (size_t)(line - bytes);
        memmove(bytes, line, used);
        /* A path that is longer than that: what matters comes before it. */
        if (used > sizeof bytes / 2)
            used = sizeof bytes / 2;
    }
    syscall(SYS_close, file);
    if (good)
        begin_pieces(maps);
    else
        cal__maps_free(maps);
    return good;
}

void cal__maps_free(struct cal__maps *maps)
{
    cal__memory_unmap(maps->maps, maps->mapped);
    end_pieces(maps);
    *maps = (struct cal__maps){.count = 0};
}

const struct cal__map *cal__maps_find(struct cal__maps *maps, uintptr_t address)
{
    if (maps->last < maps->count && address >= maps->maps[maps->last].start &&
        address < maps->maps[maps->last].end)
        return &maps->maps[maps->last];
    size_t low = 0, high = maps->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (maps->maps[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == maps->count || address < maps->maps[low].start)
        return NULL;
    maps->last = low;
    return &maps->maps[low];
}

uintptr_t cal__maps_readable(struct cal__maps *maps, const struct cal__map *map, uintptr_t start,
                             uintptr_t end)
{
    end = end < map->end ? end : map->end;
    if (maps->pieces == NULL)
        return end;
    uintptr_t from = start & ~(uintptr_t)(PIECE - 1), to = from + PIECE;
    struct cal__piece *piece = &maps->pieces[map->piece + start / PIECE - map->start / PIECE];
    from = from > map->start ? from : map->start;
    if (!piece->known && !look_at_piece(piece, from, to < map->end ? to : map->end)) {
        end_pieces(maps);
        return end;
    }
    uint64_t pages = piece->pages >> (start - from) / PAGE;
    unsigned readable = ~pages == 0 ? PIECE / PAGE : (unsigned)__builtin_ctzll(~pages);
    uintptr_t stop = (start & ~(uintptr_t)(PAGE - 1)) + readable * PAGE;
    to = to < end ? to : end;
    return readable == 0 ? start : stop < to ? stop : to;
}
