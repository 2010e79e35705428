/* The settings: what settings.def lists, from the items of CALLOC_OPTIONS that begin with "track.". Nothing here
 * allocates. What cannot be used is one line on standard error, and changes nothing. */
#ifndef CAL_TRACK_SETTINGS_H
#define CAL_TRACK_SETTINGS_H

#include "base.h"

enum { CAL_TEXT_MAX = 1024 };

struct cal__track_settings {
#define NUMBER(name, type, standard, minimum, maximum, help) uint64_t name;
#define TEXT(name, standard, help)                           char name[CAL_TEXT_MAX];
#include "settings.def"
#undef NUMBER
#undef TEXT
};

/* The defaults, and then what is given. */
extern struct cal__track_settings cal__track_settings;

/* ITEM is "name=value" without the prefix, and not ended by '\0'. True if it was used; else it was a line on
 * standard error. */
bool cal__track_settings_item(const char *item, size_t length);

#endif
