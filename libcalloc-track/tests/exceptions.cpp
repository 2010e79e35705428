// Exceptions that are thrown through frames which allocate; with an argument, leaks. Names are of C, as addr2line is not
// told to demangle, but for one that is suppressed by its name.
#include <cstdlib>
#include <new>
#include <stdexcept>

#define APART extern "C" __attribute__((noinline, noclone))

static void *volatile kept[8];

APART void throw_from_below(int depth)
{
    char *volatile block = new char;
    delete block;
    if (depth == 0)
        throw std::runtime_error("expected");
    throw_from_below(depth - 1);
    asm volatile("" ::: "memory");
}

APART void allocate_in_handler(void)
{
    char *volatile block = new char[33];
    delete[] block;
    asm volatile("" ::: "memory");
}

APART void allocate_by_new(void)
{
    kept[0] = new int[100];
    kept[1] = ::operator new(64, std::align_val_t(64));
    asm volatile("" ::: "memory");
}

namespace shop
{
struct Basket {
    __attribute__((noinline, noclone)) void forget(int count)
    {
        for (int i = 0; i < count; i++)
            kept[1] = new char[500];
        kept[1] = nullptr;
    }
};
} // namespace shop

int main(int count, char **)
{
    if (count > 1) {
        shop::Basket().forget(3);
        return 0;
    }
    for (int i = 0; i < 100; i++) {
        try {
            throw_from_below(10);
        } catch (const std::runtime_error &) {
            allocate_in_handler();
        }
    }
    allocate_by_new();
    return 0;
}
