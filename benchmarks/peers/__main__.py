"""The chart of the README: the relay beside rsync, scp, UFTP, BitTorrent and Ray's object store.

    python -m benchmarks.peers
    python -m benchmarks.peers --size 64MiB --recipients 3 --times 1 --folder /tmp/chart
    python -m benchmarks.peers --read

The second is a quick look, the third draws again. Needs root and a quiet machine, as `benchmarks.compare`
does, which measures. Writes `chart.svg`, light and dark, and the figures as `chart.json` to `docs/images`.
A tool that is not installed is an error here, and so is one that fails: a chart that lacks a bar would say
something else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import compare
from benchmarks.peers import PEERS, plot
from benchmarks.peers.comparison import Results, load, save

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"


def problems(results: Results) -> list[str]:
    """Why these results must not be drawn."""
    found = [] if results.comparisons else ["there is no comparison"]
    for comparison in results.comparisons:
        rows = {row.key: row for row in comparison.rows}
        for key in compare.ALL:
            if key not in rows or rows[key].median is None:
                found.append(f"there is no time of {PEERS[key].NAME}")
            elif rows[key].failures:
                found.append(f"{PEERS[key].NAME} failed: {rows[key].failures[0]}")
    return found


def measure(options: argparse.Namespace) -> Results:
    """Measure everything. Raises LabUnavailable, ValueError."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "chart.json"
        arguments = [
            "--case",
            "links",
            "--recipients",
            str(options.recipients),
            "--times",
            str(options.times),
        ]
        arguments += ["--size", options.size, "--rate", options.rate, "--json", str(figures)]
        if compare.main(arguments):
            raise ValueError("the comparison did not run: see above")
        return load(figures)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipients", type=int, default=8)
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--rate", default="1gbit", help="of each link, as tc writes it")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=IMAGES, help="for chart.svg and chart.json")
    parser.add_argument("--read", action="store_true", help="measure nothing, draw chart.json again")
    options = parser.parse_args(arguments)
    missing = [how for key in compare.ALL if (how := PEERS[key].available())]
    figures = options.folder / "chart.json"
    try:
        if options.read:
            results = load(figures)
        elif missing:
            raise ValueError("\n".join(missing))
        else:
            results = measure(options)
        if why := problems(results):
            raise ValueError("\n".join(why))
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        print(error, file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    save(results, figures)
    (options.folder / "chart.svg").write_text(plot.draw(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
