/* In the shared library alone: an archive's unwinder is that of the program. */
#include "own_unwinder.h"

const char cal__own_unwinder = 1;
