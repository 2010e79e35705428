#include "libraries.h"

#include <stdlib.h>
#include <unistd.h>

/* In the folder itself, or in one of the library's name in it, as in a build tree. */
static void name_in_folder(const char *folder, const struct component *component, struct text *name)
{
    char *real = realpath(folder, NULL);
    const char *base = real == NULL ? folder : real;
    text_format(name, "%s/%s", base, component->soname);
    if (access(text_get(name), F_OK) != 0) {
        struct text other = {.length = 0};
        text_format(&other, "%s/%s/%s", base, component->name, component->soname);
        if (access(text_get(&other), F_OK) == 0) {
            text_clear(name);
            text_string(name, text_get(&other));
        }
        text_free(&other);
    }
    free(real);
}

void libraries_name(const char *folder, const struct component *component, struct text *name)
{
    if (folder == NULL)
        folder = getenv(LIBRARIES_VARIABLE);
    if (folder != NULL && *folder != '\0')
        name_in_folder(folder, component, name);
    else
        component_preload_name(component, name);
}
