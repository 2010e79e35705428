/* A program that takes secrets only where its heap is hardened. */
#include <calloc/secure.h>
#include <stdio.h>

int main(void)
{
    static const char *const names[] = {"off", "light", "standard", "paranoid"};
    enum cal_secure_level level = cal_secure_level();
    printf("hardening: %s\n", names[level]);
    if (level == CAL_SECURE_OFF)
        printf("this would be the place to refuse\n");
    return 0;
}
