/* A password is forgotten as soon as it is not needed. */
#include <calloc/secure.h>

#include <stdio.h>
#include <string.h>

static unsigned long check_sum(const char *password)
{
    unsigned long sum = 0;
    for (; *password != '\0'; password++)
        sum = 31 * sum + (unsigned char)*password;
    return sum;
}

int main(void)
{
    char password[32];
    snprintf(password, sizeof password, "%s", "correct horse");
    unsigned long sum = check_sum(password);
    cal_secure_wipe(password, sizeof password);
    printf("check sum %lu, password '%s'\n", sum, password);
    return password[0] != '\0';
}
