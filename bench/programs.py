#!/usr/bin/env python3
"""Real programs under libcalloc and its peers, side by side: time, CPU time, peak memory.

Each program runs under each allocator in turn, several rounds; the tables give medians as ratios
to glibc, the best peer, and libcalloc's ratio to it. The inputs are generated, the same each time.
What the programs compute must be the same under all allocators: anything else is a failure.

    programs.py                          all programs, three rounds
    programs.py --list                   what the programs do
    programs.py --only sqlite --rounds 9
    programs.py --peer rpmalloc=/path.so with another column
    programs.py --json FILE --svg FILE   also write the figures, and draw them

Time is from start to end of the program; with redis that of the clients, who are not on the
allocator measured. CPU time is the sum over the program and the processes it starts. Peak memory is
that of the largest single process: with gcc the compiler proper (cc1), with git the packing one.
The library is preloaded into all of them; for glibc, glibc itself is, as some programs are linked
with another allocator (redis-server with jemalloc).

Exit status: 0, 1 where a run failed or computed something else, 2 where nothing could be measured.
"""

import collections
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import common
import inputs
import options
from common import Failed, say

SCRIPTS = common.HERE / "inputs"
COLUMNS = [("time", "seconds"), ("CPU time", "cpu"), ("peak resident", "peak")]
FIELDS = ("seconds", "cpu", "peak")
GLIBC = common.Allocator((common.DEBIAN / "libc.so.6",))


class Launched:
    """A program that runs in a folder on an allocator, with its output in files of that folder."""

    def __init__(self, launcher, allocator, command, folder, environment=None, stdin=None):
        self.folder = folder
        self.name = Path(command[0]).name
        with (open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr,
              open(stdin or os.devnull, "rb") as given):
            self.process = subprocess.Popen(
                [launcher, folder / "launched", allocator.preload, *map(str, command)],
                stdin=given, stdout=stdout, stderr=stderr, cwd=folder, start_new_session=True,
                env={**common.ENVIRONMENT, "HOME": str(folder), **allocator.environment,
                     **(environment or {})})

    def kill(self):
        """End it and what it started; nothing when it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def wait(self):
        """Its measurements, once it has ended well."""
        try:
            self.process.wait(timeout=common.SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"not finished after {common.SECONDS} s") from None
        finally:
            self.kill()
        messages = (self.folder / "stderr").read_text(errors="replace")
        if self.process.returncode != 0:
            raise Failed(f"could not be launched: {messages.strip()[-200:]}")
        wall, user, system, peak, status = (self.folder / "launched").read_text().split()
        code = os.waitstatus_to_exitcode(int(status))
        if code != 0:
            how = f"signal {-code}" if code < 0 else f"exit status {code}"
            raise Failed(f"{self.name}: {how}: {messages.strip()[-200:] or 'no message'}")
        common.must_be_preloaded(messages)
        return {"seconds": float(wall), "cpu": float(user) + float(system), "peak": int(peak)}


def client(*command, **options):
    """Run a program that is not measured; returns what it prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=common.SECONDS,
                          **{"env": common.ENVIRONMENT, **options})
    if done.returncode != 0:
        raise Failed(f"{command[0]}: exit status {done.returncode}: "
                     f"{done.stderr.decode(errors='replace').strip()[-200:]}")
    return done.stdout


@dataclass
class Program:
    """One to measure. In `command`, {scripts}, {inputs} and {work} stand for folders: what is kept
    in the repository, what prepare() has generated, and the folder of the run."""

    about: str
    packages: dict
    command: list
    prepare: object = None
    before: object = None
    environment: dict = field(default_factory=dict)
    stdin: str = None
    result: object = lambda work: (work / "stdout").read_bytes()

    def run(self, launch, given, work):
        """One run in the empty folder `work`: (measurements, what it computed)."""
        folders = {"scripts": SCRIPTS, "inputs": given, "work": work}
        if self.before:
            self.before(given, work)
        command = [word.format_map(folders) for word in self.command]
        stdin = self.stdin and self.stdin.format_map(folders)
        measured = launch(command, work, self.environment, stdin).wait()
        return measured, self.result(work)


