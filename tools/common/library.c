#include "library.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "elf_file.h"

/* Programs of every user load it: each folder on the way from the root must let others through, and the file
 * be readable. */
static bool is_open_to_all(const char *root, const char *path, struct text *wrong)
{
    struct stat status = {.st_mode = 0};
    char *part = realpath(path, NULL);
    bool good = part != NULL;
    if (!good)
        text_string(wrong, strerror(errno));
    for (mode_t needed = S_IROTH; good; needed = S_IXOTH) {
        if (stat(*part == '\0' ? "/" : part, &status) != 0) {
            text_format(wrong, "%s: %s", part, strerror(errno));
            good = false;
        } else if ((status.st_mode & needed) == 0) {
            text_format(wrong, "others may not %s %s (mode %04o)",
                        needed == S_IROTH ? "read" : "enter", part, status.st_mode & 07777U);
            good = false;
        }
        char *slash = strrchr(part, '/');
        if (slash == NULL || strlen(part) <= strlen(root))
            break;
        *slash = '\0';
    }
    free(part);
    return good;
}

static bool is_right_file(const char *path, struct piece name, struct text *wrong)
{
    struct elf_facts facts;
    struct piece base = piece_base(name);
    int error = elf_read_path(path, &facts);
    if (error == 0 && elf_is_native(&facts)) {
        if (!facts.is_dynamic)
            text_string(wrong, "is not a shared library");
        else if (!piece_is(base, facts.soname))
            text_format(wrong, "is another library: its soname is '%s'", facts.soname);
        else if (piece_begins(base, "libcalloc.so") &&
                 (error = elf_exports_path(path, "malloc")) == 0)
            text_string(wrong, "does not export malloc");
        else if (error >= 0)
            return true;
    } else if (error == 0) {
        text_string(wrong, "is for another kind of machine");
    }
    if (error < 0)
        text_string(wrong, elf_error(error));
    return false;
}

bool library_is_good(const char *root, struct piece name, struct text *wrong)
{
    struct text path = {.length = 0};
    bool good = component_resolve(root, name, &path);
    if (!good)
        text_string(wrong, "is missing");
    good = good && is_right_file(text_get(&path), name, wrong) &&
           is_open_to_all(root, text_get(&path), wrong);
    text_free(&path);
    return good;
}

/* By name too: the file may be where we do not find it. */
static bool has_name_of_malloc(struct piece name)
{
    static const char *const names[] = {"jemalloc", "tcmalloc", "mimalloc", "hardened_malloc",
                                        "scudo",    "snmalloc", "rpmalloc", "isoalloc",
                                        "hoard",    "mesh.so",  "tbbmalloc"};
    struct piece base = piece_base(name);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (memmem(base.bytes, base.length, names[i], strlen(names[i])) != NULL)
            return true;
    return false;
}

int library_is_malloc(const char *root, struct piece name, struct text *why)
{
    struct text path = {.length = 0};
    int result = component_resolve(root, name, &path) ? elf_exports_path(text_get(&path), "malloc")
                                                      : -ENOENT;
    if (result == 1) {
        text_format(why, "%s has a malloc of its own", text_get(&path));
    } else if (has_name_of_malloc(name)) {
        text_format(why, "%.*s is a malloc by its name", (int)name.length, name.bytes);
        result = 1;
    } else if (result == -ENOENT) {
        text_format(why, "%.*s was not found, so it was not looked at", (int)name.length,
                    name.bytes);
    } else if (result < 0) {
        text_format(why, "%s %s, so ld.so will not load it", text_get(&path), elf_error(result));
    }
    text_free(&path);
    return result < 0 ? -1 : result;
}
