#include "say.h"

#include <common/text.h>
#include <stdarg.h>
#include <stdio.h>

/* Made as a whole first: lines of several processes do not mix. */
void say(const char *format, ...)
{
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    struct text text = {.length = 0};
    text_format(&text, "calloc-preload: %s\n", line);
    fflush(stdout);
    fputs(text_get(&text), stderr);
    text_free(&text);
}
