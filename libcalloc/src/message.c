#include "message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cal__text_bytes(struct cal__text *text, const char *bytes, size_t length)
{
    size_t room = sizeof text->bytes - text->length;
    if (length > room)
        length = room;
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

void cal__text_string(struct cal__text *text, const char *string)
{
    cal__text_bytes(text, string, strlen(string));
}

/* Digits of VALUE in BASE, most significant first, in DIGITS; returns how many. */
static unsigned digits_of(uint64_t value, unsigned base, char digits[20])
{
    char reversed[20];
    unsigned count = 0;
    do {
        reversed[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    for (unsigned i = 0; i < count; i++)
        digits[i] = reversed[count - 1 - i];
    return count;
}

void cal__text_decimal(struct cal__text *text, uint64_t value)
{
    cal__text_padded(text, value, 0);
}

void cal__text_padded(struct cal__text *text, uint64_t value, unsigned width)
{
    char digits[20];
    unsigned count = digits_of(value, 10, digits);
    for (unsigned i = count; i < width; i++)
        cal__text_bytes(text, " ", 1);
    cal__text_bytes(text, digits, count);
}

void cal__text_hexadecimal(struct cal__text *text, uint64_t value)
{
    char digits[20];
    unsigned count = digits_of(value, 16, digits);
    cal__text_bytes(text, "0x", 2);
    cal__text_bytes(text, digits, count);
}

void cal__text_write(const struct cal__text *text, int descriptor)
{
    int saved = errno;
    size_t done = 0;
    while (done < text->length) {
        ssize_t written = write(descriptor, text->bytes + done, text->length - done);
        if (written <= 0 && !(written < 0 && errno == EINTR))
            break;
        if (written > 0)
            done += (size_t)written;
    }
    errno = saved;
}

CAL_COLD void cal__fatal(const char *what, const void *address)
{
    struct cal__text text = {.length = 0};
    cal__text_string(&text, "libcalloc: ");
    cal__text_string(&text, what);
    cal__text_string(&text, " of ");
    cal__text_hexadecimal(&text, (uintptr_t)address);
    cal__text_string(&text, "\n");
    cal__text_write(&text, STDERR_FILENO);
    abort();
}

CAL_COLD void cal__warn(const char *first, const char *second)
{
    struct cal__text text = {.length = 0};
    cal__text_string(&text, "libcalloc: ");
    cal__text_string(&text, first);
    if (second != NULL) {
        cal__text_string(&text, " ");
        cal__text_string(&text, second);
    }
    /* A cut message still ends its line. */
    if (text.length == sizeof text.bytes)
        text.length--;
    cal__text_string(&text, "\n");
    cal__text_write(&text, STDERR_FILENO);
}
