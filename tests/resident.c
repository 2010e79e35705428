/* A library that writes at the end of any program what it holds in memory. By system calls alone,
 * so that the reading allocates nothing. What the kernel says of the largest size ever is of no
 * use: it counts the program that called exec, too. */
#include <fcntl.h>
#include <unistd.h>

static char text[8192];

__attribute__((destructor)) static void report(void)
{
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = read(file, text, sizeof text);
    if (length <= 0 || write(STDOUT_FILENO, text, (size_t)length) != length)
        _exit(3);
}
