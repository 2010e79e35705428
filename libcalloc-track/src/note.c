#include "note.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(CAL_NOTE_MAX <= PIPE_BUF, "a line is written to a pipe in one piece");

void cal__note_bytes(struct cal__note *note, const char *bytes, size_t length)
{
    size_t room = CAL_NOTE_MAX - 1 - note->length;
    if (length > room)
        length = room;
    memcpy(note->bytes + note->length, bytes, length);
    note->length += length;
}

void cal__note_string(struct cal__note *note, const char *string)
{
    cal__note_bytes(note, string, strlen(string));
}

static void number(struct cal__note *note, uint64_t value, unsigned base)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    cal__note_bytes(note, digits + first, sizeof digits - first);
}

void cal__note_decimal(struct cal__note *note, uint64_t value)
{
    number(note, value, 10);
}

void cal__note_hexadecimal(struct cal__note *note, uint64_t value)
{
    cal__note_string(note, "0x");
    number(note, value, 16);
}

void cal__note_foreign(struct cal__note *note, const char *bytes, size_t length)
{
    enum { FOREIGN_MAX = 80 };
    for (size_t i = 0; i < length && i < FOREIGN_MAX; i++) {
        char byte = bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?';
        cal__note_bytes(note, &byte, 1);
    }
}

void cal__note_write(struct cal__note *note, int descriptor)
{
    int saved = errno;
    note->bytes[note->length++] = '\n';
    while (syscall(SYS_write, descriptor, note->bytes, note->length) < 0 && errno == EINTR) {}
    errno = saved;
}
