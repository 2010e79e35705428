#!/usr/bin/env python3
"""A flame graph of collapsed stacks: flame.py [TITLE] <STACKS >SVG

Reads lines "outermost;…;innermost VALUE", as calloc report --collapsed writes them, and draws each function as a
bar over its callees, as wide as what it has. The title of a bar has its name and value. A script as others are that
read this form: it knows nothing else of the profile."""

import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN, NARROWEST = 1200, 17, 10, 0.1


def read(lines):
    """The tree: a node is [value, {name: node}]."""
    root = [0, {}]
    for number, line in enumerate(lines, 1):
        stack, space, value = line.rstrip("\n").rpartition(" ")
        if not space or not value.isdigit():
            raise ValueError(f"line {number} does not end with a value: {line!r}")
        root[0] += int(value)
        node = root
        for name in stack.split(";"):
            node = node[1].setdefault(name, [0, {}])
            node[0] += int(value)
    return root


def bars(root):
    """(name, value, from where, how deep), without recursion: stacks may be thousands deep."""
    waiting = [("all", root, 0, 0)]
    while waiting:
        name, node, at, depth = waiting.pop()
        yield name, node[0], at, depth
        for child, below in sorted(node[1].items()):
            waiting.append((child, below, at, depth + 1))
            at += below[0]


def draw(root, title):
    scale = (WIDTH - 2 * MARGIN) / (root[0] or 1)
    shown = [bar for bar in bars(root) if bar[1] * scale >= NARROWEST]
    height = (max(depth for *_, depth in shown) + 4) * HEIGHT
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">'
    yield f'<text x="{MARGIN}" y="{HEIGHT}">{escape(title)}</text>'
    for name, value, at, depth in shown:
        x, width, y = MARGIN + at * scale, value * scale, (depth + 2) * HEIGHT
        colour = f"hsl({sum(name.encode()) * 7 % 60}, 80%, 65%)"
        label = name if len(name) * 7 < width else name[:max(int(width / 7) - 1, 0)]
        yield (f'<g><title>{escape(name)}: {value}</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.1):.1f}" '
               f'height="{HEIGHT - 1}" fill="{colour}"/><text x="{x + 2:.1f}" y="{y + 12}">{escape(label)}</text></g>')
    yield "</svg>"


def main():
    title = sys.argv[1] if len(sys.argv) > 1 else "Flame graph"
    try:
        root = read(sys.stdin)
    except ValueError as error:
        sys.exit(f"flame.py: {error}")
    sys.stdout.writelines(line + "\n" for line in draw(root, title))


if __name__ == "__main__":
    main()
