#include "allocate.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void exhausted(void)
{
    fputs("calloc: out of memory\n", stderr);
    exit(1);
}

void *cal__allocate_array(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL)
        exhausted();
    return memory;
}

void *cal__allocate_grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    if (wanted > SIZE_MAX / size)
        exhausted();
    *capacity = wanted;
    return cal__allocate_resize(array, wanted * size);
}

void *cal__allocate_resize(void *memory, size_t size)
{
    memory = realloc(memory, size ? size : 1);
    if (memory == NULL)
        exhausted();
    return memory;
}

char *cal__allocate_string(const char *bytes, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy == NULL)
        exhausted();
    memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

char *cal__allocate_format(const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        exhausted();
    return text;
}
