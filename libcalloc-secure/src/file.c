#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

long cal__file_read(int descriptor, char *buffer, size_t size)
{
    size_t length = 0;
    while (length < size) {
        long got = syscall(SYS_read, descriptor, buffer + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (long)length;
}

static int check_trusted(int descriptor)
{
    struct stat status = {0};
    if (syscall(SYS_fstat, descriptor, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    return status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 ? CAL_FILE_UNTRUSTED
                                                                             : 0;
}

/* Without waiting for a writer, should it be a pipe, and without becoming the owner of a terminal. */
int cal__file_open(const char *path, bool trusted)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (trusted ? O_NOFOLLOW : 0);
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, path, flags);
    if (descriptor < 0)
        return -errno;
    int error = trusted ? check_trusted(descriptor) : 0;
    if (error == 0)
        return descriptor;
    syscall(SYS_close, descriptor);
    return error;
}

void cal__file_close(int descriptor)
{
    syscall(SYS_close, descriptor);
}

long cal__file_take(int descriptor, char *buffer, size_t size)
{
    long length = cal__file_read(descriptor, buffer, size);
    /* Not by its size, which may change while it is read. */
    char more;
    if (length == (long)size && cal__file_read(descriptor, &more, 1) != 0)
        length = -EFBIG;
    syscall(SYS_close, descriptor);
    return length;
}

size_t cal__file_link(const char *path, char *buffer, size_t size)
{
    long length = syscall(SYS_readlinkat, AT_FDCWD, path, buffer, size);
    if (length < 0 || (size_t)length >= size)
        length = 0;
    buffer[length] = '\0';
    return (size_t)length;
}
