"""What is computed of the runs: medians, ratios to glibc, means, and how libcalloc stands.

Tables, verdicts and drawings all take their figures from here, so that they say the same.
"""

import math
import statistics

OURS = "libcalloc"
BASE = "glibc"


def medians(runs):
    """{case: {allocator: {field: median}}}; a field that is null in a run is null."""
    def median(values):
        return None if None in values else statistics.median(values)
    return {
        case: {name: {field: median([one[field] for one in several]) for field in several[0]}
               for name, several in row.items() if several}
        for case, row in runs.items()
    }


def ratios(figures, field):
    """{case: {allocator: ratio to glibc}} of those that have the field."""
    made = {}
    for case, row in figures.items():
        base = row.get(BASE, {}).get(field)
        if base:
            made[case] = {name: values[field] / base for name, values in row.items()
                          if values[field] is not None}
    return made


def best_peer(row):
    """(name, value) of the least one that is not ours."""
    peers = {name: value for name, value in row.items() if name != OURS}
    return min(peers.items(), key=lambda item: item[1], default=(None, math.nan))


def against_best(row):
    """(best peer, ours to it) of {allocator: value}, or None where there is nothing to compare."""
    name, value = best_peer(row)
    return (name, row[OURS] / value) if name and OURS in row else None


def geometric_mean(values):
    """A zero would make it zero, so it counts as very little."""
    return math.exp(sum(math.log(max(value, 1e-9)) for value in values) / len(values))


def means(rows):
    """{allocator: geometric mean} of {case: {allocator: ratio}}, over the cases that ours has.

    An allocator that failed in one of them has none: means over different cases do not compare.
    """
    compared = [row for row in rows.values() if OURS in row] or list(rows.values())
    return {name: geometric_mean([row[name] for row in compared])
            for name in (compared[0] if compared else ())
            if all(name in row for row in compared)}


def verdict(rows):
    """How ours stands in {case: {allocator: ratio}}: the figures of the goals, or None.

    The best single peer is the one with the least geometric mean.
    """
    against = {case: against_best(row) for case, row in rows.items() if against_best(row)}
    if not against:
        return None
    worst = max(against, key=lambda case: against[case][1])
    mean = means(rows)
    single = best_peer(mean)
    return {
        "cases": len(against),
        "not_above_one": sum(ratio <= 1 for _, ratio in against.values()),
        "worst": against[worst][1], "worst_case": worst, "worst_peer": against[worst][0],
        "mean": mean[OURS], "single": single[0], "single_mean": single[1],
    }
