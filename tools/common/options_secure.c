#include <conf.h>
#include <string.h>

#include "capture.h"
#include "options.h"

_Static_assert(sizeof OPTIONS_CONF_PATH == sizeof CAL_CONF_PATH, "the same file");

static const char prefix[] = "secure.";
enum { PREFIX = sizeof prefix - 1 };

/* The items of CALLOC_OPTIONS that the core would hand out. */
static void take_items(const char *text, struct cal__settings_draft *draft)
{
    static const struct cal__settings_place place = {.file = NULL};
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        if (length >= PREFIX && memcmp(text, prefix, PREFIX) == 0)
            cal__settings_item(draft, text + PREFIX, length - PREFIX, &place);
        text += length + (text[length] == ',');
    }
}

static void collect(const struct option_source *source, struct cal__settings *settings,
                    struct text *complaints)
{
    struct cal__settings_draft draft = {.given = 0}, given = {.given = 0};
    capture_lines(complaints);
    cal__conf_file(&draft, source->file, source->program);
    take_items(source->options, &given);
    capture_lines(NULL);
    cal__settings_merge(&draft, &given);
    cal__settings_finish(&draft, settings);
}

static void write_value(unsigned index, const struct cal__setting_information *about,
                        uint64_t value, struct text *text)
{
    const char *word = cal__settings_word(index, value);
    if (word != NULL)
        text_string(text, word);
    else
        options_write_value(value, strcmp(about->type, "bytes") == 0, text);
}

void options_visit_secure(const struct option_source *source, option_visitor *visit, void *data,
                          struct text *complaints)
{
    struct cal__settings settings;
    struct cal__setting_information about;
    struct text name = {.length = 0}, now = {.length = 0}, usual = {.length = 0};
    collect(source, &settings, complaints);
    for (unsigned i = 0; cal__settings_describe(i, &about); i++) {
        uint64_t value;
        memcpy(&value, (const char *)&settings + about.offset, sizeof value);
        text_clear(&name);
        text_clear(&now);
        text_clear(&usual);
        text_format(&name, "%s%s", prefix, about.name);
        write_value(i, &about, value, &now);
        write_value(i, &about, about.standard[settings.level % CAL_LEVELS], &usual);
        struct option_fact fact = {text_get(&name), text_get(&now), text_get(&usual), about.help};
        visit(&fact, data);
    }
    text_free(&name);
    text_free(&now);
    text_free(&usual);
}

static struct option_secure summarize(const struct cal__settings *settings)
{
    struct cal__setting_information about;
    struct option_secure result = {.enable = settings->enable != 0, .level = "?"};
    for (unsigned i = 0; cal__settings_describe(i, &about); i++)
        if (about.offset == offsetof(struct cal__settings, level))
            result.level = cal__settings_word(i, settings->level);
    return result;
}

struct option_secure options_secure(const struct option_source *source, struct text *complaints)
{
    struct cal__settings settings;
    collect(source, &settings, complaints);
    return summarize(&settings);
}

struct option_secure options_secure_text(struct piece text, const char *name,
                                         struct text *complaints)
{
    struct cal__settings_draft draft = {.given = 0};
    struct cal__settings settings;
    capture_lines(complaints);
    cal__conf_text(&draft, name, text.bytes, text.length, "");
    capture_lines(NULL);
    cal__settings_finish(&draft, &settings);
    return summarize(&settings);
}

void options_check_secure(const char *item, struct text *complaints)
{
    capture_lines(complaints);
    take_items(item, NULL);
    capture_lines(NULL);
}
