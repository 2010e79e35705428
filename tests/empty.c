/* A library with nothing in it: the price of any preload. */
int empty_library(void);

int empty_library(void)
{
    return 0;
}
