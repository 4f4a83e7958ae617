"""Line charts of a run: an SVG with light and dark colours, one panel for each quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

WIDTH = 860
LEFT, RIGHT, TOP = 56, 128, 16
PANEL, GAP, HEADING = 150, 34, 22
MOST_POINTS = 360
LABEL = 14

STYLE = """
svg { color-scheme: light dark; }
.ground { fill: #ffffff; } .text { fill: #1f2328; } .quiet { fill: #59636e; } .grid { stroke: #d1d9e0; }
.fault { stroke: #cf222e; stroke-opacity: 0.35; } path { fill: none; stroke-width: 1.4; }
.c0 { stroke: #4f62d2; } .c1 { stroke: #bc4c00; } .c2 { stroke: #1a7f37; } .c3 { stroke: #8250df; }
.c4 { stroke: #9a6700; } .c5 { stroke: #0a7ea4; } .c6 { stroke: #bf3989; } .c7 { stroke: #59636e; }
.t0 { fill: #4f62d2; } .t1 { fill: #bc4c00; } .t2 { fill: #1a7f37; } .t3 { fill: #8250df; }
.t4 { fill: #9a6700; } .t5 { fill: #0a7ea4; } .t6 { fill: #bf3989; } .t7 { fill: #59636e; }
text { font: 12px system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
.title { font-weight: 600; font-size: 13px; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; } .text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .grid { stroke: #3d444d; }
  .c0 { stroke: #97a5ff; } .c1 { stroke: #ffa657; } .c2 { stroke: #56d364; } .c3 { stroke: #d2a8ff; }
  .c4 { stroke: #e3b341; } .c5 { stroke: #67d4f0; } .c6 { stroke: #ff9bce; } .c7 { stroke: #9198a1; }
  .t0 { fill: #97a5ff; } .t1 { fill: #ffa657; } .t2 { fill: #56d364; } .t3 { fill: #d2a8ff; }
  .t4 { fill: #e3b341; } .t5 { fill: #67d4f0; } .t6 { fill: #ff9bce; } .t7 { fill: #9198a1; }
}
"""

Segments = Sequence[Sequence[tuple[float, float]]]
"""Pieces of a line, (minutes, value): it is interrupted where a process was replaced."""


@dataclass(frozen=True)
class Panel:
    """Lines with one scale."""

    title: str  # with its unit
    lines: Mapping[str, Segments]


def draw_curves(label: str, panels: Sequence[Panel], minutes: float, faults: Sequence[float] = ()) -> str:
    """The whole picture; `faults` are the minutes of vertical marks. Raises ValueError without panels."""
    if not panels:
        raise ValueError("there is nothing to draw")
    parts: list[str] = []
    top = TOP
    for panel in panels:
        parts += _panel(panel, top, minutes, faults)
        top += HEADING + PANEL + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" '
        f'height="{top}" role="img" aria-label={quoteattr(label)}>'
    )
    ground = f'<rect class="ground" width="{WIDTH}" height="{top}" rx="6"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, top: int, minutes: float, faults: Sequence[float]) -> list[str]:
    values = [value for line in panel.lines.values() for piece in line for _, value in piece]
    step = nice_step(max(values, default=1.0))
    highest = max(1, math.ceil(max(values, default=1.0) / step)) * step
    base, wide = top + HEADING + PANEL, WIDTH - LEFT - RIGHT

    def x(minute: float) -> float:
        return LEFT + wide * minute / minutes

    def y(value: float) -> float:
        return base - PANEL * value / highest

    parts = [_text(LEFT, top + 12, panel.title, "text title")]
    for number in range(round(highest / step) + 1):
        at = y(number * step)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + wide}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(_text(LEFT - 6, at + 4, f"{number * step:g}", "quiet", "end"))
    for minute in faults:
        at = x(minute)
        parts.append(f'<line class="fault" x1="{at:.1f}" x2="{at:.1f}" y1="{base - 5}" y2="{base}"/>')
    every = nice_step(minutes)
    parts += [
        _text(x(number * every), base + 15, f"{number * every:g} min", "quiet", "middle")
        for number in range(int(minutes / every) + 1)
    ]
    ends: list[tuple[float, str, int]] = []
    for number, (name, line) in enumerate(panel.lines.items()):
        total = sum(len(piece) for piece in line)
        if not total:
            continue
        path = " ".join(
            "M" + " L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in _thin(piece, total))
            for piece in line
            if piece
        )
        parts.append(f'<path class="c{number % 8}" d="{path}"/>')
        ends.append((y(line[-1][-1][1]), name, number % 8))
    for at, name, number in _apart(ends):
        parts.append(_text(LEFT + wide + 8, at + 4, name, f"t{number}"))
    return parts


def nice_step(highest: float) -> float:
    """A round distance of which three to eight reach the highest value."""
    power = 10.0 ** math.floor(math.log10(highest / 3)) if highest > 0 else 1.0
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if highest / (power * factor) <= 6)


def _thin(piece: Sequence[tuple[float, float]], total: int) -> list[tuple[float, float]]:
    """At most its share of `MOST_POINTS`: the highest value of each group, so that no peak is lost."""
    group = max(1, math.ceil(total / MOST_POINTS))
    return [max(piece[at : at + group], key=lambda point: point[1]) for at in range(0, len(piece), group)]


def _apart(ends: list[tuple[float, str, int]]) -> list[tuple[float, str, int]]:
    """The labels of the lines, moved down where they would overlap."""
    placed: list[tuple[float, str, int]] = []
    for at, name, number in sorted(ends):
        free = placed[-1][0] + LABEL if placed else at
        placed.append((max(at, free), name, number))
    return placed


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
