"""Draw the results of `benchmarks.compare` as a bar chart: an SVG with light and dark colours.

    python -m benchmarks.peers.plot figures.json docs/images/relay.svg

The fastest tool of each comparison comes first; a dashed line is one copy at the limit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from benchmarks.peers.comparison import Comparison, Results, Row, load, network, what

WIDTH = 860
MARGIN = 20
NAMES = 150  # width of the column with the tools' names
VALUES = 170  # space for the figures to the right of the longest bar
LINE = 24
BAR = 14
HEADING = 52
GAP = 22

STYLE = """
svg { color-scheme: light dark; }
.ground { fill: #ffffff; } .text { fill: #1f2328; } .quiet { fill: #59636e; }
.bar { fill: #a8b1bb; } .ours { fill: #4f62d2; } .limit { stroke: #cf222e; }
text { font: 13px system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
.title { font-weight: 600; font-size: 14px; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; } .text { fill: #f0f6fc; } .quiet { fill: #9198a1; }
  .bar { fill: #59636e; } .ours { fill: #97a5ff; } .limit { stroke: #ff7b72; }
}
"""


def draw(results: Results) -> str:
    """The whole picture. Raises ValueError if there is nothing to draw."""
    if not results.comparisons:
        raise ValueError("there are no comparisons to draw")
    parts: list[str] = []
    top = MARGIN
    for comparison in results.comparisons:
        drawn, height = _panel(comparison, top)
        parts += drawn
        top += height + GAP
    notes = "Dashed: one copy at the limit. Medians; shorter is better."
    machine = "; ".join(f"{name}: {value}" for name, value in results.machine.items())
    for note in filter(None, (notes, machine)):
        parts.append(_text(MARGIN, top, note, "quiet"))
        top += LINE
    label = quoteattr("Seconds that the relay and other tools take to send the same files")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" '
        f'height="{top}" role="img" aria-label={label}>'
    )
    ground = f'<rect class="ground" width="{WIDTH}" height="{top}" rx="6"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *parts, "</svg>"]) + "\n"


def _panel(comparison: Comparison, top: int) -> tuple[list[str], int]:
    """The bars of one comparison and their height; fastest first."""
    rows = sorted(comparison.rows, key=lambda row: (row.median is None, row.median or 0.0))
    longest = max([row.median for row in rows if row.median is not None] + [comparison.one_copy])
    scale = (WIDTH - 2 * MARGIN - NAMES - VALUES) / longest
    parts = [_text(MARGIN, top + 14, what(comparison), "text title")]
    parts.append(_text(MARGIN, top + 34, network(comparison), "quiet"))
    for number, row in enumerate(rows):
        parts += _bar(row, comparison.one_copy, scale, top + HEADING + number * LINE)
    limit = MARGIN + NAMES + comparison.one_copy * scale
    bottom = top + HEADING + len(rows) * LINE
    parts.append(
        f'<line class="limit" stroke-dasharray="4 3" x1="{limit:.1f}" x2="{limit:.1f}" '
        f'y1="{top + HEADING - 4}" y2="{bottom - 4}"/>'
    )
    return parts, HEADING + len(rows) * LINE


def _bar(row: Row, one_copy: float, scale: float, top: int) -> list[str]:
    base = top + BAR - 2
    name = _text(MARGIN, base, row.name, "text")
    left = MARGIN + NAMES
    if row.median is None:
        return [name, _text(left, base, "failed" if row.failures else "not run", "quiet")]
    length = max(row.median * scale, 1.0)
    kind = "ours" if row.key == "relay" else "bar"
    figures = f"{row.median:.2f} s, {row.median / one_copy:.2f} x one copy"
    return [
        name,
        f'<rect class="{kind}" x="{left}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"/>',
        _text(left + length + 8, base, figures, "quiet"),
    ]


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.plot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, help="what benchmarks.compare wrote with --json")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    try:
        options.picture.write_text(draw(load(options.results)))
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
