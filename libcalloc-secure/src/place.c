#include "place.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#if CAL_HAS_FIND_OBJECT
static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool cal__place_find(const void *address, struct cal__place *place)
{
    /* For MemorySanitizer, which does not know the function. */
    struct dl_find_object object = {.dlfo_flags = 0};
    if (_dl_find_object((void *)address, &object) != 0)
        return false;
    const struct link_map *map = object.dlfo_link_map;
    const char *name = map->l_name;
    /* The program itself has none. */
    if (name == NULL || *name == '\0')
        name = (const char *)getauxval(AT_EXECFN);
    if (name == NULL)
        return false;
    *place = (struct cal__place){last_part(name), (uintptr_t)address - map->l_addr};
    return true;
}
#else
bool cal__place_find(const void *address, struct cal__place *place)
{
    (void)address;
    (void)place;
    return false;
}
#endif
