/* Built with the allocator inside, because the dynamic linker finds no library of a build folder
 * for a set-uid program. Says whether the kernel asks for secure mode. */
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

int main(void)
{
    char *block = malloc(100);
    const char *line = getauxval(AT_SECURE) != 0 ? "secure\n" : "ordinary\n";
    size_t length = getauxval(AT_SECURE) != 0 ? 7 : 9;
    free(block);
    return block == NULL || write(STDOUT_FILENO, line, length) != (ssize_t)length;
}
