#include "line.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(CAL_LINE_MAX <= PIPE_BUF, "a line is written to a pipe in one piece");

void cal__line_bytes(struct cal__line *line, const char *bytes, size_t length)
{
    size_t room = CAL_LINE_MAX - 1 - line->length;
    if (length > room)
        length = room;
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

void cal__line_string(struct cal__line *line, const char *string)
{
    cal__line_bytes(line, string, strlen(string));
}

static void number(struct cal__line *line, uint64_t value, unsigned base)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    cal__line_bytes(line, digits + first, sizeof digits - first);
}

void cal__line_decimal(struct cal__line *line, uint64_t value)
{
    number(line, value, 10);
}

void cal__line_hexadecimal(struct cal__line *line, uint64_t value)
{
    cal__line_string(line, "0x");
    number(line, value, 16);
}

void cal__line_foreign(struct cal__line *line, const char *bytes, size_t length)
{
    enum { FOREIGN_MAX = 80 };
    for (size_t i = 0; i < length && i < FOREIGN_MAX; i++) {
        char byte = bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?';
        cal__line_bytes(line, &byte, 1);
    }
}

void cal__line_write(struct cal__line *line, int descriptor)
{
    int saved = errno;
    line->bytes[line->length++] = '\n';
    while (syscall(SYS_write, descriptor, line->bytes, line->length) < 0 && errno == EINTR) {}
    errno = saved;
}
