/* A library that is loaded, asked for an address in it, and unloaded: test_place.c. */

__attribute__((visibility("default"))) int function_of_module(void);

int function_of_module(void)
{
    return 4711;
}
