#include "place.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <sys/auxv.h>

#include "file.h"
#include "own_unwinder.h"

/* It does not see what the loader writes. */
#if defined(__has_feature)
#    if __has_feature(memory_sanitizer)
#        define NOT_INSTRUMENTED __attribute__((no_sanitize("memory")))
#    endif
#endif
#ifndef NOT_INSTRUMENTED
#    define NOT_INSTRUMENTED
#endif

enum { FILES = UINT8_MAX };

struct file {
    uintptr_t start, end;
    uintptr_t base;
    char name[CAL_PLACE_NAME];
    _Atomic bool known; /* the others stay what they are then */
};

/* Only ever filled: there is nothing to lock, and nothing half-done that a signal handler or a forked child could
 * find. Two threads may enter the same. */
static struct file files[FILES];
static _Atomic unsigned entered; /* or more, when there was no place any more */

static char own_name[CAL_PLACE_NAME];

/* The last part of a path. */
static NOT_INSTRUMENTED const char *name_in(const char *path)
{
    const char *name = path;
    for (; *path != '\0'; path++)
        if (*path == '/')
            name = path + 1;
    return name;
}

/* To what is all zeros. */
static NOT_INSTRUMENTED void copy_name(char to[CAL_PLACE_NAME], const char *name)
{
    for (size_t i = 0; i < CAL_PLACE_NAME - 1 && name[i] != '\0'; i++)
        to[i] = name[i];
}

void cal__place_start(void)
{
    /* The loader may be what was started: it has said in AT_EXECFN what it loaded. In the shared library, it has. */
    if (getauxval(AT_BASE) == 0 && cal__has_own_unwinder())
        return;
    int saved = errno;
    char path[PATH_MAX];
    if (cal__file_link("/proc/self/exe", path, sizeof path) != 0)
        copy_name(own_name, name_in(path));
    errno = saved;
}

static NOT_INSTRUMENTED const char *name_of(const struct link_map *map)
{
    /* The program itself has none. */
    if (map->l_name != NULL && *map->l_name != '\0')
        return name_in(map->l_name);
    if (*own_name != '\0')
        return own_name;
    const char *path = (const char *)getauxval(AT_EXECFN);
    return path == NULL ? NULL : name_in(path);
}

/* The name of the file, or NULL where there is none. */
static NOT_INSTRUMENTED const char *find(const void *address, struct dl_find_object *object)
{
    return _dl_find_object((void *)address, object) == 0 ? name_of(object->dlfo_link_map) : NULL;
}

NOT_INSTRUMENTED bool cal__place_find(const void *address, struct cal__place *place)
{
    struct dl_find_object object;
    const char *name = find(address, &object);
    if (name == NULL)
        return false;
    *place = (struct cal__place){.offset = (uintptr_t)address - object.dlfo_link_map->l_addr};
    copy_name(place->file, name);
    return true;
}

/* As far as there was room for it. */
static NOT_INSTRUMENTED bool is_named(const struct file *file, const char *name)
{
    for (size_t i = 0; i < CAL_PLACE_NAME - 1; i++) {
        if (file->name[i] != name[i])
            return false;
        if (name[i] == '\0')
            return true;
    }
    return true;
}

static NOT_INSTRUMENTED uint8_t enter(const struct dl_find_object *object, const char *name)
{
    unsigned place = atomic_load_explicit(&entered, memory_order_relaxed);
    if (place >= FILES)
        return 0;
    place = atomic_fetch_add_explicit(&entered, 1, memory_order_relaxed);
    if (place >= FILES)
        return 0;
    struct file *file = &files[place];
    file->start = (uintptr_t)object->dlfo_map_start;
    file->end = (uintptr_t)object->dlfo_map_end;
    file->base = object->dlfo_link_map->l_addr;
    copy_name(file->name, name);
    atomic_store_explicit(&file->known, true, memory_order_release);
    return (uint8_t)(place + 1);
}

NOT_INSTRUMENTED uint8_t cal__place_remember(const void *address)
{
    struct dl_find_object object;
    const char *name = find(address, &object);
    if (name == NULL)
        return 0;
    unsigned count = atomic_load_explicit(&entered, memory_order_relaxed);
    for (unsigned i = 0; i < count && i < FILES; i++)
        if (atomic_load_explicit(&files[i].known, memory_order_acquire) &&
            files[i].start == (uintptr_t)object.dlfo_map_start &&
            files[i].end == (uintptr_t)object.dlfo_map_end && is_named(&files[i], name))
            return (uint8_t)(i + 1);
    return enter(&object, name);
}

bool cal__place_recall(uint8_t file, const void *address, struct cal__place *place)
{
    if (file == 0)
        return false;
    *place = (struct cal__place){.offset = (uintptr_t)address - files[file - 1].base};
    copy_name(place->file, files[file - 1].name);
    return true;
}
