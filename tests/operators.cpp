// Every form of operator new and delete, failure by exception and by null, the new-handler, and
// the standard containers. Runs linked with the library, and without it under a preload.
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <fstream>
#include <list>
#include <malloc.h>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>
// After the headers that it needs.
extern "C" {
#include <cmocka.h>
}

namespace
{

// The compiler may not see through these.
volatile std::size_t impossible = PTRDIFF_MAX;
volatile std::size_t overflowing = SIZE_MAX - 8;

void fill_and_check(void *block, std::size_t size)
{
    assert_non_null(block);
    assert_true(malloc_usable_size(block) >= size);
    std::memset(block, 0xa5, size);
}

void is_aligned(void *block, std::size_t alignment)
{
    assert_int_equal(reinterpret_cast<std::uintptr_t>(block) % alignment, 0);
}

const std::size_t sizes[] = {1, 16, 17, 100, 1000, 5000, 70000, 300000, 2000000};
const std::size_t alignments[] = {16, 32, 64, 256, 4096, 65536, 1 << 20, 4 << 20};

void the_allocator_is_ours(void **)
{
    assert_non_null(dlsym(RTLD_DEFAULT, "cal_version"));
    // Not merely present: the operators that this program is bound to are its operators.
    void *(*bound)(std::size_t) = ::operator new;
    Dl_info ours;
    Dl_info its;
    assert_int_not_equal(dladdr(dlsym(RTLD_DEFAULT, "cal_version"), &ours), 0);
    assert_int_not_equal(dladdr(reinterpret_cast<void *>(bound), &its), 0);
    assert_string_equal(ours.dli_fname, its.dli_fname);
}

void plain_forms(void **)
{
    for (std::size_t size : sizes) {
        void *block = ::operator new(size);
        fill_and_check(block, size);
        ::operator delete(block);
        block = ::operator new(size);
        fill_and_check(block, size);
        ::operator delete(block, size);
        block = ::operator new[](size);
        fill_and_check(block, size);
        ::operator delete[](block);
        block = ::operator new[](size);
        fill_and_check(block, size);
        ::operator delete[](block, size);
    }
}

void nothrow_forms(void **)
{
    for (std::size_t size : sizes) {
        void *block = ::operator new(size, std::nothrow);
        fill_and_check(block, size);
        ::operator delete(block, std::nothrow);
        block = ::operator new[](size, std::nothrow);
        fill_and_check(block, size);
        ::operator delete[](block, std::nothrow);
    }
}

void aligned_forms(void **)
{
    for (std::size_t size : sizes) {
        for (std::size_t alignment : alignments) {
            auto with = static_cast<std::align_val_t>(alignment);
            void *block = ::operator new(size, with);
            is_aligned(block, alignment);
            fill_and_check(block, size);
            ::operator delete(block, with);
            block = ::operator new(size, with);
            is_aligned(block, alignment);
            ::operator delete(block, size, with);
            block = ::operator new[](size, with);
            is_aligned(block, alignment);
            fill_and_check(block, size);
            ::operator delete[](block, with);
            block = ::operator new[](size, with);
            is_aligned(block, alignment);
            ::operator delete[](block, size, with);
            block = ::operator new(size, with, std::nothrow);
            is_aligned(block, alignment);
            fill_and_check(block, size);
            ::operator delete(block, with, std::nothrow);
            block = ::operator new[](size, with, std::nothrow);
            is_aligned(block, alignment);
            fill_and_check(block, size);
            ::operator delete[](block, with, std::nothrow);
        }
    }
}

void nothing_is_something(void **)
{
    void *first = ::operator new(0);
    void *second = ::operator new(0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    ::operator delete(first);
    ::operator delete(second);
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
    ::operator delete (nullptr, std::align_val_t{64});
}

template <typename Function> bool throws_bad_alloc(Function function)
{
    try {
        function();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void impossible_sizes_throw(void **)
{
    for (std::size_t size : {std::size_t{impossible}, std::size_t{overflowing}}) {
        assert_true(throws_bad_alloc([=] { ::operator delete(::operator new(size)); }));
        assert_true(throws_bad_alloc([=] { ::operator delete[](::operator new[](size)); }));
        auto with = std::align_val_t{128};
        assert_true(throws_bad_alloc([=] { ::operator delete(::operator new(size, with), with); }));
        assert_true(
            throws_bad_alloc([=] { ::operator delete[](::operator new[](size, with), with); }));
        assert_null(::operator new(size, std::nothrow));
        assert_null(::operator new[](size, std::nothrow));
        assert_null(::operator new(size, with, std::nothrow));
        assert_null(::operator new[](size, with, std::nothrow));
    }
    assert_true(throws_bad_alloc([] { std::vector<char>().reserve(impossible); }));
}

// The new-handler is called again and again until it gives up, throws, or memory is there.

int handler_calls;

void gives_up_at_the_third(void)
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void throws_at_the_second(void)
{
    if (++handler_calls == 2)
        throw std::bad_alloc();
}

struct own_error : std::bad_alloc {
};

void throws_its_own(void)
{
    handler_calls++;
    throw own_error();
}

template <typename Function> void with_handler(std::new_handler handler, Function function)
{
    handler_calls = 0;
    std::set_new_handler(handler);
    function();
    std::set_new_handler(nullptr);
}

void the_handler_is_called(void **)
{
    with_handler(gives_up_at_the_third, [] {
        assert_true(throws_bad_alloc([] { ::operator delete(::operator new(impossible)); }));
        assert_int_equal(handler_calls, 3);
    });
    with_handler(gives_up_at_the_third, [] {
        assert_null(::operator new(impossible, std::nothrow));
        assert_int_equal(handler_calls, 3);
    });
    with_handler(gives_up_at_the_third, [] {
        assert_null(::operator new[](impossible, std::align_val_t{64}, std::nothrow));
        assert_int_equal(handler_calls, 3);
    });
}

void the_handler_throws(void **)
{
    with_handler(throws_at_the_second, [] {
        assert_true(throws_bad_alloc([] { ::operator delete[](::operator new[](impossible)); }));
        assert_int_equal(handler_calls, 2);
    });
    with_handler(throws_at_the_second, [] {
        assert_null(::operator new(impossible, std::nothrow));
        assert_int_equal(handler_calls, 2);
    });
    with_handler(throws_at_the_second, [] {
        assert_null(::operator new (impossible, std::align_val_t{256}, std::nothrow));
        assert_int_equal(handler_calls, 2);
    });
    bool caught = false;
    with_handler(throws_its_own, [&] {
        try {
            ::operator delete(::operator new(impossible));
        } catch (const own_error &) {
            caught = true;
        }
    });
    assert_true(caught);
    assert_int_equal(handler_calls, 1);
}

// One request that only fits once the handler gave something back.

void *reserve;

void gives_back(void)
{
    handler_calls++;
    std::free(reserve);
    reserve = nullptr;
    // Should it be asked again, the loop must end.
    std::set_new_handler(nullptr);
}

std::size_t address_space()
{
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

void the_handler_makes_room(void **)
{
    const std::size_t room = 64 << 20;
    rlimit before;
    malloc_trim(0);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    const rlimit limited = {address_space() + room, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &limited), 0);
    reserve = std::malloc(room / 4 * 3);
    void *block = nullptr;
    with_handler(gives_back, [&] { block = ::operator new(room / 2, std::nothrow); });
    ::operator delete(block);
    std::free(reserve);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_non_null(block);
    assert_int_equal(handler_calls, 1);
}

void malloc_and_new_are_one_heap(void **)
{
    for (std::size_t size : sizes) {
        std::free(::operator new(size));
        ::operator delete(std::malloc(size));
        void *block = std::realloc(::operator new[](size), size * 2);
        fill_and_check(block, size * 2);
        ::operator delete[](block);
    }
}

// What programs do with all of this.

struct alignas(64) vector_register {
    float lane[16];
};

template <typename Map> void fill_map(Map &map, std::mt19937 &random, int count)
{
    for (int i = 0; i < count; i++) {
        std::string text = std::to_string(random() % 1000);
        map[text + std::string(random() % 60, 'x')] += text;
        if (i % 3 == 0 && !map.empty())
            map.erase(map.begin());
    }
}

void containers(unsigned seed)
{
    std::mt19937 random(seed);
    std::map<std::string, std::string> sorted;
    std::unordered_map<std::string, std::string> hashed;
    std::list<std::vector<int>> lists;
    std::deque<std::unique_ptr<std::string>> queue;
    std::vector<vector_register> registers;
    std::set<std::shared_ptr<int>> shared;
    for (int round = 0; round < 20; round++) {
        fill_map(sorted, random, 500);
        fill_map(hashed, random, 500);
        for (int i = 0; i < 300; i++) {
            lists.emplace_back(random() % 200, i);
            queue.push_back(std::make_unique<std::string>(random() % 100, 'q'));
            registers.push_back({});
            is_aligned(&registers.back(), 64);
            shared.insert(std::make_shared<int>(i));
        }
        lists.sort();
        for (int i = 0; i < 250; i++) {
            lists.pop_front();
            queue.pop_front();
            shared.erase(shared.begin());
        }
        std::ostringstream stream;
        for (const auto &pair : sorted)
            stream << pair.first << '=' << pair.second << '\n';
        std::string text = stream.str();
        assert_int_equal(std::count(text.begin(), text.end(), '\n'), sorted.size());
    }
}

void containers_in_threads(void **)
{
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 4; i++)
        threads.emplace_back(containers, i);
    containers(4);
    for (std::thread &thread : threads)
        thread.join();
}

struct throws_in_constructor {
    explicit throws_in_constructor(int depth) : part(std::make_unique<int>(depth))
    {
        if (depth == 5)
            throw std::string(200, 'e');
        inner = std::make_unique<throws_in_constructor>(depth + 1);
    }
    std::unique_ptr<int> part;
    std::unique_ptr<throws_in_constructor> inner;
};

void exceptions_from_constructors(void **)
{
    int caught = 0;
    for (int i = 0; i < 1000; i++) {
        try {
            throws_in_constructor top(0);
        } catch (const std::string &text) {
            caught += text.size() == 200;
        }
    }
    assert_int_equal(caught, 1000);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_allocator_is_ours),  cmocka_unit_test(plain_forms),
        cmocka_unit_test(nothrow_forms),          cmocka_unit_test(aligned_forms),
        cmocka_unit_test(nothing_is_something),   cmocka_unit_test(impossible_sizes_throw),
        cmocka_unit_test(the_handler_is_called),  cmocka_unit_test(the_handler_throws),
        cmocka_unit_test(the_handler_makes_room), cmocka_unit_test(malloc_and_new_are_one_heap),
        cmocka_unit_test(containers_in_threads),  cmocka_unit_test(exceptions_from_constructors),
    };
    return cmocka_run_group_tests_name("operators", tests, nullptr, nullptr);
}
