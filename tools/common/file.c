#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_take(int descriptor, size_t limit, struct text *text)
{
    char buffer[16384];
    for (size_t total = 0;;) {
        ssize_t got = read(descriptor, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return 0;
        total += (size_t)got;
        if (total > limit)
            return -EFBIG;
        text_bytes(text, buffer, (size_t)got);
    }
}

/* Without waiting for a writer, should it be a pipe. */
int file_read(const char *path, size_t limit, struct text *text)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return -errno;
    int result = file_take(descriptor, limit, text);
    close(descriptor);
    return result;
}

void file_line(const char *path, struct text *line)
{
    text_clear(line);
    if (file_read(path, 65536, line) != 0)
        text_clear(line);
    size_t length = strcspn(text_get(line), "\n");
    if (length < line->length) {
        line->length = length;
        line->bytes[length] = '\0';
    }
}

int64_t file_number(const char *path, int64_t fallback)
{
    struct text line = {.length = 0};
    file_line(path, &line);
    char *end;
    errno = 0;
    long long number = strtoll(text_get(&line), &end, 10);
    bool good = end != text_get(&line) && *end == '\0' && errno == 0;
    text_free(&line);
    return good ? number : fallback;
}

int file_link(const char *path, char *buffer, size_t size)
{
    ssize_t length = readlink(path, buffer, size);
    if (length < 0 || (size_t)length == size) {
        int error = length < 0 ? -errno : -ENAMETOOLONG;
        *buffer = '\0';
        return error;
    }
    buffer[length] = '\0';
    return 0;
}

int file_can_be_made(const char *path)
{
    struct stat facts = {.st_mode = 0};
    struct text folder = {.length = 0};
    const char *slash = strrchr(path, '/');
    if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
        return -EISDIR;
    if (slash == NULL)
        text_string(&folder, ".");
    else
        text_bytes(&folder, path, slash == path ? 1 : (size_t)(slash - path));
    int error = 0;
    if (stat(text_get(&folder), &facts) != 0)
        error = -errno;
    else if (!S_ISDIR(facts.st_mode))
        error = -ENOTDIR;
    else if (access(text_get(&folder), W_OK | X_OK) != 0)
        error = -errno;
    text_free(&folder);
    return error;
}
