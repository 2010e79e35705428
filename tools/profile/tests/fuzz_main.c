/* Gives a fuzz target each file that is named, all of its beginnings, and it with bytes changed: fuzz_main
 * STEP FILE…, where STEP is how far apart these are. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    static uint8_t data[1 << 20];
    size_t step = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (step == 0 || argc < 3) {
        fprintf(stderr, "usage: %s STEP FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            perror(argv[i]);
            return 1;
        }
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        LLVMFuzzerTestOneInput(data, size);
        /* Exactly as large, so that a tool sees what is read behind the end. */
        for (size_t length = 0; length < size; length += step) {
            uint8_t *copy = malloc(length ? length : 1);
            if (copy == NULL)
                return 1;
            memcpy(copy, data, length);
            LLVMFuzzerTestOneInput(copy, length);
            free(copy);
        }
        static const uint8_t changes[] = {0x01, 0x80, 0xff};
        for (size_t at = 0; at < size; at += step)
            for (size_t change = 0; change < sizeof changes; change++) {
                data[at] ^= changes[change];
                LLVMFuzzerTestOneInput(data, size);
                data[at] ^= changes[change];
            }
        printf("%s: %zu bytes\n", argv[i], size);
    }
    return 0;
}
