/* Adds the allocator's system calls to a filter, and prints the filter in words. */
#include <calloc/sandbox.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(1));
    if (filter == NULL)
        return 1;
    int error = cal_sandbox_allow(filter);
    if (error == 0)
        error = seccomp_export_pfc(filter, STDOUT_FILENO);
    /* Also after an error: the filter stays the caller's. */
    seccomp_release(filter);
    if (error != 0)
        fprintf(stderr, "no filter: %s\n", strerror(-error));
    return error == 0 ? 0 : 1;
}
