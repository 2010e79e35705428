# A C file for the compiler to chew on, of forty lines per function.
BEGIN {
    print "#include <stdio.h>\n#include <string.h>"
    for (i = 0; i < functions; i++) {
        printf "struct s%d { int a[%d]; double d; struct s%d *next; char name[%d]; };\n", i, i % 9 + 1, i, i % 30 + 2
        printf "static int f%d(struct s%d *s, int n)\n{\n    int t = n;\n", i, i
        printf "    for (int i = 0; i < %d; i++) {\n        s->a[i] = t * %d + i;\n", i % 9 + 1, i
        printf "        switch ((s->a[i] ^ n) & 7) {\n"
        for (c = 0; c < 8; c++)
            printf "        case %d:\n            t += s->a[i] * %d - %d;\n            break;\n", c, c + i, i * c % 31
        printf "        }\n    }\n    s->d = t / 3.0;\n    memset(s->name, t, sizeof s->name);\n"
        printf "    return t + s->name[0]%s;\n}\n", i ? sprintf(" + f%d(&(struct s%d){.d = 1}, n / 2)", i - 1, i - 1) : ""
    }
    print "#ifdef MAIN\nint main(void)\n#else\nint other(void)\n#endif"
    printf "{\n    struct s%d s = {.d = 2};\n    printf(\"%%d\\n\", f%d(&s, 12345));\n", i - 1, i - 1
    print "    return 0;\n}"
}
