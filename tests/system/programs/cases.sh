#!/usr/bin/env bash
# cases.sh NAME: what is run in a Debian of its own, with and without the hardened malloc for every program: a
# function each, started in an empty folder. programs.sh reads this file for its table.
#
# What a case writes to standard output and error and into result/ is compared; what differs from run to run
# (times, process ids, addresses) it takes out, or writes into other files of its folder, where only lines of
# the libraries are looked for. `loaded` tells of a process whether it has them.
# shellcheck disable=SC2317 # the functions are called by the names in the table
# shellcheck disable=SC2016 # what is for other shells

# Always, and first: the packages of all cases are installed.
# shellcheck disable=SC2034 # programs.sh's
setup=(apt-update apt-install apt-configure)

# name, group, packages that it needs
table=(
    'apt-upgrade rest'
    'apt-remove quick'
    'bash quick'
    'coreutils quick'
    'perl quick perl'
    'sort quick'
    'gcc quick gcc libc6-dev'
    'g++ quick g++ libc6-dev'
    'python quick python3 libpython3.11-testsuite'
    'postgresql quick postgresql'
    'redis quick redis-server redis-tools'
    'nginx quick nginx openssl curl'
    'sshd quick openssh-server openssh-client python3'
    'cron quick cron'
    'man quick man-db groff-base manpages'
    'file quick file'
    'setuid quick sudo'
    'gdb quick gdb gcc libc6-dev python3'
    'locales quick locales'
    'find rest'
    'git rest git'
    'xz rest xz-utils'
    'sqlite rest sqlite3'
    'ruby rest ruby'
    'java rest openjdk-17-jre-headless'
    'node rest nodejs'
    'go rest golang-go gcc libc6-dev'
    'valgrind rest valgrind gcc libc6-dev'
    'asan rest gcc libc6-dev libasan8'
    'desktop rest libgtk-3-0 libgtk-3-bin librsvg2-bin librsvg2-common adwaita-icon-theme fonts-dejavu-core fontconfig libgdk-pixbuf2.0-bin libglib2.0-bin desktop-file-utils shared-mime-info xvfb xauth imagemagick gtk-3-examples'
    'build rest meson ninja-build gcc g++ libc6-dev pkg-config valgrind libdw-dev libelf-dev libzstd-dev zlib1g-dev libseccomp-dev python3'
    'python-suite rest python3 libpython3.11-testsuite'
    'cron-minute rest cron'
    'chromium rest chromium chromium-sandbox fonts-dejavu-core'
)

# loaded WHAT PROCESS: whether that process has both libraries.
loaded() {
    local answer=no count
    count=$({ grep -oE 'libcalloc(-secure)?\.so\.[0-9]+$' "/proc/$2/maps" || true; } | sort -u | wc -l)
    case $count in
    2) answer=yes ;;
    0) grep -q . "/proc/$2/maps" || answer='is not there' ;;
    *) answer='one of two' ;;
    esac
    echo "$1 $answer" >>/srv/case/loaded
}

# until_it COMMAND…: the command succeeds at last; or it does not within some minutes, and the case fails.
until_it() {
    local _
    for _ in {1..3000}; do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "it never came true: $*" >&2
    return 1
}

somebody() {
    id somebody >/dev/null 2>&1 || useradd -m -s /bin/bash somebody
    chmod 755 /home/somebody
}

# --- apt and dpkg ----------------------------------------------------------------------

apt_get() {
    apt-get -q -y "$@" >>log 2>&1 || {
        tail -n 30 log
        return 1
    }
}

# What dpkg knows.
packages() {
    # shellcheck disable=SC2016 # dpkg's
    dpkg-query -W -f '${Package}:${Architecture} ${Version} ${db:Status-Status}\n'
    dpkg --audit
}