class Redis(Program):
    """The server is measured, the clients are not: a load of all types of keys, then benchmarks."""

    def run(self, launch, given, work):
        socket = work / "socket"
        server = launch([word.format_map({"work": work}) for word in self.command], work)
        try:
            self.await_answer(server, socket)
            started = time.perf_counter()
            with open(given / "commands", "rb") as commands:
                client("redis-cli", "-s", socket, "--pipe", stdin=commands)
            client("redis-benchmark", "-s", socket, "-q", "-n", "60000", "-c", "20", "-P", "16",
                   "-d", "100", "-t", "set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,lrange_100")
            seconds = time.perf_counter() - started
            # The digest is over all keys and values, whatever their order in memory.
            held = b"".join(client("redis-cli", "-s", socket, *words)
                            for words in (["DBSIZE"], ["LLEN", "mylist"], ["DEBUG", "DIGEST"]))
            if b"ERR" in held:
                raise Failed(f"redis-server answers {held.decode(errors='replace').strip()}")
            subprocess.run(["redis-cli", "-s", socket, "SHUTDOWN", "NOSAVE"], check=False,
                           capture_output=True, env=common.ENVIRONMENT)
            return {**server.wait(), "seconds": seconds}, held
        except Failed as reason:
            if server.process.poll() is not None:
                server.wait()
            raise reason
        finally:
            server.kill()

    @staticmethod
    def await_answer(server, socket):
        until = time.monotonic() + 30
        while subprocess.run(["redis-cli", "-s", socket, "PING"], check=False, capture_output=True,
                             env=common.ENVIRONMENT).stdout != b"PONG\n":
            if server.process.poll() is not None:
                raise Failed("redis-server ended at once")
            if time.monotonic() > until:
                raise Failed("redis-server does not answer")
            time.sleep(0.01)


def write(name, make):
    """prepare() for an input that is a file: `make` gives its text in pieces, or its bytes."""
    def prepare(folder):
        made = make()
        data = made if isinstance(made, bytes) else "".join(made).encode()
        (folder / name).write_bytes(data)
    return prepare


def prepare_document(folder):
    client("gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=pdfwrite", "-dpages=80",
           f"-sOutputFile={folder / 'document.pdf'}", SCRIPTS / "pages.ps")


