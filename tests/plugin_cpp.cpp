// What plugin_host loads.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace
{

volatile std::size_t impossible = PTRDIFF_MAX;
std::map<std::string, std::vector<int>> made_by_constructor = {{"one", {1}}, {"two", {1, 2}}};
thread_local std::string local(300, 'l');
int handler_calls;

void handler()
{
    handler_calls++;
    std::set_new_handler(nullptr);
}

void throwing_handler()
{
    handler_calls++;
    throw std::bad_alloc();
}

} // namespace

extern "C" const char *plugin_check()
{
    if (local.size() != 300 || made_by_constructor["two"].size() != 2)
        return "constructors did not run";
    for (int i = 0; i < 1000; i++)
        made_by_constructor[std::to_string(i)].resize(static_cast<std::size_t>(i));
    // The C++ library is not unloaded with us, nor are we when we use certain parts of it.
    handler_calls = 0;
    std::set_new_handler(handler);
    bool thrown = false;
    try {
        ::operator delete(::operator new(impossible));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    std::set_new_handler(nullptr);
    if (!thrown)
        return "no bad_alloc";
    if (handler_calls != 1)
        return "the new-handler was not called once";
    if (::operator new(impossible, std::nothrow) != nullptr)
        return "nothrow new must give null";
    std::set_new_handler(throwing_handler);
    handler_calls = 0;
    if (::operator new(impossible, std::nothrow) != nullptr)
        return "nothrow new must give null when the new-handler throws";
    if (handler_calls != 1)
        return "nothrow new did not call the new-handler";
    handler_calls = 0;
    if (::operator new[](impossible, std::align_val_t{64}, std::nothrow) != nullptr)
        return "aligned nothrow new must give null when the new-handler throws";
    if (handler_calls != 1)
        return "aligned nothrow new did not call the new-handler";
    std::set_new_handler(nullptr);
    return nullptr;
}
