/*
 * launch RESULT LIBRARIES PROGRAM [ARGUMENTS]: runs a program with libraries preloaded, which are
 * separated by colons, and writes to the file RESULT: wall, user and system seconds, peak resident
 * KiB, and the wait status.
 *
 * A launcher of its own, because the kernel counts what a process was before its exec towards its
 * peak: started from Python, every small program would have the peak of Python. The times are
 * the sums over the program and all of its descendants that were waited for; the peak is that of the
 * largest single one of them.
 */

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

int main(int count, char **arguments)
{
    if (count < 4) {
        fprintf(stderr, "usage: launch RESULT LIBRARIES PROGRAM [ARGUMENTS]\n");
        return 2;
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    pid_t child = fork();
    if (child < 0) {
        perror("launch: fork");
        return 2;
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("LD_PRELOAD", arguments[2], 1);
        execvp(arguments[3], arguments + 3);
        perror(arguments[3]);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) != child) {
        perror("launch: wait4");
        return 2;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    FILE *result = fopen(arguments[1], "w");
    if (result == NULL) {
        perror(arguments[1]);
        return 2;
    }
    double wall = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
    fprintf(result, "%.6f %.6f %.6f %ld %d\n", wall, seconds(usage.ru_utime),
            seconds(usage.ru_stime), usage.ru_maxrss, status);
    return fclose(result) == 0 ? 0 : 2;
}