# Every file below /etc, /usr and the state of packages, by its content. What is left out is made anew for each
# system (keys, certificates, ids), has times in it, or says that the preload is on.
files() {
    local -a some=(/etc /usr /var/lib -xdev)
    find "${some[@]}" \( -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/postgresql \) -prune -o \
        -printf '%y %m %u %g %l %p\n' | grep -vE ' /etc/(ld\.so\.preload|calloc(/.*)?)$' | sort
    find "${some[@]}" -type f -print0 | grep -zvE '^/etc/(ld\.so\.(cache|preload)|calloc/.*)$' |
        grep -zvE '^/var/lib/(apt|dpkg|postgresql|man-db|systemd|dbus|pam|ucf/cache)/|/__pycache__/|\.cache$|\.jsa$' |
        grep -zvE '^/etc/(ssh/ssh_host_.*|machine-id|shadow-?|ssl/(certs|private)/(ssl-cert-snakeoil.*|[0-9a-f]{8}\.[0-9]))$' |
        grep -zvE '^/etc/(postgresql/.*/postgresql\.conf|ssl/certs/java/cacerts)$' | sort -z | xargs -0 sha256sum
}

run_apt-update() {
    apt_get update
    (cd /var/lib/apt/lists && find . -type f -name '*debian.org*' -exec sha256sum {} + | sort)
    apt-cache pkgnames | sort | sha256sum
    apt-cache search --names-only '^libgtk' | sort | sha256sum
    apt-cache showpkg libgtk-3-0 | sha256sum
}

run_apt-install() {
    local -a list
    mapfile -t list </srv/to_install
    apt_get install "${list[@]}"
    packages
    dpkg --verify
    files >result/files
}

# Unpacked, and configured later, as after an interruption; a package that is there is unpacked again.
run_apt-configure() {
    apt_get install --download-only --reinstall perl-base libc6 dpkg bsdutils
    apt_get install --download-only emacsen-common tcl8.6 ucf sgml-base xml-core
    dpkg --unpack /var/cache/apt/archives/{perl-base,libc6,dpkg,bsdutils,tcl8.6,libtcl8.6,ucf,sgml-base,xml-core}_*.deb >>log 2>&1
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' perl-base libc6 dpkg tcl8.6 xml-core
    dpkg --configure -a >>log 2>&1
    packages
    echo 'puts [string repeat ab 3]' | tclsh8.6
}

# What came after the last point release.
run_apt-upgrade() {
    mv /etc/apt/sources.list.d/upgrades.list{.off,}
    apt_get update
    apt-get -s -q dist-upgrade | grep -c '^Inst' >count || true
    apt_get dist-upgrade
    packages
    # Programs that were replaced run.
    perl -e 'print "perl\n"' && dpkg --version | sed -n 1p && apt-cache policy apt | sed -n 2p
}

run_apt-remove() {
    apt_get install --no-install-recommends emacsen-common dictionaries-common wamerican mime-support
    packages | grep -E 'emacsen|dictionaries|wamerican|mime'
    apt_get purge emacsen-common dictionaries-common wamerican mime-support
    apt_get autoremove
    packages
}

# --- those of tests/programs.sh -----------------------------------------------------------

for name in bash coreutils find sort perl gcc g++ python redis git xz sqlite ruby java python-suite; do
    eval "run_$name() { bash /srv/tests/programs.sh /usr/lib/x86_64-linux-gnu/libcalloc.so.1 --inside $name plain; }"
done

# shellcheck source=tests/system/programs/servers.sh
. "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

# --- smaller programs ------------------------------------------------------------------

run_man() {
    local page
    export MANPAGER=cat MANWIDTH=80
    unset MAN_DISABLE_SECCOMP
    mandb -q --create 2>mandb-log
    for page in bash.1 ls.1 dpkg.1 apt-get.8 sources.list.5 perl.1; do
        echo "$page"
        man "${page##*.}" "${page%.*}" 2>>man-log | sha256sum
    done
    man -Tps ls 2>>man-log | grep -avE '^%%(CreationDate|Creator)' | sha256sum
    man -k '^print' | sort | sha256sum
    setpriv --reuid man --regid man --clear-groups man -w ls
    grep -v 'can.t find manpage\|bad symlink\|whatis parse' mandb-log man-log || true
}

