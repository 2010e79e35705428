/* Linked statically: nothing can be preloaded into it. With an argument it waits to be killed. */
#include <unistd.h>

int main(int count, char **words)
{
    while (count > 1)
        pause();
    return 9;
}
