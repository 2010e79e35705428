"""Drawings of the benchmarks: SVG, by gnuplot.

libcalloc is in a strong colour and drawn last, its peers are muted and differ by shape as well.
"""

import subprocess

from figures import BASE, OURS, against_best, means

# colour, gnuplot's point type (filled shapes) and point size
OUR_STYLE = ("#d1001f", 7, 1.25)
BASE_STYLE = ("#333333", 2, 0.8)
PEER_STYLES = [("#6f9bc8", 5, 0.75), ("#8fae5d", 9, 0.9), ("#c79a56", 11, 0.9),
               ("#a58cc4", 13, 0.95), ("#7fb5ad", 15, 0.9), ("#9a9a9a", 6, 0.8)]

# Ratios beyond this are drawn at the edge, with a number: one outlier is not to squeeze the rest.
# Those below NEAREST are no more than a time of nearly zero.
FURTHEST, NEAREST = 5, 0.02

WIDTH = 1100
FEW_TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5)
SPARSE_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
MANY_TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2, 2.3, 2.6, 3)


class NotDrawn(Exception):
    """gnuplot is not there, or did not like what it was given."""


def styles(allocators, panels, ours=OURS):
    """{name: (colour, shape, size)} of those that have a value, `ours` last so that nothing covers
    it. An allocator looks the same whether or not another has values."""
    peers = [name for name in allocators if name not in (ours, BASE)]
    made = {BASE: BASE_STYLE} if BASE in allocators else {}
    made |= {name: PEER_STYLES[place % len(PEER_STYLES)] for place, name in enumerate(peers)}
    if ours in allocators:
        made[ours] = OUR_STYLE
    drawn = {name for _, rows in panels for row in rows.values() for name in row if row[name]}
    return {name: style for name, style in made.items() if name in drawn}


def quoted(text):
    return '"' + str(text).replace("\\", "").replace('"', "'") + '"'


def run_gnuplot(path, size, lines):
    script = "\n".join([
        f"set terminal svg size {size[0]},{size[1]} dynamic background 'white' "
        "font 'sans-serif,14'",
        # In gnuplot's single quotes nothing is special but the quote itself.
        "set output '" + str(path).replace("'", "''") + "'",
        "set encoding utf8", "unset key", "set termoption noenhanced", "set border 0", *lines, ""])
    try:
        done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True,
                              timeout=60, check=False)
    except FileNotFoundError:
        raise NotDrawn("gnuplot is not installed") from None
    if done.returncode != 0 or done.stderr.strip():
        raise NotDrawn(f"gnuplot: {done.stderr.strip()}")


def legend(style, width, top):
    """Lines that place the legend in one row below the title: labels, as gnuplot's own key breaks
    the row when it likes. The tags from 100 on are theirs."""
    names = list(style)
    # Long names are cut until the row fits.
    while max(map(len, names)) > 8 and sum(40 + 9 * len(name) for name in names) > width:
        longest = max(map(len, names))
        names = [name if len(name) < longest else name[:longest - 2] + "…" for name in names]
    widths = [40 + 9 * len(name) for name in names]
    at = (width - sum(widths)) / 2
    lines = []
    for tag, (name, (colour, shape, size)) in enumerate(zip(names, style.values()), 100):
        lines.append(f"set label {tag} {quoted(name)} at screen {at / width:.4f},{top:.4f} left "
                     f"point pt {shape} ps {size} lc rgb '{colour}' offset 1,-0.25")
        at += widths[tag - 100]
    return lines


def data(name, rows):
    return [f"${name} << END", *rows, "END"]


def to_best(row):
    """Ours to the best peer of a row."""
    found = against_best(row)
    return found and found[1]


def draw_ratios(path, title, allocators, panels, ours=OURS, beside=("ours/best", to_best),
                furthest=FURTHEST):
    """Panels side by side, each (heading, {case: {allocator: ratio to glibc}}): a row of dots per
    case, below them the geometric means. At the right is what `beside` says: (heading, function of
    a row that gives a number or None). Ratios beyond `furthest` are at the edge."""
    panels = [(heading, rows) for heading, rows in panels if rows]
    if not panels:
        raise NotDrawn("nothing to draw")
    cases = list(panels[0][1])
    height = 150 + 32 * (len(cases) + 1)
    width = max(WIDTH, 450 * len(panels))
    style = styles(allocators, panels, ours)
    left, right, gap = 135 / width, 1 - 62 / width, 75 / width
    wide = (right - left - gap * (len(panels) - 1)) / len(panels)
    lines = [f"set multiplot title {quoted(title)} font 'sans-serif,18' offset 0,-0.3",
             "set logscale x 2", f"set tmargin at screen {1 - 105 / height:.4f}",
             f"set bmargin at screen {40 / height:.4f}", "set ytics scale 0", "set xtics scale 0",
             "set grid xtics ytics lc rgb '#dddddd' lt 1 lw 0.7", "set y2tics scale 0",
             f"set yrange [{len(cases) + 0.6}:-0.6]", f"set y2range [{len(cases) + 0.6}:-0.6]"]
    for number, (heading, rows) in enumerate(panels):
        start = left + number * (wide + gap)
        lines += panel_of_ratios(number, heading, {case: rows.get(case, {}) for case in cases},
                                 style, (start, start + wide), beside, furthest)
        lines += legend(style, width, 1 - 52 / height) if number == 0 else []
        lines += [plot_of_ratios(number, style)]
    run_gnuplot(path, (width, height), [*lines, "unset multiplot"])