run_file() {
    local -a list
    mapfile -t list < <(find /usr/bin /usr/sbin /usr/lib/x86_64-linux-gnu /usr/share -xdev -type f | sort |
        awk 'NR % 20 == 0')
    file -- "${list[@]}" >result/files
    file -z -k --mime -- "${list[@]::300}" >result/packed
    file - </bin/ls | sed 's/BuildID.*stripped/stripped/'
}

# Programs that have more rights than their user: ld.so loads what /etc/ld.so.preload names all the same.
run_setuid() {
    somebody
    id other >/dev/null 2>&1 || useradd -m other
    echo 'other:a Secret-17' | chpasswd
    echo 'somebody ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/somebody
    chmod 440 /etc/sudoers.d/somebody
    local -a as=(setpriv --reuid somebody --regid somebody --init-groups env HOME=/home/somebody)
    "${as[@]}" sudo -n id -u
    "${as[@]}" sudo -n -u other id
    "${as[@]}" sudo -n -l | grep -v '^$' | sed 's/on [^ ]*:$/on HOST:/; s/^User somebody .* on [^ ]*/User somebody on HOST/' | sed '/Matching/d'
    # sudo waits for its command, and is looked at meanwhile.
    "${as[@]}" sudo -n sleep 300 &
    until_it pgrep -x sudo
    until_it pgrep -x sleep
    loaded sudo "$(pgrep -x sudo | head -n 1)"
    pkill -x sleep
    wait || true
    echo 'a Secret-17' | "${as[@]}" su other -c 'id; echo "$HOME"' 2>&1 | sed 's/Password: //'
    echo wrong | "${as[@]}" su other -c id 2>&1 | sed 's/Password: //' || true
    su - somebody -c 'echo "$HOME $PATH"'
    # Options of the user do not count.
    "${as[@]}" CALLOC_OPTIONS=secure.enable=0,statistics=1 sudo -n true
    "${as[@]}" CALLOC_OPTIONS=nonsense passwd -S | sed 's/ [0-9]*\/[0-9]*\/[0-9]* / DATE /'
    "${as[@]}" chfn -f Some somebody </dev/null 2>&1 | sed 's/Password: //' || true
    runuser -u other -- id -un
    "${as[@]}" newgrp somebody </dev/null
    stat -c '%a %n' /usr/bin/{su,sudo,passwd,chfn,newgrp,mount}
}

run_gdb() {
    cat >program.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { int value; struct node *next; };
static struct node *push(struct node *list, int value)
{
    struct node *node = malloc(sizeof *node);
    node->value = value;
    node->next = list;
    return node;
}
int main(void)
{
    struct node *list = NULL;
    for (int i = 0; i < 5; i++)
        list = push(list, i * i);
    char *text = strdup("some text");
    puts(text);
    abort();
}
END
    gcc -g -O0 program.c -o program
    cat >commands <<'END'
set pagination off
set confirm off
set style enabled off
break push if value == 9
run
bt
print *list
print *list->next
finish
print $.value
delete
catch signal SIGABRT
continue
up 3
print text
print *list->next->next
call (int)strlen(text)
call (void)free((void*)strdup("called"))
print ((struct node *)malloc(sizeof(struct node))) != 0
watch list->value
set var list->value = 7
info threads
kill
END
    gdb -q -batch -nx -x commands ./program >log 2>gdb-errors || true
    # Addresses, ids and the frames of libc, whose debugging symbols are not there.
    grep -E '^\$|^Breakpoint|^Run till|^some text|^#.*(push|main)|^Catchpoint' log |
        sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/process [0-9]+/process/; s/^#[0-9]+ +/#/'
    # Attached to one that runs.
    sleep 300 &
    gdb -q -batch -nx -p $! -ex 'call (int)getpid() - (int)getpid()' -ex detach >attached 2>>gdb-errors
    grep -E '^\$' attached || true
    kill $!
    # A core file, made by gdb itself.
    gdb -q -batch -nx -ex 'break abort' -ex run -ex 'generate-core-file core' -ex kill ./program >core-log 2>>gdb-errors
    gdb -q -batch -nx -ex 'frame 1' -ex 'print text' -ex 'print *list' ./program core 2>>gdb-errors |
        grep '^\$' | sed -E 's/0x[0-9a-f]+/ADDRESS/g'
    # The texts of the libraries are in it.
    rm core
}

