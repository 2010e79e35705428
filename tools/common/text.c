#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void no_memory(void)
{
    fputs("out of memory\n", stderr);
    exit(EXIT_FAILURE);
}

void *allocate(size_t size)
{
    return reallocate(NULL, size);
}

void *reallocate(void *block, size_t size)
{
    void *moved = realloc(block, size == 0 ? 1 : size);
    if (moved == NULL)
        no_memory();
    return moved;
}

char *duplicate(const char *string)
{
    size_t size = strlen(string) + 1;
    return memcpy(allocate(size), string, size);
}

static void make_room(struct text *text, size_t more)
{
    if (more >= (size_t)1 << 40)
        no_memory();
    size_t needed = text->length + more + 1;
    if (needed <= text->room)
        return;
    text->room = needed < 64 ? 64 : needed * 2;
    text->bytes = reallocate(text->bytes, text->room);
}

void text_bytes(struct text *text, const char *bytes, size_t length)
{
    make_room(text, length);
    if (length != 0)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_string(struct text *text, const char *string)
{
    text_bytes(text, string, strlen(string));
}

void text_format(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length > 0) {
        make_room(text, (size_t)length);
        vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void text_clear(struct text *text)
{
    text->length = 0;
    if (text->bytes != NULL)
        *text->bytes = '\0';
}

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){.bytes = NULL};
}

const char *text_get(const struct text *text)
{
    return text->bytes == NULL ? "" : text->bytes;
}

struct piece text_piece(const struct text *text)
{
    return (struct piece){text_get(text), text->length};
}

bool piece_is(struct piece piece, const char *string)
{
    return strlen(string) == piece.length && memcmp(piece.bytes, string, piece.length) == 0;
}

bool piece_begins(struct piece piece, const char *string)
{
    size_t length = strlen(string);
    return length <= piece.length && memcmp(piece.bytes, string, length) == 0;
}

struct piece piece_base(struct piece piece)
{
    for (size_t i = piece.length; i > 0; i--)
        if (piece.bytes[i - 1] == '/')
            return (struct piece){piece.bytes + i, piece.length - i};
    return piece;
}
