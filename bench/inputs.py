"""Inputs of the programs benchmark that are too large to keep: made anew, the same each time.

No random module: what its generators give for a seed may change with Python's version.
"""


class Random:
    """A linear congruential generator (the constants are Knuth's MMIX)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit


def c_source(functions):
    """A C file for gcc: loops, switches, structures and calls, no two functions the same."""
    random = Random(1)
    yield "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
    yield "struct node { struct node *next; uint32_t key; uint16_t kind; char text[20]; };\n"
    yield "extern uint64_t outside(uint64_t value, const void *where);\n"
    for number in range(functions):
        yield (f"\nuint64_t function_{number}(struct node *node, const uint32_t *table, "
               "size_t length)\n{\n    uint64_t sum = "
               f"{random.below(100000)};\n    uint32_t local[{8 + random.below(24)}] = {{0}};\n")
        for _ in range(2 + random.below(3)):
            shift, factor = 1 + random.below(13), random.below(10000) * 2 + 1
            yield (f"    for (size_t i = {random.below(4)}; i < length; "
                   f"i += {1 + random.below(3)}) {{\n"
                   f"        sum += table[i] * UINT32_C({factor});\n"
                   f"        sum ^= sum >> {shift};\n"
                   f"        local[i % 8] += (uint32_t)sum & {random.below(255) + 1};\n    }}\n")
        yield "    for (; node; node = node->next) {\n        switch (node->kind) {\n"
        for case in range(3 + random.below(10)):
            yield (f"        case {case * (1 + random.below(3)) * 31 + case}:\n"
                   f"            sum = sum * {random.below(99) + 2} + node->key;\n"
                   f"            if (strcmp(node->text, \"text{random.below(500)}\") == 0)\n"
                   f"                sum += outside(sum, local);\n            break;\n")
        yield "        default:\n            sum--;\n        }\n    }\n"
        if number:
            yield (f"    if (sum % {random.below(7) + 2} == 0)\n        sum += "
                   f"function_{random.below(number)}(node, local, 8);\n")
        yield "    return outside(sum, local);\n}\n"


def text(size):
    """Bytes that compress neither well nor badly: words, numbers, and passages that come again."""
    random = Random(2)
    words = [bytes(97 + random.below(26) for _ in range(2 + random.below(9))) for _ in range(3000)]
    made = bytearray()
    while len(made) < size:
        kind = random.below(20)
        if kind == 0 and len(made) > 4000:
            start = random.below(len(made) - 2000)
            made += made[start:start + 200 + random.below(1500)]
        elif kind < 4:
            made += b"%d " % random.below(10**9)
        else:
            # Small numbers are more likely than large ones, as with words in a language.
            made += words[random.below(1 + random.below(len(words)))] + b" "
    return bytes(made[:size])


def git_stream(commits, files, lines):
    """A repository for git fast-import: text files in folders, each commit changing a few lines."""
    random = Random(3)
    contents = [[f"line {line} of file {number}: {random.below(10**12)}" for line in range(lines)]
                for number in range(files)]
    yield b"feature done\nreset refs/heads/main\n"
    for commit in range(commits):
        message = f"commit {commit}"
        yield (f"commit refs/heads/main\ncommitter A <a@example.org> {1700000000 + commit * 60} "
               f"+0000\ndata {len(message)}\n{message}\n").encode()
        changed = range(files) if commit == 0 else {random.below(files) for _ in range(6)}
        for number in sorted(changed):
            for _ in range(3):
                line = random.below(lines)
                contents[number][line] = f"changed in {commit}: {random.below(10**9)}"
            data = "\n".join(contents[number]).encode()
            yield f"M 100644 inline folder{number % 11}/file{number}\n".encode()
            yield b"data %d\n%s\n" % (len(data), data)
    yield b"done\n"


def redis_commands(count):
    """Commands for redis-cli --pipe: keys of all types, values that grow, and keys that go."""
    random = Random(4)

    def command(*words):
        words = [str(word) for word in words]
        return f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    for number in range(count):
        key = random.below(count // 4)
        yield command("SET", f"string:{key}", "v" * (10 + random.below(400)))
        kind = number % 8
        if kind == 0:
            yield command("HSET", f"hash:{key % 2000}", f"field{number}", "h" * random.below(60))
        elif kind == 1:
            yield command("RPUSH", f"list:{key % 500}", "l" * random.below(100), number)
        elif kind == 2:
            yield command("ZADD", f"sorted:{key % 300}", random.below(100000), f"member{number}")
        elif kind == 3:
            yield command("SADD", f"set:{key % 1000}", f"member{number}")
        elif kind == 4:
            yield command("DEL", f"string:{random.below(count // 4)}")
        elif kind == 5:
            yield command("APPEND", f"text:{key % 3000}", "a" * random.below(80))


def pigeonhole(pigeons, holes):
    """SMT-LIB2 for z3: a bit vector for each pigeon, all below `holes`, no two the same: unsat."""
    yield "(set-logic QF_BV)\n"
    for pigeon in range(pigeons):
        yield f"(declare-const p{pigeon} (_ BitVec 8))\n"
        yield f"(assert (bvult p{pigeon} (_ bv{holes} 8)))\n"
    for one in range(pigeons):
        for other in range(one):
            yield f"(assert (not (= p{one} p{other})))\n"
    yield "(check-sat)\n"


def factors(bits, product):
    """SMT-LIB2 for z3: the two numbers of so many bits that have this product, the larger first."""
    wide = 2 * bits
    yield "(reset)\n(set-logic QF_BV)\n"
    for name in "xy":
        yield f"(declare-const {name} (_ BitVec {wide}))\n"
        yield f"(assert (bvult {name} (_ bv{2**bits} {wide})))\n"
    yield f"(assert (= (bvmul x y) (_ bv{product} {wide})))\n(assert (bvugt x y))\n"
    yield "(check-sat)\n(get-value (x y))\n"


def solver_problems():
    """For z3: an unsatisfiable problem, and factors of products of two primes."""
    yield from pigeonhole(11, 10)
    for one, other in ((65521, 65519), (65497, 65479), (65449, 65447), (65437, 65423),
                       (65419, 65413), (65407, 65393), (65381, 65371), (65357, 65353)):
        yield from factors(16, one * other)
