"""Profiles with known contents: what the tests of the report compare with. No file of a module is there, so
that frames are named by module and address on any machine."""

import random

from profile_file import DIRECT, INDIRECT, NONE, NOT_FREED, TRACE, Events, ProfileFile


def small():
    """Three functions of a program and one of a library; leaks of each kind; a class, regions, a time line."""
    file = ProfileFile()
    file.set_process("/opt/example/bin/server", "server --port 80 <test>", allocations=113, allocated_bytes=45_000,
                     frees=101, freed_bytes=40_000, temporaries=50, peak_bytes=30_000, peak_time=1_500_000_000,
                     resident_bytes=4 << 20, peak_resident_bytes=5 << 20, heap_mapped_bytes=2 << 20,
                     own_bytes=300_000)
    program = file.module("/opt/example/bin/server", 0x400000, 0x500000, bias=0x400000)
    library = file.module("/opt/example/lib/libparse.so.1", 0x7F0000000000, 0x7F0000100000)
    main, serve, worker = (file.frame(0x400000 + offset, program) for offset in (0x1001, 0x2001, 0x3001))
    parse = file.frame(0x7F0000000000 + 0x51, library)
    file.thread("server", 4711, allocations=101, allocated_bytes=44_000, frees=101, freed_bytes=40_000)
    file.thread("worker", 4712, start=1000, end=1_900_000_000, allocations=10, allocated_bytes=1000)
    kept = file.site([main, serve, parse], allocations=100, allocated_bytes=40_500, frees=99, freed_bytes=39_600,
                     temporaries=50, slack=1200, peak_blocks=60, peak_bytes=26_000, lifetimes={0: 49, 3: 40, 7: 10},
                     thread=0)
    lost = file.site([main, worker], allocations=10, allocated_bytes=1000, peak_blocks=10, peak_bytes=1000,
                     thread=1)
    gone = file.site([NONE, serve], allocations=3, allocated_bytes=3500, frees=2, freed_bytes=400,
                     peak_blocks=1, peak_bytes=3000, lifetimes={15: 2})
    file.leak(lost, DIRECT, 100, 4)
    file.leak(lost, INDIRECT, 100, 6, example=0x7F0000002000)
    file.leak(kept, NOT_FREED, 900, 1)
    file.leak(gone, DIRECT, 3100, 1, suppression=file.suppression("leak:gone_*", 1, 3100))
    file.looked_for_leaks()
    for i in range(21):
        live = 30_000 - abs(15 - i) * 1_800
        file.moment(i * 100_000_000, live // 400, live, 5 * i, (2 << 20) + live * 40)
    file.size_class(112, 1, 585, 20, 65536)
    file.size_class(448, 2, 292, 8, 131072)
    file.region(0x7F1000000000, 65536, 1, 112, 585, 20)
    file.region(0x7F1000010000, 131072, 1, 448, 292, 8)
    file.region(0x7F1000030000, 262144, 4, flags=1)
    file.region(0x7F1000070000, 589824, 4)
    return file


def sampled():
    """As small(), of samples, and of what leaked only what is suppressed was among them."""
    file = small()
    file.process.update(flags=1, sample_bytes=65536)
    del file.leaks[:2]
    return file


def grown():
    """As small(), later: one site has more, one is gone, one is new."""
    file = ProfileFile()
    file.set_process("/opt/example/bin/server", "server --port 80 <test>", allocations=200, allocated_bytes=90_000,
                     frees=150, freed_bytes=60_000, peak_bytes=50_000, peak_time=1_000_000_000)
    program = file.module("/opt/example/bin/server", 0x400000, 0x500000, bias=0x400000)
    library = file.module("/opt/example/lib/libparse.so.1", 0x7F0000000000, 0x7F0000100000)
    main, serve, fresh = (file.frame(0x400000 + offset, program) for offset in (0x1001, 0x2001, 0x4001))
    parse = file.frame(0x7F0000000000 + 0x51, library)
    file.site([main, serve, parse], allocations=180, allocated_bytes=80_000, frees=150, freed_bytes=60_000,
              peak_blocks=100, peak_bytes=45_000)
    file.site([main, fresh], allocations=20, allocated_bytes=10_000, peak_blocks=10, peak_bytes=5_000)
    return file


def large(seed=1, sites=4000):
    """A program such as one has: modules, deep and wide stacks, megabytes. For pages that are looked at."""
    pick = random.Random(seed)
    file = ProfileFile()
    modules = [file.module(path, 0x400000 + i * 0x10000000, 0x500000 + i * 0x10000000, bias=0x400000 + i * 0x10000000)
               for i, path in enumerate(["/opt/example/bin/editor", "/opt/example/lib/libwidgets.so.4", "/usr/lib/libtext.so.2",
                                         "/opt/example/lib/libimage.so.1", "/usr/lib/libstdc++.so.6"])]

    def frame(module, function):
        return file.frame(0x400000 + modules[module] * 0x10000000 + 0x100 + function * 0x40, modules[module])

    totals = dict.fromkeys(("allocations", "allocated_bytes", "frees", "freed_bytes", "temporaries", "peak"), 0)
    stacks = [[frame(0, 0), frame(0, 1)]]
    for _ in range(sites):
        base = pick.choice(stacks)
        stack = base[:pick.randint(1, len(base))]
        for _ in range(pick.randint(1, 6)):
            module = min(4, int(pick.expovariate(0.8)))
            stack = stack + [frame(module, int(pick.expovariate(0.08)))]
        if len(stack) > 40:
            continue
        stacks.append(stack)
        count = int(pick.paretovariate(0.7)) % 200_000 + 1
        size = pick.choice([16, 24, 48, 64, 100, 256, 800, 4096, 20_000])
        kept = pick.choice([0, 0, 1, count // 10, count // 3])
        temporary = pick.randint(0, (count - kept) // 2)
        live = kept + pick.randint(0, (count - kept) // 4)
        file.site(stack, allocations=count, allocated_bytes=count * size, frees=count - kept,
                  freed_bytes=(count - kept) * size, temporaries=temporary, slack=count * (-size % 16),
                  peak_blocks=live, peak_bytes=live * size,
                  lifetimes={pick.randint(0, 9): count - kept})
        if kept and pick.random() < 0.03:
            file.leak(len(file.sites) - 1, pick.choice([DIRECT, DIRECT, INDIRECT]), size, max(1, kept // 4))
        for name, value in (("allocations", count), ("allocated_bytes", count * size), ("frees", count - kept),
                            ("freed_bytes", (count - kept) * size), ("temporaries", temporary),
                            ("peak", live * size)):
            totals[name] += value
    live_end = totals["allocated_bytes"] - totals["freed_bytes"]
    peak = totals.pop("peak")
    file.set_process("/opt/example/bin/editor", "editor --new-window notes.txt", peak_bytes=peak,
                     peak_time=61_000_000_000, duration=93_000_000_000, resident_bytes=live_end + (40 << 20),
                     peak_resident_bytes=peak + (44 << 20), heap_mapped_bytes=peak + (9 << 20), **totals)
    file.process["duration"] = 93_000_000_000
    file.looked_for_leaks()
    file.thread("editor", 4711, allocations=totals["allocations"], allocated_bytes=totals["allocated_bytes"])
    value = 0.0
    for i in range(400):
        target = peak if 180 < i < 262 else peak * 0.5 if i <= 180 else live_end
        value += (target - value) * 0.03 + peak * 0.01 * pick.uniform(-1, 1)
        value = min(max(value, 0), peak)
        file.moment(i * 93_000_000_000 // 399, int(value / 90), int(value), totals["allocations"] * i // 400,
                    int(value) + (40 << 20) if i % 4 == 0 else 0)
    address = 0x7F2000000000
    for size in (16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 512, 1024, 2048, 4096, 8192):
        slabs = pick.randint(1, 60)
        live_slots = 0
        for _ in range(slabs):
            slots = 65536 // size
            live = int(slots * pick.betavariate(2, 1))
            live_slots += live
            file.region(address, 65536, 1, size, slots, live)
            address += 65536
            if pick.random() < 0.1:
                length = 65536 * pick.randint(1, 12)
                file.region(address, length, 4, flags=pick.randint(0, 1))
                address += length
        file.size_class(size, slabs, slabs * (65536 // size), live_slots, slabs * 65536)
    for _ in range(12):
        length = 65536 * pick.randint(3, 40)
        file.region(address, length, pick.choice([2, 3]), length - 4096, 1, 1)
        address += length + 65536
    return file


def hostile():
    """Names that would be markup, or scripts, in a page that is careless."""
    file = small()
    names = ["<script>document.title='taken'</script>", "</script><script>document.title='taken'</script>",
             "<img src=x onerror=\"document.title='taken'\">", "\u2028 '\"`${document.title='taken'}", "\\u003c\\"]
    file.set_process(f"/opt/{names[0]}", " ".join(names))
    for i, name in enumerate(names):
        module = file.module(f"/opt/{name}/{name}", 0x600000 + i * 0x1000, 0x601000 + i * 0x1000)
        site = file.site([file.frame(0x600010 + i * 0x1000, module)], allocations=5, allocated_bytes=500)
        file.leak(site, DIRECT, 100, 5)
    return file


def trace():
    """Three threads, of which one comes late: it frees what the first made, and resizes what the second made."""
    file = ProfileFile(TRACE)
    file.set_process("/opt/example/bin/server", "server --port 80")
    site = file.site([file.frame(0x401001)])
    for i, name in enumerate(["main", "maker", "late"]):
        file.thread(name, 4711 + i)
    base = 0x7F0000000000
    main, maker, late = Events(0), Events(1), Events(2, 3000)
    maker.start(10)
    for i in range(100):
        main.allocate(100 + 10 * i, base + i * 64, 40 + i, site)
        maker.allocate(105 + 10 * i, base + 0x100000 + i * 4096, 3000, site)
        if i % 2:
            maker.free(107 + 10 * i, base + 0x100000 + i * 4096)
    late.start(3000)
    for i in range(100):
        late.free(3010 + 10 * i, base + i * 64)
        if i % 2 == 0:
            late.resize(3015 + 10 * i, base + 0x100000 + i * 4096, 4000)
    # Addresses are used again.
    main.allocate(5000, base, 16, site)
    main.allocate(5001, base + 64, 32, site)
    main.free(5002, base)
    main.free(5003, base + 0x900000)
    late.stop(6000)
    file.events += [maker, late, main]
    return file