def panel_of_ratios(number, heading, rows, style, edges, beside, furthest):
    """Data and axes of one panel."""
    all_rows = {**rows, "geometric mean": means(rows)}
    everything = [value for row in all_rows.values() for value in row.values() if value]
    high = min(max(everything), furthest) * 1.12
    low = max(min(everything), NEAREST) / 1.12
    steps = SPARSE_TICKS if high / low > 100 else FEW_TICKS if high / low > 4 else MANY_TICKS
    ticks = [tick for tick in steps if low <= tick <= high]
    lines, beyond = [], []
    for place, name in enumerate(style):
        points = []
        for line, row in enumerate(all_rows.values()):
            value = row.get(name)
            if not value:
                continue
            points.append(f"{max(min(value, high), low)} {line}")
            if value > high:
                beyond.append((value, line))
        lines += data(f"p{number}_{place}", points or ["NaN NaN"])
    numbers = []
    for line, row in enumerate(all_rows.values()):
        value = beside[1](row)
        numbers.append(f'"-" {line}' if value is None else f'"{value:.2f}" {line}')
    # Those of the first panel serve all.
    names = ", ".join(f"{quoted('' if number else case)} {line}"
                      for line, case in enumerate(all_rows))
    lines += [f"set ytics ({names})",
              f"set y2tics ({', '.join(numbers)}) textcolor '#555555'",
              "unset label", "unset arrow",
              f"set label 1 {quoted(heading)} at graph 0,1 left offset 0,0.9 "
              "font 'sans-serif,16'",
              f"set label 2 {quoted(beside[0])} at graph 1.005,1 left offset 0,0.9 "
              "textcolor '#555555' font 'sans-serif,12'",
              "set arrow 1 from 1,graph 0 to 1,graph 1 nohead lw 1.2 "
              f"lc rgb '{BASE_STYLE[0]}' back",
              f"set arrow 2 from graph -0.02,first {len(rows) - 0.5} to graph 1.08,"
              f"first {len(rows) - 0.5} nohead lc rgb '#999999' lw 1",
              f"set xrange [{low}:{high}]",
              "set xtics (" + ", ".join(f"'{tick:g}' {tick}" for tick in ticks) + ")",
              f"set lmargin at screen {edges[0]:.4f}", f"set rmargin at screen {edges[1]:.4f}"]
    # One number for each row; where several are beyond the edge, all of them in one text.
    for tag, line in enumerate(sorted({line for _, line in beyond}), 10):
        values = " ".join(f"{value:.0f}" for value, at in sorted(beyond) if at == line)
        lines.append(f"set label {tag} '{values} ▸' at {high},{line} right offset -0.8,0 "
                     "textcolor '#777777' font 'sans-serif,12'")
    return lines


def plot_of_ratios(number, style):
    return "plot " + ", ".join(
        f"$p{number}_{place} using 1:2 with points pt {shape} ps {size} lc rgb '{colour}'"
        for place, (colour, shape, size) in enumerate(style.values()))


def draw_lines(path, title, allocators, panels, axis):
    """Panels side by side, each (heading, {x: {allocator: value}}): lines over a logarithmic x axis
    with the label `axis`, and logarithmic values."""
    panels = [(heading, rows) for heading, rows in panels
              if any(value for row in rows.values() for value in row.values())]
    if not panels:
        raise NotDrawn("nothing to draw")
    height = 480
    style = styles(allocators, panels)
    left, right, gap = 65 / WIDTH, 1 - 25 / WIDTH, 75 / WIDTH
    wide = (right - left - gap * (len(panels) - 1)) / len(panels)
    lines = [f"set multiplot title {quoted(title)} font 'sans-serif,18' offset 0,-0.3",
             "set logscale xy 2", f"set tmargin at screen {1 - 110 / height:.4f}",
             f"set bmargin at screen {65 / height:.4f}", "set tics scale 0",
             "set grid lc rgb '#dddddd' lt 1 lw 0.7", f"set xlabel {quoted(axis)}",
             f"set xrange [{min(panels[0][1]) * 0.8}:{max(panels[0][1]) * 1.3}]"]
    for number, (heading, rows) in enumerate(panels):
        for place, name in enumerate(style):
            points = [f"{x} {row[name]}" for x, row in rows.items() if row.get(name)]
            lines += data(f"p{number}_{place}", points or ["NaN NaN"])
        start = left + number * (wide + gap)
        lines += [f"set lmargin at screen {start:.4f}", f"set rmargin at screen {start + wide:.4f}",
                  "unset label", f"set label 1 {quoted(heading)} at graph 0,1.05 left "
                  "font 'sans-serif,15'",
                  "set xtics (" + ", ".join(f"'{x}' {x}" for x in rows) + ")", "set format y '%g'"]
        lines += legend(style, WIDTH, 1 - 52 / height) if number == 0 else []
        lines.append("plot " + ", ".join(
            f"$p{number}_{place} using 1:2 with linespoints pt {shape} ps {size * 0.8} "
            f"lw {3 if name == OURS else 1.5} lc rgb '{colour}'"
            for place, (name, (colour, shape, size)) in enumerate(style.items())))
    run_gnuplot(path, (WIDTH, height), [*lines, "unset multiplot"])
