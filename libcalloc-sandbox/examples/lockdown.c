/* Tries to run bytes that were written to memory, before the lockdown and after it. */
#ifndef _GNU_SOURCE
#    define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include <calloc/sandbox.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static bool can_make_code(void)
{
    const size_t size = 65536;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    bool can = mprotect(memory, size, PROT_READ | PROT_EXEC) == 0;
    munmap(memory, size);
    return can;
}

int main(void)
{
    static const char *const names[] = {"nothing", "the kernel (MDWE)", "a seccomp filter"};
    printf("before: %s\n", can_make_code() ? "memory can become code" : "it cannot");
    int mechanism = cal_sandbox_lockdown();
    if (mechanism < 0) {
        fprintf(stderr, "no lockdown: %s\n", strerror(-mechanism));
        return 1;
    }
    printf("after, by %s: %s\n", names[cal_sandbox_locked()],
           can_make_code() ? "memory can become code" : "it cannot");
    return can_make_code() ? 1 : 0;
}
