/* startup small: twenty blocks of twenty sizes, as a small program might have.
 * startup run PRELOAD PROGRAM [ARGUMENTS]: runs it once and prints its user + system time in
 * microseconds. Of the environment it has LD_PRELOAD and the caller's CALLOC_OPTIONS alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[8192], settings[1024];

static int small(void)
{
    char *blocks[20];
    for (size_t i = 0; i < 20; i++)
        if ((blocks[i] = malloc(i * 50 + 10)) != NULL)
            memset(blocks[i], 1, i * 50 + 10);
    for (size_t i = 0; i < 20; i++)
        free(blocks[i]);
    return EXIT_SUCCESS;
}

static int run(char *preload, char **command)
{
    char *environment[3] = {NULL};
    int variables = 0;
    if (*preload != '\0') {
        snprintf(text, sizeof text, "LD_PRELOAD=%s", preload);
        environment[variables++] = text;
    }
    const char *options = getenv("CALLOC_OPTIONS");
    if (options != NULL) {
        snprintf(settings, sizeof settings, "CALLOC_OPTIONS=%s", options);
        environment[variables] = settings;
    }
    pid_t pid = vfork();
    if (pid == 0) {
        execve(command[0], command, environment);
        _exit(127);
    }
    struct rusage usage;
    int status = -1;
    if (wait4(pid, &status, 0, &usage) != pid || status != 0)
        return EXIT_FAILURE;
    long time = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
                usage.ru_stime.tv_usec;
    printf("%ld\n", time);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "small") == 0)
        return small();
    if (argc >= 4 && strcmp(argv[1], "run") == 0)
        return run(argv[2], argv + 3);
    fprintf(stderr, "usage: startup small | run PRELOAD PROGRAM [ARGUMENTS]\n");
    return 2;
}
