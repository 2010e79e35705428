#include "settings.h"

#include <string.h>
#include <unistd.h>

#include "line.h"

enum type { type_number, type_bytes, type_level, type_consequence };

static const struct {
    const char *name;
    enum type type;
    struct cal__setting_information information;
} table[] = {
#define SETTING(name, type, light, standard, paranoid, minimum, maximum, help) \
    {#name,                                                                    \
     type_##type,                                                              \
     {#name,                                                                   \
      #type,                                                                   \
      help,                                                                    \
      {light, standard, paranoid},                                             \
      minimum,                                                                 \
      maximum,                                                                 \
      offsetof(struct cal__settings, name)}},
#include "settings.def"
#undef SETTING
};

enum { COUNT = sizeof table / sizeof table[0] };

_Static_assert(COUNT <= 64, "a bit for each setting");
_Static_assert(sizeof(struct cal__settings) == COUNT * sizeof(uint64_t), "a word for each");

#define WITHIN(value, minimum, maximum) \
    ((uint64_t)(value) <= (maximum) && ((minimum) == 0 || (uint64_t)(value) >= (minimum)))
#define SETTING(name, type, light, standard, paranoid, minimum, maximum, help)              \
    _Static_assert(WITHIN(light, minimum, maximum) && WITHIN(standard, minimum, maximum) && \
                       WITHIN(paranoid, minimum, maximum),                                  \
                   "the defaults of " #name " are in its range");
#include "settings.def"
#undef SETTING

/* By type, in the order of their values. */
static const char *const words[][3] = {
    [type_level] = {"light", "standard", "paranoid"},
    [type_consequence] = {"abort", "log", "ignore"},
};

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static bool parse_word(enum type type, const char *text, size_t length, uint64_t *value)
{
    for (size_t i = 0; i < 3; i++) {
        if (is_word(text, length, words[type][i])) {
            *value = i;
            return true;
        }
    }
    return false;
}

static bool parse_number(enum type type, const char *text, size_t length, uint64_t *value)
{
    uint64_t number = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        if (number > (UINT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (i == 0)
        return false;
    static const char suffixes[] = "KMG";
    const char *suffix =
        type == type_bytes && i + 1 == length ? memchr(suffixes, text[i], 3) : NULL;
    if (suffix != NULL) {
        unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (number > UINT64_MAX >> shift)
            return false;
        number <<= shift;
        i++;
    }
    *value = number;
    return i == length;
}

static bool parse_value(unsigned index, const char *text, size_t length, uint64_t *value)
{
    const struct cal__setting_information *about = &table[index].information;
    enum type type = table[index].type;
    if (type == type_level || type == type_consequence)
        return parse_word(type, text, length, value);
    return parse_number(type, text, length, value) && *value >= about->minimum &&
           *value <= about->maximum;
}

static void say_range(struct cal__line *line, unsigned index)
{
    const struct cal__setting_information *about = &table[index].information;
    enum type type = table[index].type;
    cal__line_string(line, " (");
    if (type == type_level || type == type_consequence) {
        cal__line_string(line, words[type][0]);
        cal__line_string(line, ", ");
        cal__line_string(line, words[type][1]);
        cal__line_string(line, " or ");
        cal__line_string(line, words[type][2]);
    } else {
        cal__line_decimal(line, about->minimum);
        cal__line_string(line, " to ");
        cal__line_decimal(line, about->maximum);
        if (type == type_bytes)
            cal__line_string(line, ", or with K, M or G");
    }
    cal__line_string(line, ")");
}

/* INDEX is what was meant, or COUNT. */
static void warn(const char *what, const char *item, size_t length, unsigned index,
                 const struct cal__settings_place *place)
{
    if (place == NULL)
        return;
    struct cal__line line = {.length = 0};
    cal__line_string(&line, "libcalloc: ");
    if (place->file != NULL) {
        cal__line_string(&line, place->file);
        cal__line_string(&line, ":");
        cal__line_decimal(&line, place->line);
        cal__line_string(&line, ": ");
    }
    cal__line_string(&line, what);
    cal__line_string(&line, place->file != NULL ? " '" : " 'secure.");
    cal__line_foreign(&line, item, length);
    cal__line_string(&line, place->file != NULL ? "', ignored" : "' in CALLOC_OPTIONS, ignored");
    if (index < COUNT)
        say_range(&line, index);
    else
        cal__line_string(&line, " (libcalloc-secure(7) lists them)");
    cal__line_write(&line, STDERR_FILENO);
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

bool cal__settings_item(struct cal__settings_draft *draft, const char *item, size_t length,
                        const struct cal__settings_place *place)
{
    const char *equals = memchr(item, '=', length);
    size_t name_length = equals == NULL ? length : (size_t)(equals - item);
    size_t from = equals == NULL ? length : name_length + 1;
    while (name_length > 0 && is_blank(item[name_length - 1]))
        name_length--;
    while (from < length && is_blank(item[from]))
        from++;
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t value;
        if (!is_word(item, name_length, table[i].name))
            continue;
        if (equals == NULL || !parse_value(i, item + from, length - from, &value)) {
            warn("bad value", item, length, i, place);
            return false;
        }
        if (draft != NULL) {
            memcpy((char *)&draft->values + table[i].information.offset, &value, sizeof value);
            draft->given |= UINT64_C(1) << i;
        }
        return true;
    }
    warn("unknown setting", item, length, COUNT, place);
    return false;
}

void cal__settings_merge(struct cal__settings_draft *draft, const struct cal__settings_draft *other)
{
    for (unsigned i = 0; i < COUNT; i++) {
        size_t offset = table[i].information.offset;
        if ((other->given >> i & 1) != 0)
            memcpy((char *)&draft->values + offset, (const char *)&other->values + offset,
                   sizeof(uint64_t));
    }
    draft->given |= other->given;
}

void cal__settings_finish(const struct cal__settings_draft *draft, struct cal__settings *settings)
{
    uint64_t level = draft->values.level < CAL_LEVELS ? draft->values.level : CAL_PARANOID;
    for (unsigned i = 0; i < COUNT; i++) {
        size_t offset = table[i].information.offset;
        uint64_t value = table[i].information.standard[level];
        if ((draft->given >> i & 1) != 0)
            memcpy(&value, (const char *)&draft->values + offset, sizeof value);
        memcpy((char *)settings + offset, &value, sizeof value);
    }
}

enum cal__consequence cal__settings_consequence(const struct cal__settings *settings,
                                                enum cal__check check)
{
    uint64_t value = CAL_ABORT;
    switch (check) {
#define CHECK(name, phrase, help)    \
    case CAL_CHECK_##name:           \
        value = settings->on_##name; \
        break;
#include "report.def"
#undef CHECK
    case CAL_CHECKS:
        break;
    }
    return value < CAL_CONSEQUENCES ? (enum cal__consequence)value : CAL_ABORT;
}

bool cal__settings_describe(unsigned index, struct cal__setting_information *information)
{
    if (index >= COUNT)
        return false;
    *information = table[index].information;
    return true;
}

const char *cal__settings_word(unsigned index, uint64_t value)
{
    bool is_word = index < COUNT && words[table[index].type][0] != NULL;
    return is_word && value < 3 ? words[table[index].type][value] : NULL;
}
