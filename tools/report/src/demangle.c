#include "demangle.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>

/* libstdc++'s, of the C++ ABI. It knows all that GCC and clang make, and the older of Rust's two
 * manglings, which is C++'s with a hash as the last part. */
extern char *__cxa_demangle(const char *mangled, char *buffer, size_t *length, int *status);

enum {
    LONGEST = 64 * 1024, /* a longer one is nobody's name */
    RUST_HASH = 16       /* hexadecimal digits of ::h0123456789abcdef */
};

/* The hash that tells apart what the compiler made of one generic function is nothing to read. */
static void drop_rust_hash(char *name)
{
    size_t length = strlen(name);
    if (length <= RUST_HASH + 3)
        return;
    char *hash = name + length - RUST_HASH - 3;
    if (strncmp(hash, "::h", 3) != 0)
        return;
    for (const char *digit = hash + 3; *digit != '\0'; digit++)
        if (!isdigit((unsigned char)*digit) && !(*digit >= 'a' && *digit <= 'f'))
            return;
    *hash = '\0';
}

char *cal__demangle(const char *symbol)
{
    size_t length = strnlen(symbol, LONGEST);
    if (length < LONGEST && symbol[0] == '_' && symbol[1] == 'Z') {
        int status;
        char *name = __cxa_demangle(symbol, NULL, NULL, &status);
        if (name != NULL) {
            drop_rust_hash(name);
            return name;
        }
    }
    return cal__allocate_string(symbol, length);
}
