#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

size_t cal__process_file(const char *path, char *bytes, size_t size)
{
    int saved = errno;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    long part;
    memset(bytes, 0, size);
    if (file >= 0) {
        while (length < size - 1 &&
               (part = syscall(SYS_read, file, bytes + length, size - 1 - length)) > 0)
            length += (size_t)part;
        syscall(SYS_close, file);
    }
    bytes[length] = '\0';
    errno = saved;
    return length;
}

void cal__process_program(char *path, size_t size)
{
    int saved = errno;
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    path[length < 0 ? 0 : length] = '\0';
    errno = saved;
}

void cal__process_command_line(char *text, size_t size)
{
    size_t length = cal__process_file("/proc/self/cmdline", text, size);
    while (length > 0 && text[length - 1] == '\0')
        length--;
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0')
            text[i] = ' ';
}

/* AT_BASE would not do: it is 0 too where the loader was called by name. */
bool cal__process_has_loader(void)
{
    const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    unsigned long count = headers == NULL ? 0 : getauxval(AT_PHNUM);
    for (unsigned long i = 0; i < count; i++)
        if (headers[i].p_type == PT_INTERP)
            return true;
    return false;
}
