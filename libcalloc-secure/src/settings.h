/* The settings: what settings.def lists, from the level, /etc/calloc/secure.conf (see conf.h) and
 * CALLOC_OPTIONS, of which the core hands out the items; what comes later here wins. A setting that is given stays as it is given, whatever
 * the level, in any order.
 *
 * In CALLOC_OPTIONS the names begin with "secure.": secure.level=standard,secure.on_overflow=log. The
 * rest of its items is the core's.
 *
 * Nothing here allocates. What cannot be used is one line on standard error, and changes nothing. */
#ifndef CAL_SETTINGS_H
#define CAL_SETTINGS_H

#include "base.h"
#include "report.h"

enum cal__level { CAL_LIGHT, CAL_STANDARD, CAL_PARANOID, CAL_LEVELS };

/* In the order of the table. */
struct cal__settings {
#define SETTING(name, type, light, standard, paranoid, minimum, maximum, help) uint64_t name;
#include "settings.def"
#undef SETTING
};

/* Settings while they are collected. All zeros: nothing has been given. */
struct cal__settings_draft {
    struct cal__settings values;
    uint64_t given; /* bit I: the field I of `values` was given */
};

/* Where a setting stands, for the warning. */
struct cal__settings_place {
    const char *file; /* NULL: in CALLOC_OPTIONS */
    unsigned line;
};

/* ITEM is "name=value", without a prefix, or "name = value"; not ended by '\0'. True if it was used; else
 * it was a line on standard error. A PLACE NULL says nothing. DRAFT may be NULL: the item is only looked
 * at. */
bool cal__settings_item(struct cal__settings_draft *draft, const char *item, size_t length,
                        const struct cal__settings_place *place);

/* What OTHER has been given is given to DRAFT, in place of what was there. */
void cal__settings_merge(struct cal__settings_draft *draft,
                         const struct cal__settings_draft *other);

/* What was given, and the defaults of its level for the rest. */
void cal__settings_finish(const struct cal__settings_draft *draft, struct cal__settings *settings);

/* The consequence of a check; CAL_ABORT if what the settings say makes no sense. */
enum cal__consequence cal__settings_consequence(const struct cal__settings *settings,
                                                enum cal__check check);

/* For a print-out: setting INDEX, its name, the default of LEVEL, its range and its help; false when there
 * is none of this number. */
struct cal__setting_information {
    const char *name;
    const char *type;
    const char *help;
    uint64_t standard[CAL_LEVELS];
    uint64_t minimum, maximum;
    size_t offset; /* in struct cal__settings */
};
bool cal__settings_describe(unsigned index, struct cal__setting_information *information);

/* The word for a value of setting INDEX; NULL where its values are numbers. */
const char *cal__settings_word(unsigned index, uint64_t value);

#endif
