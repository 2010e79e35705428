/* plugin_host PLUGIN: a C program, with no C++ library of its own, that loads and unloads a C++
 * plugin whose symbols nobody else sees. operator new is libcalloc's and fails by an exception of
 * the plugin's C++ library. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: plugin_host PLUGIN\n"), 2;
    if (dlsym(RTLD_DEFAULT, "__cxa_throw") != NULL)
        return fprintf(stderr, "plugin_host: this process has C++ already\n"), EXIT_FAILURE;
    void *used = malloc(1);
    free(used);
    if (dlsym(RTLD_DEFAULT, "cal_version") == NULL)
        return fprintf(stderr, "plugin_host: this is not libcalloc\n"), EXIT_FAILURE;
    for (int i = 0; i < 50; i++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            return fprintf(stderr, "plugin_host: %s\n", dlerror()), EXIT_FAILURE;
        const char *(*check)(void);
        *(void **)&check = dlsym(library, "plugin_check");
        const char *complaint = check == NULL ? "no plugin_check" : check();
        if (complaint != NULL)
            return fprintf(stderr, "plugin_host: %s\n", complaint), EXIT_FAILURE;
        dlclose(library);
    }
    return EXIT_SUCCESS;
}
