#include <options.h>

#include "capture.h"
#include "options.h"

static const struct cal__options standard = {
#define OPTION(name, type, standard, minimum, maximum, help) .name = standard,
#include <options.def>
#undef OPTION
};

enum { type_number, type_bytes };

static void parse(const char *text, struct text *complaints)
{
    cal__options = standard;
    capture_lines(complaints);
    cal__options_parse(text);
    capture_lines(NULL);
}

static void show(const char *name, const char *help, bool bytes, uint64_t value, uint64_t usual,
                 option_visitor *visit, void *data)
{
    struct text now = {.length = 0}, before = {.length = 0};
    options_write_value(value, bytes, &now);
    options_write_value(usual, bytes, &before);
    struct option_fact fact = {name, text_get(&now), text_get(&before), help};
    visit(&fact, data);
    text_free(&now);
    text_free(&before);
}

void options_visit_core(const struct option_source *source, option_visitor *visit, void *data,
                        struct text *complaints)
{
    parse(source->options, complaints);
#define OPTION(name, type, usual, minimum, maximum, help) \
    show(#name, help, type_##type == type_bytes, cal__options.name, standard.name, visit, data);
#include <options.def>
#undef OPTION
}

void options_check_core(const char *item, struct text *complaints)
{
    parse(item, complaints);
}
