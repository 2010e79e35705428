#include "say.h"

#include <stdarg.h>
#include <stdio.h>

const char *say_command;

void say(const char *format, ...)
{
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "calloc%s%s: %s\n", say_command == NULL ? "" : " ",
            say_command == NULL ? "" : say_command, line);
}
