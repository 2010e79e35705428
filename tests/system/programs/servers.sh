# shellcheck shell=bash
# The cases of cases.sh that start servers and talk to them over the loopback.
# shellcheck disable=SC2317 # called by the names in its table
# shellcheck disable=SC2016 # what is for other shells

run_postgresql() {
    local bin child data=/srv/case/data
    bin=$(echo /usr/lib/postgresql/*/bin)
    local -a as=(setpriv --reuid postgres --regid postgres --init-groups env PGHOST=/srv/case PGUSER=postgres "PATH=$bin:$PATH")
    chown postgres: .
    control() {
        "${as[@]}" pg_ctl -D "$data" -l "$PWD/server-log" -o '-k /srv/case -c listen_addresses=' -w -t 300 "$@" >>control-log 2>&1
    }
    query() {
        "${as[@]}" psql -X -q -At -v ON_ERROR_STOP=1 "$@"
    }
    "${as[@]}" initdb -D "$data" --locale=C.UTF-8 -A trust >initdb-log
    control start
    loaded postmaster "$(head -n 1 "$data/postmaster.pid")"
    for child in $(pgrep -P "$(head -n 1 "$data/postmaster.pid")"); do loaded 'process of postgresql' "$child"; done
    "${as[@]}" pgbench -i -s 2 -q >pgbench-log 2>&1
    "${as[@]}" pgbench -c 4 -j 2 -t 250 >>pgbench-log 2>&1
    "${as[@]}" pgbench -c 4 -j 2 -t 250 -M prepared -S >>pgbench-log 2>&1
    grep -E 'number of (transactions actually|failed)' pgbench-log
    query -c 'select count(*), (select sum(abalance) from pgbench_accounts) = sum(delta),
        (select sum(bbalance) from pgbench_branches) = sum(delta) from pgbench_history'
    query <<'END'
set max_parallel_workers_per_gather = 2; set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0;
create table t as select i, md5(i::text) as text, i % 97 as class, array_agg(j order by j) as list
    from generate_series(1, 60000) i, generate_series(1, 3) j group by i;
create index on t (text); create index on t using gin (list);
analyze t;
select class, count(*), min(text), max(text) from t group by class order by class limit 5;
select md5(string_agg(text, ',' order by i desc)) from t;
select sum(r) from (select rank() over (partition by class order by text) as r from t) x;
select count(*) from t a join t b on a.text = md5(b.i::text) and a.class < 50;
select jsonb_object_agg(class, n) from (select class, count(*) as n from t where class < 9 group by class) x;
select count(*) from t where text ~ '^(ab|cd)[0-9]+.*f$';
do $$ declare s text := ''; begin for n in 1..3000 loop s := s || md5(n::text); end loop; raise notice '%', md5(s); end $$;
with recursive f(n, a, b) as (values (1, 0::numeric, 1::numeric) union all select n + 1, b, a + b from f where n < 500)
    select a from f where n = 500;
select length(xmlserialize(document xmlelement(name x, xmlagg(xmlelement(name y, text))) as text)) from t where i < 2000;
END
    # It begins and ends with a word that it makes up.
    "${as[@]}" pg_dump -t t postgres | grep -vE '^\\(un)?restrict' | sort | sha256sum
    # As if the machine had stopped.
    control stop -m immediate
    control start
    query -c 'select count(*) from t' -c 'vacuum full analyze t' -c 'reindex table t' -c 'select count(*) from t where class = 7'
    control stop
    grep -E 'PANIC|terminated by signal|server process .* exited' server-log || true
}

run_nginx() {
    local worker
    openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost 2>openssl-log
    mkdir -p www/list
    touch www/list/{1..9}
    seq 200000 >www/numbers
    head -c 3000000 /dev/zero >www/zeros
    echo '<p>page</p>' >www/index.html
    chmod 755 . www www/list
    cat >conf <<'END'
worker_processes 2; user www-data; pid /srv/case/pid; error_log /srv/case/error-log;
events { worker_connections 256; }
http {
    access_log /srv/case/access-log; gzip on; gzip_min_length 100; gzip_types *;
    server { listen 127.0.0.1:8080; root /srv/case/www; location /list/ { autoindex on; } }
    server { listen 127.0.0.1:8443 ssl http2; server_name localhost; ssl_certificate /srv/case/certificate;
        ssl_certificate_key /srv/case/key; location / { proxy_pass http://127.0.0.1:8080; } }
}
END
    nginx -e "$PWD/error-log" -c "$PWD/conf" -t 2>&1 | sed 's/^/test: /'
    nginx -e "$PWD/error-log" -c "$PWD/conf" 2>nginx-errors
    until_it curl -sf http://127.0.0.1:8080/
    loaded nginx "$(<pid)"
    for worker in $(pgrep -P "$(<pid)"); do loaded worker "$worker"; done
    curl -s http://127.0.0.1:8080/numbers | sha256sum
    curl -s --compressed http://127.0.0.1:8080/numbers | sha256sum
    curl -s -r 100-50000 http://127.0.0.1:8080/numbers | sha256sum
    curl -s --cacert certificate --resolve localhost:8443:127.0.0.1 --http2 https://localhost:8443/zeros | sha256sum
    curl -s --cacert certificate --resolve localhost:8443:127.0.0.1 --compressed https://localhost:8443/numbers | sha256sum
    curl -s http://127.0.0.1:8080/list/ | grep -c href
    curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8080/nothing
    # Five at a time, while it reads its configuration again.
    seq 400 | xargs -P 5 -n 20 sh -c 'for n; do curl -s "http://127.0.0.1:8080/numbers?$n" | cksum; done' sh |
        sort | uniq -c &
    nginx -e "$PWD/error-log" -c "$PWD/conf" -s reload 2>>nginx-errors
    wait $!
    nginx -e "$PWD/error-log" -c "$PWD/conf" -s quit 2>>nginx-errors
    until_it test ! -e pid
    wc -l <access-log
    grep -E 'alert|crit|emerg|exited on signal' error-log || true
}

run_sshd() {
    local key=$PWD/key
    somebody
    echo 'somebody:a Secret-17' | chpasswd
    ssh-keygen -q -t ed25519 -N '' -C somebody -f "$PWD/key"
    mkdir -p /home/somebody/.ssh /run/sshd
    cp key.pub /home/somebody/.ssh/authorized_keys
    chown -R somebody: /home/somebody/.ssh
    chmod 700 /home/somebody/.ssh
    /usr/sbin/sshd -D -E "$PWD/log" -p 2222 -o ListenAddress=127.0.0.1 -o LogLevel=DEBUG1 2>sshd-errors &
    until_it grep -q 'Server listening' log
    loaded sshd $!
    local -a with=(-F none -i "$key" -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile="$PWD/known"
        -o BatchMode=yes -o LogLevel=ERROR)
    ssh -p 2222 "${with[@]}" somebody@127.0.0.1 'id; echo "$SHELL $HOME"; ulimit -c'
    # shellcheck disable=SC2016
    ssh -p 2222 "${with[@]}" somebody@127.0.0.1 'grep -oE "libcalloc(-secure)?.so" /proc/self/maps | sort -u | wc -l; echo $PPID' >session
    case $(head -n 1 session) in 2) echo session yes ;; *) echo session no ;; esac >>loaded
    seq 300000 >numbers
    scp -q -P 2222 "${with[@]}" numbers somebody@127.0.0.1:numbers
    printf 'get numbers back\nls\nbye\n' | sftp -q -P 2222 "${with[@]}" -b - somebody@127.0.0.1 | grep -v '^sftp>'
    cmp numbers back
    # shellcheck disable=SC2029
    tar -C /usr/share -cf - doc/bash | ssh -C -p 2222 "${with[@]}" somebody@127.0.0.1 'tar -tf - | sha256sum'
    ssh -tt -p 2222 "${with[@]}" somebody@127.0.0.1 'tty >/dev/null && stty size; exit 3' </dev/null || echo "status $?"
    # By the password, for which PAM is asked; the terminal for it is python's.
    python3 - <<'END'
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execvp('ssh', ['ssh', '-F', 'none', '-p', '2222', '-o', 'PubkeyAuthentication=no', '-o', 'StrictHostKeyChecking=no',
        '-o', 'UserKnownHostsFile=/srv/case/known', '-o', 'LogLevel=ERROR', 'somebody@127.0.0.1', 'echo logged in'])
text = b''
while True:
    try:
        got = os.read(terminal, 1000)
    except OSError:
        break
    if not got:
        break
    text += got
    if text.endswith(b'password: '):
        os.write(terminal, b'a Secret-17\n')
        text += b'\n'
print(text.decode().split('password: ')[1].strip(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
END
    ssh -p 2222 "${with[@]}" nobody@127.0.0.1 true 2>&1 | sed 's/.*: //' || true
    kill %1
    wait
    grep -c '^Accepted' log
    grep -iE 'terminated by signal|bad system call' log || true
    cat sshd-errors
}

# crontab of a user, jobs of which run at the start.
run_cron() {
    somebody
    rm -f /run/crond.reboot /run/crond.pid
    printf '%s\n' 'MAILTO=""' '@reboot id >/tmp/cron-ran; cp /proc/self/maps /tmp/cron-maps' | crontab -u somebody -
    crontab -u somebody -l
    rm -f /tmp/cron-ran /tmp/cron-maps
    cron -f -L 15 2>cron-errors &
    until_it test -s /tmp/cron-maps
    loaded cron $!
    cat /tmp/cron-ran
    grep -oE 'libcalloc(-secure)?\.so' /tmp/cron-maps | sort -u >job || true
    case $(wc -l <job) in 2) echo job yes ;; *) echo job no ;; esac >>loaded
    crontab -u somebody -r
    kill %1
    wait || true
    cat cron-errors
}

run_cron-minute() {
    somebody
    rm -f /run/crond.reboot /run/crond.pid /tmp/cron-minute
    echo '* * * * * root echo ran; seq 1000 | sort -R | sort -n | sha256sum >/tmp/cron-minute' >/etc/cron.d/minute
    cron -f -L 15 2>cron-errors &
    until_it test -s /tmp/cron-minute
    loaded cron $!
    rm /etc/cron.d/minute
    cat /tmp/cron-minute cron-errors
    kill %1
    wait || true
}
