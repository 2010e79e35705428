/*
 * Prints which object each function is bound to: a preloaded library that lacks one of them would
 * otherwise be measured with glibc's and nobody would notice. And the level of the hardening, if
 * libcalloc-secure is there: without the core in front of it, it does nothing and says nothing.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    static const char *const names[] = {"malloc", "free", "calloc", "realloc", "aligned_alloc"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Dl_info info;
        void *function = dlsym(RTLD_DEFAULT, names[i]);
        if (!function || !dladdr(function, &info))
            return 1;
        printf("%s %s\n", names[i], info.dli_fname);
    }
    int (*level)(void) = NULL;
    *(void **)&level = dlsym(RTLD_DEFAULT, "cal_secure_level");
    if (level != NULL)
        printf("level %d\n", level());
    return 0;
}
