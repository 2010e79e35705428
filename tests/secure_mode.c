/* Built with the allocator inside, because the dynamic linker finds no library of a build folder
 * for a set-uid program. Says whether the kernel asks for secure mode. It has an add-on of its own, which
 * says which options it was handed. */
#include <calloc/hooks.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

static void say_option(const char *item, size_t length)
{
    if (write(STDOUT_FILENO, "libcalloc: handed ", 18) != 18 ||
        write(STDOUT_FILENO, item, length) != (ssize_t)length || write(STDOUT_FILENO, "\n", 1) != 1)
        abort();
}

extern const struct cal_hooks cal_addon_arena;
const struct cal_hooks cal_addon_arena = {.size = sizeof cal_addon_arena,
                                          .version = CAL_HOOKS_VERSION,
                                          .name = "arena",
                                          .component_version = "1",
                                          .option = say_option};

int main(void)
{
    char *block = malloc(100);
    const char *line = getauxval(AT_SECURE) != 0 ? "secure\n" : "ordinary\n";
    size_t length = getauxval(AT_SECURE) != 0 ? 7 : 9;
    free(block);
    return block == NULL || write(STDOUT_FILENO, line, length) != (ssize_t)length;
}
