#include "options.h"

#include <inttypes.h>
#include <string.h>

void options_write_value(uint64_t value, bool bytes, struct text *text)
{
    static const char *const suffixes[] = {"", "K", "M", "G"};
    unsigned suffix = 0;
    while (bytes && suffix < 3 && value != 0 && value % 1024 == 0)
        value /= 1024, suffix++;
    text_format(text, "%" PRIu64 "%s", value, suffixes[suffix]);
}

/* Whose options begin with what. */
static const struct reader {
    const char *prefix;
    void (*visit)(const struct option_source *source, option_visitor *visit, void *data,
                  struct text *complaints);
    void (*check)(const char *item, struct text *complaints);
} readers[] = {
    {"", options_visit_core, options_check_core},
    {"secure.", options_visit_secure, options_check_secure},
    {"track.", options_visit_track, options_check_track},
};

enum { READERS = sizeof readers / sizeof readers[0] };

void options_visit(const struct option_source *source, option_visitor *visit, void *data,
                   struct text *complaints)
{
    for (size_t i = 0; i < READERS; i++)
        readers[i].visit(source, visit, data, complaints);
}

static void check_by_reader(struct piece name, const char *item, struct text *complaints)
{
    const char *dot = memchr(name.bytes, '.', name.length);
    struct piece prefix = {name.bytes, dot == NULL ? 0 : (size_t)(dot - name.bytes) + 1};
    for (size_t i = 0; i < READERS; i++)
        if (piece_is(prefix, readers[i].prefix))
            readers[i].check(item, complaints);
}

static void check(struct piece name, const char *item, struct text *complaints)
{
    if (strchr(item, ',') != NULL)
        text_format(complaints, "'%s' is more than one option\n", item);
    else if (name.length == 0 || item[name.length] == '\0')
        text_format(complaints, "'%s' is not of the form name=value\n", item);
    else
        check_by_reader(name, item, complaints);
}

bool options_check(const char *item, struct text *complaints)
{
    struct piece name = {item, strcspn(item, "=")};
    size_t before = complaints->length;
    check(name, item, complaints);
    return complaints->length == before;
}
