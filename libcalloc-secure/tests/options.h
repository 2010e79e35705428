/* CALLOC_OPTIONS without a core that hands out its items. */
#ifndef TEST_OPTIONS_H
#define TEST_OPTIONS_H

#include <string.h>

#include "settings.h"

/* The items of TEXT that begin with "secure.", as the core hands them out. */
static inline void hand_out(struct cal__settings_draft *draft, const char *text)
{
    static const struct cal__settings_place place = {.file = NULL};
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        if (length >= 7 && memcmp(text, "secure.", 7) == 0)
            cal__settings_item(draft, text + 7, length - 7, &place);
        text += length + (text[length] == ',');
    }
}

#endif
