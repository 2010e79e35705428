#include "options.h"

#include <inttypes.h>
#include <string.h>

void options_write_value(uint64_t value, bool bytes, struct text *text)
{
    static const char suffixes[] = "KMG";
    unsigned suffix = 0;
    while (bytes && suffix < 3 && value != 0 && value % 1024 == 0)
        value /= 1024, suffix++;
    text_format(text, "%" PRIu64 "%.1s", value, suffix == 0 ? "" : &suffixes[suffix - 1]);
}

bool options_check(const char *item, struct text *complaints)
{
    size_t before = complaints->length;
    const char *equals = strchr(item, '=');
    if (strchr(item, ',') != NULL)
        text_format(complaints, "'%s' is more than one option\n", item);
    else if (equals == NULL || equals == item)
        text_format(complaints, "'%s' is not of the form name=value\n", item);
    else if (strncmp(item, "secure.", 7) == 0)
        options_check_secure(item, complaints);
    else if (memchr(item, '.', (size_t)(equals - item)) == NULL)
        options_check_core(item, complaints);
    return complaints->length == before;
}
