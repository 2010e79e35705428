// Enough of the standard library to make the compiler allocate.
#include <algorithm>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct sum {
    static constexpr long value = N + sum<N - 1>::value;
};
template <> struct sum<0> {
    static constexpr long value = 0;
};

static long work(int seed)
{
    std::map<std::string, std::vector<std::variant<int, std::string>>> table;
    for (int i = 0; i < 2000; i++) {
        std::string key = std::to_string((i * 31 + seed) % 211);
        if (i % 2)
            table[key].emplace_back(i);
        else
            table[key].emplace_back(std::string(static_cast<std::size_t>(i % 90), 'v'));
    }
    long result = 0;
    std::regex digits("([0-9])([0-9]+)");
    for (auto &[key, values] : table) {
        result += std::regex_match(key, digits);
        for (auto &value : values)
            result += std::holds_alternative<int>(value) ? 1 : 2;
    }
    return result;
}

int main()
{
    std::vector<std::future<long>> futures;
    for (int i = 0; i < 8; i++)
        futures.push_back(std::async(std::launch::async, work, i));
    long total = 0;
    for (auto &future : futures)
        total += future.get();
    std::cout << sum<500>::value << ' ' << total << '\n';
}