run_locales() {
    local name
    printf '%s\n' 'de_DE.UTF-8 UTF-8' 'ja_JP.UTF-8 UTF-8' 'en_US.UTF-8 UTF-8' 'tr_TR ISO-8859-9' >/etc/locale.gen
    locale-gen >log 2>&1 || {
        cat log
        return 1
    }
    localedef --list-archive
    for name in de_DE.UTF-8 ja_JP.UTF-8 tr_TR; do
        LC_ALL=$name TZ=UTC date -d @1000000000 '+%A %x %B %c' | od -An -c | sha256sum
        printf '%s\n' z ä a Ö o ö i I | LC_ALL=$name sort | tr '\n' ' '
    done
    mkdir fr
    localedef --no-archive -i fr_FR -f UTF-8 ./fr/fr_FR.UTF-8
    (cd fr && find . -type f -exec sha256sum {} +) | sort >result/locale
}

# --- languages ------------------------------------------------------------------------------

run_node() {
    node --version
    cat >work.js <<'END'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto'), zlib = require('zlib'), http = require('http'), fs = require('fs');
const { execFileSync, fork } = require('child_process');
const digest = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);
if (!isMainThread) {
    let pieces = [];
    for (let i = 0; i < 3000; i++) pieces.push(Buffer.alloc(i % 700, i & 255));
    parentPort.postMessage(workerData + ' ' + digest(Buffer.concat(pieces)));
} else if (process.argv[2] === 'child') {
    process.on('message', (m) => { process.send(m.map((x) => x * 2)); process.disconnect(); });
} else (async () => {
    const text = Array.from({ length: 200000 }, (_, i) => 'line ' + i * 7919 % 10007).join('\n');
    console.log(digest(text), digest(zlib.inflateSync(zlib.deflateSync(text))), digest(zlib.brotliCompressSync(text.slice(0, 300000))));
    console.log(digest(JSON.stringify(JSON.parse(JSON.stringify(text.split('\n').map((l, i) => ({ l, i })))))));
    const answers = await Promise.all([1, 2, 3, 4].map((n) => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: n });
        worker.on('message', resolve); worker.on('error', reject);
    })));
    console.log(answers.join('\n'));
    const server = http.createServer((q, a) => q.pipe(a)).listen(8000, '127.0.0.1');
    await new Promise((r) => server.on('listening', r));
    for (let i = 0; i < 20; i++)
        await new Promise((resolve) => {
            const q = http.request({ port: 8000, host: '127.0.0.1', method: 'POST' }, (a) => {
                let all = []; a.on('data', (d) => all.push(d)); a.on('end', () => { if (i === 19) console.log(digest(Buffer.concat(all))); resolve(); });
            });
            q.end(text);
        });
    server.close();
    console.log(execFileSync('sort', ['-n'], { input: '3\n1\n2\n' }).toString().replace(/\n/g, ' '));
    console.log(await new Promise((r) => { const c = fork(__filename, ['child']); c.on('message', r); c.send([1, 2, 3]); }));
    const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
    console.log(crypto.verify('sha256', text, publicKey, crypto.sign('sha256', text, privateKey)));
    let n = 0; for (let i = 0; i < 300; i++) n += new Uint8Array(1 << 20).length; console.log(n);
    fs.writeFileSync('maps', fs.readFileSync('/proc/self/maps'));
})();
END
    node work.js
    case $({ grep -oE 'libcalloc(-secure)?\.so' maps || true; } | sort -u | wc -l) in 2) echo node yes ;; *) echo node no ;; esac >>loaded
}

