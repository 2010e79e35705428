// Prints where its calls are: address in the file, and the functions and lines around it, innermost first.
#include <cstdint>
#include <cstdio>

extern "C" char __ehdr_start;

// The address that its caller is returned to, which is where an allocation would have been seen.
__attribute__((noinline)) static void mark(const char *functions)
{
    uintptr_t address = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
    std::printf("%#lx%s\n",
                static_cast<unsigned long>(address - reinterpret_cast<uintptr_t>(&__ehdr_start)),
                functions);
    std::fflush(stdout);
}

#define TEXT_(line)       #line
#define TEXT(line)        TEXT_(line)
#define AT(function)      "\t" function ":" TEXT(__LINE__)
#define AFTER(text, line) "\t" text ":" #line
// What comes behind keeps the call from becoming a jump.
#define MARK(text) \
    mark(text);    \
    __asm__ volatile("")

namespace shapes
{
struct Circle {
    int radius;
    __attribute__((noinline)) void grow(int by);
    __attribute__((noinline)) int area() const;
};

__attribute__((always_inline)) static inline void innermost(int value)
{
    __asm__ volatile("" : : "r"(value));
    MARK(AT("shapes::innermost") AFTER("shapes::middle", 1001)
             AFTER("shapes::Circle::grow(int)", 2001));
}

__attribute__((always_inline)) static inline void middle(int value)
{
#line 1001
    innermost(value + 1);
}

void Circle::grow(int by)
{
#line 2001
    middle(by);
    radius += by;
    MARK(AT("shapes::Circle::grow(int)"));
}

int Circle::area() const
{
    MARK(AT("shapes::Circle::area() const"));
    return 3 * radius * radius;
}
} // namespace shapes

template <typename T> __attribute__((noinline)) T twice(T value)
{
    MARK(AT("int twice<int>(int)"));
    return value + value;
}

extern "C" __attribute__((noinline)) int plain_c(int value)
{
    if (value > 1000) {
        MARK(AT("never"));
    }
    MARK(AT("plain_c"));
    return value;
}

int main()
{
    shapes::Circle circle = {2};
    circle.grow(3);
    int sum = circle.area() + twice(21) + plain_c(5);
    MARK(AT("main"));
    return sum == 122 ? 0 : 1;
}
