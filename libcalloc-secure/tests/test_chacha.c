/* The block function, against the vectors of RFC 8439. */
#include "support.h"

#include "chacha.h"

/* Block NUMBER of OUTPUT, in the order of the RFC. */
static void block_of(const unsigned char *output, size_t number, unsigned char block[64])
{
    for (size_t word = 0; word < 16; word++)
        memcpy(block + 4 * word, output + 16 * word + 4 * number, 4);
}

static void from_hexadecimal(const char *text, unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned value;
        require(sscanf(text + 2 * i, "%2x", &value) == 1);
        bytes[i] = (unsigned char)value;
    }
}

static void assert_block(const char *key, uint32_t counter, const char *nonce, unsigned rounds,
                         size_t number, const char *expected)
{
    unsigned char key_bytes[32], nonce_bytes[12], block[64], right[64];
    unsigned char output[CAL_CHACHA_OUTPUT];
    from_hexadecimal(key, key_bytes, sizeof key_bytes);
    from_hexadecimal(nonce, nonce_bytes, sizeof nonce_bytes);
    from_hexadecimal(expected, right, sizeof right);
    cal__chacha(key_bytes, counter, nonce_bytes, rounds, output);
    block_of(output, number, block);
    assert_memory_equal(block, right, sizeof block);
}

#define ZEROS        "0000000000000000000000000000000000000000000000000000000000000000"
#define NO_NONCE     "000000000000000000000000"
#define COUNTING_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* Section 2.3.2; for each of the four blocks. */
static void the_example_of_the_rfc(void **state)
{
    for (uint32_t number = 0; number < 4; number++)
        assert_block(COUNTING_KEY, 1 - number, "000000090000004a00000000", 20, number,
                     "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                     "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e");
}

/* Appendix A.1. */
static void the_vectors_of_the_rfc(void **state)
{
    static const char first[] = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                                "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586";
    static const char second[] = "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                                 "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f";
    assert_block(ZEROS, 0, NO_NONCE, 20, 0, first);
    assert_block(ZEROS, 1, NO_NONCE, 20, 0, second);
    assert_block(ZEROS, 0, NO_NONCE, 20, 1, second);
    assert_block("0000000000000000000000000000000000000000000000000000000000000001", 1, NO_NONCE,
                 20, 0,
                 "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                 "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0");
    assert_block("00ff000000000000000000000000000000000000000000000000000000000000", 2, NO_NONCE,
                 20, 0,
                 "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
                 "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096");
    assert_block(ZEROS, 0, "000000000000000000000002", 20, 0,
                 "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
                 "8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d");
}

/* Strombergson, "Test Vectors for the Stream Cipher ChaCha" (2013), TC1, 256 bits. */
static void eight_rounds(void **state)
{
    assert_block(ZEROS, 0, NO_NONCE, 8, 0,
                 "3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e"
                 "984ce172b9216f419f445367456d5619314a42a3da86b001387bfdb80e0cfe42");
}

static void the_output_may_replace_the_key(void **state)
{
    unsigned char apart[CAL_CHACHA_OUTPUT], key[32] = {1, 2, 3}, nonce[12] = {4};
    _Alignas(16) unsigned char both[CAL_CHACHA_OUTPUT + 1];
    cal__chacha(key, 7, nonce, 8, apart);
    memcpy(both + 1, key, sizeof key);
    memcpy(both + 1 + sizeof key, nonce, sizeof nonce);
    cal__chacha(both + 1, 7, both + 1 + sizeof key, 8, both + 1);
    assert_memory_equal(both + 1, apart, sizeof apart);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_rfc),
        cmocka_unit_test(the_vectors_of_the_rfc),
        cmocka_unit_test(eight_rounds),
        cmocka_unit_test(the_output_may_replace_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