# Programs of go alone are linked statically, and no preload reaches them; those with C in them are not.
run_go() {
    export GOCACHE=$PWD/cache GOPATH=$PWD/go GOFLAGS=-mod=mod GOTOOLCHAIN=local HOME=$PWD
    go version
    mkdir module
    cd module || return
    cat >go.mod <<'END'
module example.invalid/module
go 1.19
END
    cat >main.go <<'END'
package main

// #include <stdlib.h>
// #include <string.h>
// static char *twice(const char *s) { size_t n = strlen(s); char *r = malloc(2 * n + 1); memcpy(r, s, n); memcpy(r + n, s, n + 1); return r; }
import "C"
import ("crypto/sha256"; "encoding/json"; "fmt"; "os"; "os/exec"; "os/user"; "sort"; "strings"; "sync"; "unsafe")

func Twice(s string) string {
	in := C.CString(s)
	defer C.free(unsafe.Pointer(in))
	out := C.twice(in)
	defer C.free(unsafe.Pointer(out))
	return C.GoString(out)
}

func main() {
	var wait sync.WaitGroup
	lines := make([]string, 64)
	for i := range lines {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			s := fmt.Sprint(i)
			for len(s) < 5000 { s = Twice(s) }
			lines[i] = fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:12]
		}(i)
	}
	wait.Wait()
	sort.Strings(lines)
	text, _ := json.Marshal(lines)
	fmt.Println(string(text))
	who, err := user.Current()
	fmt.Println(who.Username, err)
	out, err := exec.Command("sh", "-c", "seq 5 | sort -rn | tr '\\n' ' '").Output()
	fmt.Println(string(out), err)
	maps, _ := os.ReadFile("/proc/self/maps")
	n := 0
	for _, name := range []string{"libcalloc.so", "libcalloc-secure.so"} { if strings.Contains(string(maps), name) { n++ } }
	answer := "no"
	if n == 2 { answer = "yes" }
	os.WriteFile("../go-loaded", []byte("cgo " + answer + "\n"), 0o644)
}
END
    cat >main_test.go <<'END'
package main

import "testing"

func TestTwice(t *testing.T) { if Twice("ab") != "abab" { t.Fatal(Twice("ab")) } }
END
    go vet ./... && go build -o ../program . && ../program
    go test ./... | sed -E 's/\t[0-9.]+s$//'
    cat ../go-loaded >>/srv/case/loaded
    mkdir ../pure && cd ../pure || return
    cp ../module/go.mod .
    printf 'package main\nimport "fmt"\nfunc main() { m := map[int]string{}; for i := 0; i < 100000; i++ { m[i] = fmt.Sprint(i) }; fmt.Println(len(m)) }\n' >main.go
    CGO_ENABLED=0 go run .
}

# --- programs that bring a malloc for finding errors ------------------------------------------------

errors_program() {
    cat >errors.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    char *block = malloc(40), *lost;
    memset(block, 'a', 40);
    switch (argc > 1 ? argv[1][0] : 0) {
    case 'o': block[40 + argc - 2] = 1; break;
    case 'f': free(block); printf("%d\n", block[3] == 'a'); return 0;
    case 'd': free(block); free(block); return 0;
    case 'u': lost = malloc(8); if (lost[argc - 2]) puts("set"); free(lost); break;
    case 'l': lost = malloc(1234); lost[0] = 1; lost = NULL; break;
    }
    free(block);
    puts("end");
    return 0;
}
END
}

run_valgrind() {
    local error
    errors_program
    gcc -g -O0 -fno-builtin errors.c -o errors
    for error in none overflow freed double uninitialised leak; do
        echo "== $error"
        valgrind -q --leak-check=full --error-exitcode=9 --num-callers=4 ./errors "$error" >out-$error 2>err-$error || echo "status $?"
        cat out-$error
        grep -E '==[0-9]+== *(Invalid|Address|Conditional|[0-9,]+ bytes|by .*errors\.c|at .*errors\.c|Block was)' err-$error |
            sed -E 's/==[0-9]+== *//; s/0x[0-9A-Fa-f]+/ADDRESS/g' || true
    done
    # On other programs, for what the libraries themselves do.
    valgrind -q --error-exitcode=9 /bin/ls / >ls-out 2>ls-err && cat ls-err
    valgrind --tool=callgrind --callgrind-out-file=callgrind ./errors 2>callgrind-log
    valgrind --tool=massif --massif-out-file=massif ./errors 2>massif-log
    grep -c heap_tree massif | awk '{ print ($1 > 0) }'
    valgrind --tool=helgrind -q ./errors 2>helgrind-log && cat helgrind-log
}

