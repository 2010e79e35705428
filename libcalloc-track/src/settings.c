#include "settings.h"

#include <string.h>
#include <unistd.h>

#include "note.h"

struct cal__track_settings cal__track_settings = {
#define NUMBER(name, type, standard, minimum, maximum, help) .name = (standard),
#define TEXT(name, standard, help)                           .name = standard,
#include "settings.def"
#undef NUMBER
#undef TEXT
};

enum type { type_number, type_bytes, type_text };

static const struct setting {
    const char *name;
    enum type type;
    size_t offset;
    uint64_t minimum;
    uint64_t maximum;
} table[] = {
#define NUMBER(name, type, standard, minimum, maximum, help) \
    {#name, type_##type, offsetof(struct cal__track_settings, name), minimum, maximum},
#define TEXT(name, standard, help) \
    {#name, type_text, offsetof(struct cal__track_settings, name), 0, CAL_TEXT_MAX - 1},
#include "settings.def"
#undef NUMBER
#undef TEXT
};

static bool parse(const struct setting *setting, const char *text, size_t length, uint64_t *value)
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
        setting->type == type_bytes && i + 1 == length ? memchr(suffixes, text[i], 3) : NULL;
    if (suffix != NULL) {
        unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (number > UINT64_MAX >> shift)
            return false;
        number <<= shift;
        i++;
    }
    *value = number;
    return i == length && number >= setting->minimum && number <= setting->maximum;
}

static void warn(const char *what, const char *item, size_t length, const struct setting *setting)
{
    struct cal__note note = {.length = 0};
    cal__note_string(&note, "libcalloc: ");
    cal__note_string(&note, what);
    cal__note_string(&note, " 'track.");
    cal__note_foreign(&note, item, length);
    cal__note_string(&note, "' in CALLOC_OPTIONS, ignored");
    if (setting != NULL && setting->type == type_text) {
        cal__note_string(&note, " (up to ");
        cal__note_decimal(&note, setting->maximum);
        cal__note_string(&note, " bytes)");
    } else if (setting != NULL) {
        cal__note_string(&note, " (");
        cal__note_decimal(&note, setting->minimum);
        cal__note_string(&note, " to ");
        cal__note_decimal(&note, setting->maximum);
        if (setting->type == type_bytes)
            cal__note_string(&note, ", or with K, M or G");
        cal__note_string(&note, ")");
    } else {
        cal__note_string(&note, " (libcalloc-track(7) lists them)");
    }
    cal__note_write(&note, STDERR_FILENO);
}

static bool use(const struct setting *setting, const char *text, size_t length)
{
    char *place = (char *)&cal__track_settings + setting->offset;
    uint64_t value;
    if (setting->type == type_text) {
        if (length > setting->maximum)
            return false;
        memcpy(place, text, length);
        place[length] = '\0';
        return true;
    }
    if (!parse(setting, text, length, &value))
        return false;
    memcpy(place, &value, sizeof value);
    return true;
}

bool cal__track_settings_item(const char *item, size_t length)
{
    const char *equals = memchr(item, '=', length);
    size_t name_length = equals == NULL ? length : (size_t)(equals - item);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct setting *setting = &table[i];
        if (strlen(setting->name) != name_length || memcmp(item, setting->name, name_length) != 0)
            continue;
        if (equals != NULL && use(setting, equals + 1, length - name_length - 1))
            return true;
        warn("bad value", item, length, setting);
        return false;
    }
    warn("unknown setting", item, length, NULL);
    return false;
}
