# A server on a socket in this folder, filled, measured against, saved by a forked child and by
# itself; what it holds is compared by its own digest.
set -euo pipefail

redis-server --port 0 --unixsocket "$PWD/socket" --save '' --appendonly no --dir "$PWD" \
    --daemonize no --logfile "$PWD/log" --enable-debug-command local >/dev/null &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
client() {
    redis-cli -s "$PWD/socket" "$@"
}
# It answers once it has started; it is there or it has ended.
until client ping >/dev/null 2>&1; do
    kill -0 "$server" || exit 1
    sleep 0.02
done

redis-benchmark -s "$PWD/socket" -n 40000 -c 30 -P 16 -q \
    -t set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,mset >benchmark
grep -c 'requests per second' benchmark
# The benchmark's keys are random; these are not.
client flushall
for i in {1..400}; do
    echo "set key$i $(printf "%0$((i * 5))d" "$i")"
    echo "append key$((i % 50 + 1)) $i"
    echo "hset hash$((i % 7)) field$i value$i"
    echo "rpush list$((i % 5)) $i $((i * 2)) $((i * 3))"
    echo "zadd sorted $((i * 31 % 400)) member$i"
    echo "sadd set$((i % 3)) $i text$i"
    echo "setbit bits $((i * 1009)) 1"
    echo "xadd stream 1-$i field $i"
done | client | sort | uniq -c | sort -rn | sed -n 1,5p
client eval 'local s = 0 for i = 1, 20000 do s = s + #tostring({i}) * 0 + i end return s' 0
client del list1 hash2
client debug digest
client bgsave >/dev/null
until [[ $(client info persistence) == *rdb_bgsave_in_progress:0* ]]; do
    sleep 0.02
done
client info persistence | grep rdb_last_bgsave_status
client debug reload
client bgrewriteaof >/dev/null
until [[ $(client info persistence) == *aof_rewrite_in_progress:0* ]]; do
    sleep 0.02
done
client debug digest
client dbsize
client shutdown nosave || true
wait "$server"
grep -ciE 'bug|crash|assert' log || true