# A sanitizer's runtime has to come before any other malloc, and says so where it does not. What its user does:
# link it into the program; or name it in LD_PRELOAD, which ld.so reads before /etc/ld.so.preload; or give the
# program mounts of its own in which nothing is preloaded.
run_asan() {
    local error kind
    errors_program
    gcc -g -O0 -fno-builtin -fsanitize=address errors.c -o shared
    gcc -g -O0 -fno-builtin -fsanitize=address -static-libasan errors.c -o linked
    gcc -g -O0 -fsanitize=undefined errors.c -o undefined
    without() {
        # The root of a chroot is no mount of its own.
        unshare --mount --propagation unchanged sh -c 'mount --bind /dev/null /etc/ld.so.preload && exec "$@"' sh "$@"
    }
    [[ -e /etc/ld.so.preload ]] || without() { "$@"; }
    for kind in linked preloaded shared; do
        for error in none overflow freed double leak; do
            echo "== $kind, $error"
            case $kind in
            linked) ./linked "$error" >out-$error 2>err-$error || echo "status $?" ;;
            preloaded) LD_PRELOAD=$(gcc -print-file-name=libasan.so) ./shared "$error" >out-$error 2>err-$error || echo "status $?" ;;
            shared) without ./shared "$error" >out-$error 2>err-$error || echo "status $?" ;;
            esac
            cat out-$error
            grep -oE 'AddressSanitizer: [a-z-]+( [a-z-]+)?|#[0-9] 0x[0-9a-f]+ in main .*errors.c:[0-9]+|LeakSanitizer: .*' err-$error |
                sed -E 's/0x[0-9a-f]+/ADDRESS/; s/ADDRESS in main .*\//in main /' || true
        done
    done
    ./undefined leak
    # What happens to one that is not given them: kept as it is, and compared with nothing.
    ./shared none >as-it-is 2>&1 || echo "status $?" >>as-it-is
}

# --- a desktop -------------------------------------------------------------------------------------

run_desktop() {
    cat >picture.svg <<'END'
<svg xmlns="http://www.w3.org/2000/svg" width="600" height="400"><defs><linearGradient id="g"><stop offset="0" stop-color="red"/>
<stop offset="1" stop-color="blue"/></linearGradient><filter id="f"><feGaussianBlur stdDeviation="4"/></filter></defs>
<rect width="600" height="400" fill="url(#g)"/><circle cx="200" cy="200" r="120" fill="yellow" filter="url(#f)"/>
<text x="40" y="350" font-family="DejaVu Sans" font-size="48">Hamburgefonstiv</text></svg>
END
    rsvg-convert -o result/picture.png picture.svg
    rsvg-convert -f pdf picture.svg | wc -c | awk '{ print ($1 > 1000) }'
    gdk-pixbuf-thumbnailer -s 128 result/picture.png thumbnail.png && convert thumbnail.png -depth 8 rgb:- | sha256sum
    gdk-pixbuf-csource --raw --name=picture thumbnail.png | sha256sum
    convert result/picture.png -resize 50% -rotate 30 -blur 0x3 -colors 32 -depth 8 rgb:- | sha256sum
    fc-cache -f && fc-list : family | sort
    fc-match 'sans:bold'
    /usr/lib/x86_64-linux-gnu/libgtk-3-0/gtk-query-immodules-3.0 | grep -v '^# GTK' | sha256sum
    update-mime-database /usr/share/mime && update-desktop-database && glib-compile-schemas /usr/share/glib-2.0/schemas 2>&1
    gtk-update-icon-cache -f -q /usr/share/icons/hicolor && echo icons
    rm -f /tmp/.X9-lock /tmp/.X11-unix/X9
    Xvfb :9 -screen 0 1000x700x24 -nolisten tcp >xvfb-log 2>&1 &
    until_it test -S /tmp/.X11-unix/X9
    loaded Xvfb $!
    export DISPLAY=:9 GDK_BACKEND=x11 NO_AT_BRIDGE=1 GTK_THEME=Adwaita XDG_RUNTIME_DIR=$PWD GTK_OVERLAY_SCROLLING=0
    gsettings set org.gnome.desktop.interface enable-animations false 2>gsettings-log || true
    gtk3-widget-factory >widgets-log 2>&1 &
    loaded widgets $!
    # Some of what it shows moves: that it is drawn has to do.
    drawn() {
        [[ $(import -window root -format '%k' info:- 2>/dev/null) -gt 50 ]]
    }
    until_it drawn
    sleep 1
    import -window root widgets.png
    kill %2
    kill %1
    wait || true
    grep -E 'CRITICAL|Segmentation|Aborted' widgets-log xvfb-log || true
}

