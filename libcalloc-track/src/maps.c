#include "maps.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"

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
    maps->maps[maps->count++] = (struct cal__map){start, end};
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

bool cal__maps_read(struct cal__maps *maps)
{
    char bytes[8192] = "";
    size_t used = 0;
    long part;
    bool good = true;
    *maps = (struct cal__maps){.count = 0};
    int file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
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
    if (!good)
        cal__maps_free(maps);
    return good;
}

void cal__maps_free(struct cal__maps *maps)
{
    cal__memory_unmap(maps->maps, maps->mapped);
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
