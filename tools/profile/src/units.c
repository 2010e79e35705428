#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *cal__bytes(struct cal__number *number, uint64_t bytes)
{
    static const char prefixes[] = "KMGTPE";
    if (bytes < 1024) {
        snprintf(number->text, sizeof number->text, "%" PRIu64 " B", bytes);
        return number->text;
    }
    double value = (double)bytes;
    int prefix = -1;
    /* What would print as 1024.0 is 1.0 of the next. */
    while (value >= 1023.95 && prefix + 1 < (int)sizeof prefixes - 1) {
        value /= 1024;
        prefix++;
    }
    snprintf(number->text, sizeof number->text, "%.1f %ciB", value,
             prefixes[prefix < 0 ? 0 : prefix]);
    return number->text;
}

const char *cal__count(struct cal__number *number, uint64_t count)
{
    char digits[24];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, count), out = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            number->text[out++] = ',';
        number->text[out++] = digits[i];
    }
    number->text[out] = '\0';
    return number->text;
}

const char *cal__percent(struct cal__number *number, uint64_t part, uint64_t whole)
{
    if (whole == 0)
        strcpy(number->text, "-");
    else
        snprintf(number->text, sizeof number->text, "%.1f %%",
                 100.0 * (double)part / (double)whole);
    return number->text;
}

const char *cal__duration(struct cal__number *number, uint64_t nanoseconds)
{
    double seconds = (double)nanoseconds / 1e9;
    if (seconds >= 600)
        snprintf(number->text, sizeof number->text, "%" PRIu64 " min %.0f s",
                 nanoseconds / UINT64_C(60000000000),
                 (double)(nanoseconds % UINT64_C(60000000000)) / 1e9);
    else if (seconds >= 1)
        snprintf(number->text, sizeof number->text, "%.3g s", seconds);
    else if (nanoseconds >= 1000000)
        snprintf(number->text, sizeof number->text, "%.3g ms", (double)nanoseconds / 1e6);
    else
        snprintf(number->text, sizeof number->text, "%.3g us", (double)nanoseconds / 1e3);
    return number->text;
}
