/* A user's program that gives up making memory executable, and still allocates. */
#include <calloc/sandbox.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(void)
{
    int mechanism = cal_sandbox_lockdown();
    if (mechanism < 0) {
        fprintf(stderr, "no lockdown: error %d\n", mechanism);
        return 1;
    }
    void *volatile block = malloc(1000000);
    void *executable =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == NULL || executable != MAP_FAILED) {
        fprintf(stderr, "%s\n", block == NULL ? "no block" : "memory became executable");
        return 1;
    }
    free(block);
    printf("locked\n");
    return cal_sandbox_locked() != mechanism;
}