# Our own sources are a project as any other; elsewhere, as the texts of the libraries are in them.
run_build() {
    local file
    rm -rf /srv/tree
    cp -r /srv/source /srv/tree
    cd /srv/tree || return
    meson setup build -Dbuildtype=release -Dtests=false >/srv/case/setup-log
    ninja -C build >/srv/case/build-log || {
        tail -n 30 /srv/case/build-log
        return 1
    }
    find build -name '*.so.*' -type f | sort | while read -r file; do sha256sum "$file"; done
}

run_chromium() {
    somebody
    chown somebody: .
    cat >page.html <<'END'
<!doctype html><meta charset=utf-8><title>page</title><style>body{font:16px "DejaVu Sans";margin:20px}
.g{width:400px;height:120px;background:linear-gradient(90deg,red,blue);border-radius:30px;transform:rotate(3deg)}
td{border:1px solid #888;padding:4px}</style><h1>Hamburgefonstiv</h1><div class=g></div><table id=t></table>
<canvas id=c width=300 height=120></canvas><svg width=120 height=120><circle cx=60 cy=60 r=50 fill=green /></svg>
<script>let t=document.getElementById('t');for(let i=0;i<12;i++){let r=t.insertRow();for(let j=0;j<12;j++)r.insertCell().textContent=i*j}
let c=document.getElementById('c').getContext('2d');for(let i=0;i<60;i++){c.fillStyle=`hsl(${i*6},80%,50%)`;c.fillRect(i*5,0,5,100+Math.sin(i)*20)}
let s=[];for(let i=0;i<300000;i++)s.push('x'+i*7919%10007);s.sort();let p=document.createElement('p');p.textContent=s[77777]+' '+s.length;
document.body.appendChild(p)</script>
END
    chown somebody: page.html result
    local -a as=(setpriv --reuid somebody --regid somebody --init-groups env HOME=/home/somebody)
    local -a with=(--headless --disable-gpu --hide-scrollbars --no-first-run --user-data-dir=/srv/case/profile)
    chromium_runs() {
        "${as[@]}" chromium "${with[@]}" "$@"
    }
    chromium_runs --window-size=800,900 --screenshot=/srv/case/result/page.png file:///srv/case/page.html >log 2>&1
    chromium_runs --dump-dom file:///srv/case/page.html 2>>log | sha256sum
    chromium_runs --print-to-pdf=/srv/case/page.pdf file:///srv/case/page.html >>log 2>&1
    head -c 5 page.pdf
    echo
    # Its processes, while it waits to be driven: the browser, the zygotes and a renderer in its sandbox.
    "${as[@]}" chromium "${with[@]}" --remote-debugging-port=9222 file:///srv/case/page.html >>log 2>&1 &
    until_it pgrep -f -- --type=renderer
    local process type
    for process in $(pgrep -f '/chromium/chromium '); do
        type=$({ tr '\0' ' ' <"/proc/$process/cmdline"; } 2>/dev/null | grep -oE -- '--type=[a-z-]+' || true)
        loaded "chromium ${type:-browser}" "$process" 2>/dev/null
    done
    # One that has ended meanwhile has nothing loaded any more.
    sed -i '/^chromium .* is not there$/d' loaded
    sort -u loaded -o loaded
    pkill -f '/chromium/chromium ' || true
    wait || true
    file result/page.png 2>/dev/null || od -An -tx1 -N 24 result/page.png
}

# --- one case ------------------------------------------------------------------------------------------

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    export LC_ALL=C.UTF-8 TZ=UTC
    loaded shell $$
    "run_$1"
fi
