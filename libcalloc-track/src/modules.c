#include "modules.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include <calloc/hooks.h>

#include "clock.h"
#include "memory.h"
#include "mutex.h"
#include "process.h"

enum { CHUNK = 64 };

static struct cal__mutex lock;
static struct cal__module *chunks[CAL_MODULES_MAX / CHUNK];
static _Atomic uint32_t count;
static void (*watch)(const void *block);
static uint64_t started;

uint64_t cal__modules_time(void)
{
    return cal__clock_now(CLOCK_MONOTONIC) - started;
}

void cal__modules_start(void (*watch_block)(const void *block))
{
    started = cal__clock_now(CLOCK_MONOTONIC);
    watch = watch_block;
}

uint32_t cal__modules_count(void)
{
    return atomic_load_explicit(&count, memory_order_acquire);
}

struct cal__module *cal__module(uint32_t number)
{
    return &chunks[number / CHUNK][number % CHUNK];
}

static const char *copy(const char *text)
{
    size_t length = strlen(text);
    char *own = cal__memory_take(length + 1);
    return own == NULL ? "" : memcpy(own, text, length);
}

static const char *path_of(const struct link_map *map)
{
    if (map->l_name != NULL && map->l_name[0] != '\0')
        return copy(map->l_name);
    char path[4096];
    cal__process_program(path, sizeof path);
    return copy(path);
}

static void read_notes(struct cal__module *module, const char *at, size_t length)
{
    while (length >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t name = (note.n_namesz + 3) & ~(size_t)3, content = (note.n_descsz + 3) & ~(size_t)3;
        if (name > length || content > length || sizeof note + name + content > length)
            return;
        const char *bytes = at + sizeof note + name;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(at + sizeof note, "GNU", 4) == 0) {
            module->build_id_length =
                note.n_descsz < CAL_BUILD_ID_MAX ? note.n_descsz : CAL_BUILD_ID_MAX;
            memcpy(module->build_id, bytes, module->build_id_length);
            return;
        }
        at += sizeof note + name + content;
        length -= sizeof note + name + content;
    }
}

/* The build id, from the headers that are mapped at the start of a module. */
static void read_build_id(struct cal__module *module)
{
    const char *start = (const char *)module->start;
    ElfW(Ehdr) header;
    memcpy(&header, start, sizeof header);
    size_t headers = (size_t)header.e_phnum * sizeof(ElfW(Phdr));
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(ElfW(Phdr)) ||
        header.e_phoff > 4096 - sizeof header || header.e_phoff + headers > 4096)
        return;
    for (size_t i = 0; i < header.e_phnum && module->build_id_length == 0; i++) {
        ElfW(Phdr) segment;
        memcpy(&segment, start + header.e_phoff + i * sizeof segment, sizeof segment);
        uintptr_t at = module->bias + segment.p_vaddr;
        if (segment.p_type == PT_NOTE && at >= module->start && segment.p_memsz <= module->end - at)
            read_notes(module, (const char *)at, segment.p_memsz);
    }
}

/* What is part of the program cannot be told from it. */
static bool is_allocator(const struct dl_find_object *object)
{
    uintptr_t start = (uintptr_t)object->dlfo_map_start, end = (uintptr_t)object->dlfo_map_end;
    const uintptr_t inside[] = {(uintptr_t)cal__modules_find, (uintptr_t)cal_hooks_register};
    if (object->dlfo_link_map->l_name == NULL || object->dlfo_link_map->l_name[0] == '\0')
        return false;
    for (size_t i = 0; i < 2; i++)
        if (inside[i] >= start && inside[i] < end)
            return true;
    return false;
}

static void fill(struct cal__module *module, const struct dl_find_object *object)
{
    *module = (struct cal__module){
        .start = (uintptr_t)object->dlfo_map_start,
        .end = (uintptr_t)object->dlfo_map_end,
        .bias = object->dlfo_link_map->l_addr,
        .unwind = object->dlfo_eh_frame,
        .link_map = object->dlfo_link_map,
        .seen = cal__modules_time(),
        .path = path_of(object->dlfo_link_map),
        .hidden = is_allocator(object),
    };
    read_build_id(module);
}

static bool is_gone(const struct cal__module *module)
{
    return atomic_load_explicit(&module->gone, memory_order_relaxed) != 0;
}

/* Under the lock. One that was unloaded and comes back to its place is the one that it was. */
static uint32_t add(const struct dl_find_object *object)
{
    struct cal__module fresh;
    uint32_t known = cal__modules_count();
    fill(&fresh, object);
    for (uint32_t i = 0; i < known; i++) {
        struct cal__module *module = cal__module(i);
        if (is_gone(module) && module->start == fresh.start && module->end == fresh.end &&
            module->bias == fresh.bias && module->build_id_length == fresh.build_id_length &&
            memcmp(module->build_id, fresh.build_id, CAL_BUILD_ID_MAX) == 0 &&
            strcmp(module->path, fresh.path) == 0) {
            module->link_map = fresh.link_map;
            module->unwind = fresh.unwind;
            atomic_store_explicit(&module->gone, 0, memory_order_relaxed);
            return i;
        }
    }
    if (known == CAL_MODULES_MAX)
        return CAL_MODULE_NONE;
    struct cal__module **chunk = &chunks[known / CHUNK];
    if (*chunk == NULL)
        *chunk = cal__memory_take(CHUNK * sizeof **chunk);
    if (*chunk == NULL)
        return CAL_MODULE_NONE;
    *cal__module(known) = fresh;
    atomic_store_explicit(&count, known + 1, memory_order_release);
    return known;
}

uint32_t cal__modules_find(uintptr_t address)
{
    struct dl_find_object object = {.dlfo_flags = 0};
    if (_dl_find_object((void *)address, &object) != 0)
        return CAL_MODULE_NONE;
    uint32_t found = CAL_MODULE_NONE;
    bool fresh = false;
    cal__mutex_acquire(&lock);
    for (uint32_t i = 0; i < cal__modules_count() && found == CAL_MODULE_NONE; i++) {
        const struct cal__module *module = cal__module(i);
        if (!is_gone(module) && module->link_map == object.dlfo_link_map &&
            module->start == (uintptr_t)object.dlfo_map_start)
            found = i;
    }
    if (found == CAL_MODULE_NONE) {
        found = add(&object);
        fresh = found != CAL_MODULE_NONE;
    }
    cal__mutex_release(&lock);
    if (fresh && watch != NULL)
        watch(object.dlfo_link_map);
    return found;
}

uint32_t cal__modules_known(uintptr_t start)
{
    for (uint32_t i = 0; i < cal__modules_count(); i++)
        if (cal__module(i)->start == start && !is_gone(cal__module(i)))
            return i;
    return CAL_MODULE_NONE;
}

bool cal__modules_check(void)
{
    bool changed = false;
    cal__mutex_acquire(&lock);
    for (uint32_t i = 0; i < cal__modules_count(); i++) {
        struct cal__module *module = cal__module(i);
        struct dl_find_object object = {.dlfo_flags = 0};
        if (is_gone(module) || (_dl_find_object((void *)module->start, &object) == 0 &&
                                object.dlfo_link_map == module->link_map))
            continue;
        atomic_store_explicit(&module->gone, cal__modules_time() | 1, memory_order_relaxed);
        changed = true;
    }
    cal__mutex_release(&lock);
    return changed;
}

void cal__modules_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__modules_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}
