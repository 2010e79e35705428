// A user's C++ program on the core: new and delete are libcalloc's, and out of memory is what the standard
// says, also where all is linked statically.
#include <calloc/calloc.h>
#include <cstdio>
#include <new>

int main()
{
    cal_statistics before{}, after{};
    before.size = after.size = sizeof before;
    if (cal_stats(&before) != 0)
        return 1;
    int *volatile numbers = new int[100];
    if (cal_stats(&after) != 0 || after.allocations != before.allocations + 1) {
        std::fprintf(stderr, "operator new did not allocate here\n");
        return 1;
    }
    delete[] numbers;
    volatile std::size_t size = static_cast<std::size_t>(-1) / 4;
    if (::operator new(size, std::nothrow) != nullptr)
        return 1;
    try {
        numbers = static_cast<int *>(::operator new(size));
        return 1;
    } catch (const std::bad_alloc &) {
        std::puts("caught");
    }
    return 0;
}
