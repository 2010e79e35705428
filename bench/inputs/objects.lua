-- Trees, tables of strings, closures, and text put together piece by piece; prints checksums.
local function tree(depth)
    if depth == 0 then return {} end
    return {tree(depth - 1), tree(depth - 1), depth = depth}
end

local function nodes(root)
    return root[1] and 1 + nodes(root[1]) + nodes(root[2]) or 1
end

local kept = tree(15)
local total = 0
for turn = 1, 40 do
    total = total + nodes(tree(12))
end
print(total, nodes(kept))

local words, count = {}, 0
for number = 1, 400000 do
    local word = "word" .. (number * 7919 % 100003)
    if not words[word] then count = count + 1 end
    words[word] = (words[word] or 0) + number % 7
end
local sorted = {}
for word in pairs(words) do sorted[#sorted + 1] = word end
table.sort(sorted)
local sum = 0
for place, word in ipairs(sorted) do sum = (sum * 31 + place * words[word]) % 1000000007 end
print(count, sum)

local pieces, adders = {}, {}
for number = 1, 100000 do
    adders[number % 1000 + 1] = function(value) return value + number end
    pieces[number] = string.rep(string.char(97 + number % 26), number % 50)
end
local text = table.concat(pieces)
local replaced, times = text:gsub("aa+", "<%0>")
local value = 0
for place = 1, #adders do value = adders[place](value) end
print(#text, #replaced, times, value)
