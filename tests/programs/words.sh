# Arrays, associative arrays, substitutions and subshells, by the thousand.
declare -A count
words=()
for ((i = 0; i < 6000; i++)); do
    word=w$((i * 7919 % 1000))
    words+=("$word$word")
    count[$word]=$((${count[$word]-0} + 1))
done
echo "${#words[@]} ${#count[@]} ${count[w999]}"
text="${words[*]}"
echo "${#text} ${text//w1/x}" | cksum
while IFS= read -r line; do
    last=$line
done < <(printf '%s\n' "${words[@]}" | sort)
echo "$last"
text=
for ((i = 0; i < 2000; i++)); do
    text+=$(printf '%04d' "$i")
done
echo "${#text}"
