/* Linked statically: nothing can be preloaded into it. With the argument "wait" it waits to be killed. */
#include <string.h>
#include <unistd.h>

int main(int count, char **words)
{
    while (count > 1 && strcmp(words[1], "wait") == 0)
        pause();
    return 9;
}