GIT = {**common.ENVIRONMENT, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def prepare_repository(folder):
    client("git", "init", "-q", "--bare", "-b", "main", folder / "repository", env=GIT)
    client("git", "-C", folder / "repository", "-c", "fastimport.unpackLimit=1", "fast-import",
           "--quiet", env=GIT, input=b"".join(inputs.git_stream(500, 80, 250)))


def git_result(work):
    """All objects by their names, once git has checked them; the packs may differ, as two threads
    share the work."""
    repository = work / "repository"
    client("git", "-C", repository, "fsck", "--full", "--strict", env=GIT)
    packs = list(repository.glob("objects/pack/*.pack"))
    if len(packs) != 1:
        raise Failed(f"git gc left {len(packs)} packs")
    return client("git", "-C", repository, "rev-list", "--objects", "--all", env=GIT)


def rocksdb_result(work):
    """How many keys were found; the rest of what db_bench prints are times."""
    lines = (work / "stdout").read_text(errors="replace").splitlines()
    found = [line.split()[0] + line[line.rindex("("):] for line in lines if " found)" in line]
    if len(found) != 2:
        raise Failed("db_bench did not say what it found")
    return "\n".join(found).encode()


PROGRAMS = {
    "redis": Redis(
        "redis-server: 150,000 keys and changes of them, then redis-benchmark, on a socket",
        {"redis-server": "redis-server", "redis-cli": "redis-tools",
         "redis-benchmark": "redis-tools"},
        ["redis-server", "--port", "0", "--unixsocket", "{work}/socket", "--save", "",
         "--appendonly", "no", "--dir", "{work}", "--daemonize", "no", "--enable-debug-command",
         "local"],
        prepare=write("commands", lambda: inputs.redis_commands(150000))),
    "python": Program(
        "python3 with PYTHONMALLOC=malloc: JSON of 25,000 objects written, parsed, changed",
        {"/usr/bin/python3": "python3"}, ["/usr/bin/python3", "{scripts}/objects.py", "25000"],
        environment={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}),
    "sqlite": Program(
        "sqlite3 in memory: 300,000 rows inserted, indexed, joined, updated",
        {"sqlite3": "sqlite3"}, ["sqlite3", "-batch", ":memory:"], stdin="{scripts}/tables.sql"),
    "lua": Program(
        "lua5.4: trees, tables of strings, closures, text",
        {"lua5.4": "lua5.4"}, ["lua5.4", "{scripts}/objects.lua"]),
    "perl": Program(
        "perl: hashes, lists of lists, strings, sorts, regular expressions",
        {"perl": "perl"}, ["perl", "{scripts}/words.pl"],
        environment={"PERL_HASH_SEED": "0"}),
    "gcc": Program(
        "gcc -O2 of a C file with 60 functions",
        {"gcc": "gcc"}, ["gcc", "-O2", "-c", "{inputs}/functions.c", "-o", "{work}/functions.o"],
        prepare=write("functions.c", lambda: inputs.c_source(60)),
        result=lambda work: (work / "functions.o").read_bytes()),
    "ghostscript": Program(
        "gs: a PDF of 80 pages of text, curves, shades and pictures rendered",
        {"gs": "ghostscript"},
        ["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=pgmraw", "-r90",
         "-sOutputFile={work}/pages.pgm", "{inputs}/document.pdf"],
        prepare=prepare_document,
        result=lambda work: (work / "pages.pgm").read_bytes()),
    "xz": Program(
        "xz -T2: 10 MiB of text in blocks of 1 MiB",
        {"xz": "xz-utils"}, ["xz", "-T2", "-6", "--block-size=1MiB", "--stdout", "{inputs}/text"],
        prepare=write("text", lambda: inputs.text(10 << 20))),
    "git": Program(
        "git gc --aggressive: 500 commits, 80 files",
        {"git": "git"},
        ["git", "-C", "{work}/repository", "-c", "pack.threads=2", "gc", "--quiet", "--aggressive",
         "--prune=now"],
        prepare=prepare_repository,
        before=lambda given, work: shutil.copytree(given / "repository", work / "repository"),
        environment={name: GIT[name] for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")},
        result=git_result),
    "rocksdb": Program(
        "db_bench: 60,000 keys written, overwritten, read, sought, deleted",
        {"db_bench": "rocksdb-tools"},
        ["db_bench", "--benchmarks=fillrandom,overwrite,readrandom,seekrandom,deleterandom",
         "--num=60000", "--db={work}/database", "--compression_type=none", "--seed=1",
         "--threads=1"],
        result=rocksdb_result),
    "z3": Program(
        "z3: a pigeonhole problem and factors of eight products, by bit vectors",
        {"z3": "z3"}, ["z3", "{inputs}/problems.smt2"],
        prepare=write("problems.smt2", inputs.solver_problems)),
}


def about():
    """{name: what it does}."""
    return {name: program.about for name, program in PROGRAMS.items()}


def available(names, known=None):
    """Those whose programs are installed, and a line for each that is not."""
    there, missing = [], []
    for name in names:
        lacking = {package for binary, package in (known or PROGRAMS)[name].packages.items()
                   if not shutil.which(binary)}
        if lacking:
            missing.append(f"{name}: not installed: {' '.join(sorted(lacking))}")
        else:
            there.append(name)
    return there, missing


class Bench:
    """Runs programs in a temporary folder and compares what they compute."""

    def __init__(self, folder, known=None):
        self.folder = folder
        self.programs = known or PROGRAMS
        self.launcher = common.build("launch", "launch.c", flags=())
        self.results = collections.defaultdict(list)

    def prepare(self, names):
        """Generate the inputs; returns the programs that have theirs, and the failures."""
        ready, failures = [], []
        for name in names:
            folder = self.folder / "inputs" / name
            folder.mkdir(parents=True)
            try:
                if self.programs[name].prepare:
                    self.programs[name].prepare(folder)
                ready.append(name)
            except (Failed, OSError, subprocess.TimeoutExpired) as reason:
                failures.append(f"{name}: no input: {reason}")
                say(failures[-1])
        return ready, failures

    def launch(self, allocator, command, folder, environment, stdin):
        """Start a program on an allocator; what is another benchmark's to change."""
        return Launched(self.launcher, allocator if allocator.libraries else GLIBC, command,
                        folder, environment, stdin)

    def run(self, title, allocator, name):
        """One run of a program, for common.measure()."""
        work = self.folder / "work"
        work.mkdir()

        def launch(command, folder, environment=None, stdin=None):
            return self.launch(allocator, command, folder, environment, stdin)
        try:
            measured, computed = self.programs[name].run(launch, self.folder / "inputs" / name,
                                                         work)
        except (OSError, subprocess.TimeoutExpired) as reason:
            raise Failed(reason) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self.results[name].append((title, hashlib.sha256(computed).hexdigest()))
        return measured

    def differences(self):
        """A line for each allocator under which a program did not compute what most runs did."""
        lines = []
        for name, results in self.results.items():
            usual = collections.Counter(digest for _, digest in results).most_common(1)[0][0]
            wrong = collections.Counter(title for title, digest in results if digest != usual)
            lines += [f"{title}, {name}: wrong result in {count} runs"
                      for title, count in wrong.items()]
        return lines


def measure(cases, rounds, choose):
    """(allocators, runs, failures) of new measurements of what `choose` gives."""
    names, failures = available(cases)
    for line in failures:
        say(line)
    if not names:
        raise Failed("nothing to measure")
    allocators = choose()
    with tempfile.TemporaryDirectory(prefix="libcalloc-programs-") as folder:
        bench = Bench(Path(folder))
        names, unprepared = bench.prepare(names)
        runs, failed = common.measure(allocators, names, rounds, bench.run)
        return list(allocators), runs, [*failures, *unprepared, *failed, *bench.differences()]


def main():
    parser = options.parser(__doc__, 3, "PROGRAM",
                            ("list", "only", "peer", "json", "svg", "from"))
    arguments = parser.parse("programs", lambda _: about(), FIELDS)
    measured = arguments.kept or measure(arguments.cases, arguments.rounds,
                                         lambda: common.choose(arguments.peer))
    return common.report("programs", arguments, *measured, COLUMNS,
                         [("peak resident, MiB", "peak", lambda value: f"{value / 1024:.1f}"),
                          ("seconds", "seconds", "{:.3f}".format)],
                         "Real programs")


if __name__ == "__main__":
    sys.exit(common.main(main))
