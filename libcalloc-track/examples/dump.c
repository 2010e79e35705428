/* A program that writes a profile of its own at a moment of its choice. */
#include <calloc/track.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char path[] = "/tmp/example.profile.XXXXXX", command[64];
    if (mkdtemp(path) == NULL)
        return 1;
    snprintf(command, sizeof command, "%s/now", path);
    int error = cal_track_dump(command, true);
    printf("%s: %s\n", command, error == 0 ? "written" : strerror(-error));
    remove(command);
    remove(path);
    return 0;
}
