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

static void check(struct piece name, const char *item, struct text *complaints)
{
    if (strchr(item, ',') != NULL)
        text_format(complaints, "'%s' is more than one option\n", item);
    else if (name.length == 0 || item[name.length] == '\0')
        text_format(complaints, "'%s' is not of the form name=value\n", item);
    else if (piece_begins(name, "secure."))
        options_check_secure(item, complaints);
    else if (memchr(name.bytes, '.', name.length) == NULL)
        options_check_core(item, complaints);
}

bool options_check(const char *item, struct text *complaints)
{
    struct piece name = {item, strcspn(item, "=")};
    size_t before = complaints->length;
    check(name, item, complaints);
    return complaints->length == before;
}
