#include <src/note.h>
#include <src/settings.h>
#include <string.h>

#include "capture.h"
#include "options.h"

static const char prefix[] = "track.";
enum { PREFIX = sizeof prefix - 1 };

enum { type_number, type_bytes };

/* As they are before anything is given. */
static const struct cal__track_settings standard = {
#define NUMBER(name, type, usual, minimum, maximum, help) .name = (usual),
#define TEXT(name, usual, help)                           .name = usual,
#include <src/settings.def>
#undef NUMBER
#undef TEXT
};

/* The library's line about a mistake, see capture.h. */
void __real_cal__note_write(struct cal__note *note, int descriptor);
void __wrap_cal__note_write(struct cal__note *note, int descriptor);

void __wrap_cal__note_write(struct cal__note *note, int descriptor)
{
    if (!capture_line((struct piece){note->bytes, note->length}))
        __real_cal__note_write(note, descriptor);
}

/* The items of CALLOC_OPTIONS that the core would hand out. */
static void parse(const char *text, struct text *complaints)
{
    cal__track_settings = standard;
    capture_lines(complaints);
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        if (length >= PREFIX && memcmp(text, prefix, PREFIX) == 0)
            cal__track_settings_item(text + PREFIX, length - PREFIX);
        text += length + (text[length] == ',');
    }
    capture_lines(NULL);
}

static void show_number(const char *name, const char *help, bool bytes, uint64_t value,
                        uint64_t usual, option_visitor *visit, void *data)
{
    struct text now = {.length = 0}, before = {.length = 0};
    options_write_value(value, bytes, &now);
    options_write_value(usual, bytes, &before);
    struct option_fact fact = {name, text_get(&now), text_get(&before), help};
    visit(&fact, data);
    text_free(&now);
    text_free(&before);
}

void options_visit_track(const struct option_source *source, option_visitor *visit, void *data,
                         struct text *complaints)
{
    parse(source->options, complaints);
#define NUMBER(name, type, usual, minimum, maximum, help)                                  \
    show_number("track." #name, help, type_##type == type_bytes, cal__track_settings.name, \
                standard.name, visit, data);
#define TEXT(name, usual, help) \
    visit(&(struct option_fact){"track." #name, cal__track_settings.name, usual, help}, data);
#include <src/settings.def>
#undef NUMBER
#undef TEXT
}

void options_check_track(const char *item, struct text *complaints)
{
    parse(item, complaints);
}
