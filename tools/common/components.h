/* The libraries of the family that can be preloaded, as the build knows them (components.def, made by
 * Meson from the table of components and each VERSION), and where they are. */
#ifndef TOOLS_COMPONENTS_H
#define TOOLS_COMPONENTS_H

#include "text.h"

struct component {
    const char *key;     /* "core", "secure" */
    const char *name;    /* "libcalloc-secure" */
    const char *version; /* "1.0.0" */
    const char *soname;  /* "libcalloc-secure.so.1" */
    bool everywhere;     /* makes sense in every program of a system */
};

/* The core comes first, as in every list of libraries to preload. */
enum component_index {
#define COMPONENT(key, name, version, major, everywhere) COMPONENT_##key,
#include "components.def"
#undef COMPONENT
    COMPONENTS
};

extern const struct component components[COMPONENTS];

/* The index of a key; -1 where there is none. */
int component_find(struct piece key);
/* "core, secure": the keys of all, or of those for everywhere; for messages. */
void component_list(struct text *text, bool everywhere);

/* A set of components, bit I for the component I. The core is in every one. */
typedef unsigned component_set;

/* Adds the keys of a list such as "secure,track" to a set. False where one is not known; *WRONG is it. */
bool component_parse(const char *list, component_set *set, struct piece *wrong);

/* Whether a name in a list of preloaded libraries is one of the family's, of whatever soname and in
 * whatever folder. */
bool component_is_ours(struct piece name);

/* How ld.so is told of an installed library: by an absolute path, as it looks for bare names in programs
 * with more rights only where the file has the setuid bit. Where the folder is the one that "$LIB" stands
 * for, with that: then programs of another architecture look for the library of theirs. */
void component_preload_name(const struct component *component, struct text *text);

/* The path of a name from a list of preloaded libraries for programs of this architecture: with what $LIB
 * stands for, below ROOT ("" for /). A name without '/' is looked for where ld.so looks, but for
 * ld.so.cache. False where there is no such file. */
bool component_resolve(const char *root, struct piece name, struct text *path);

#endif
