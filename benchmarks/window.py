"""Measure the start time of the window, and its event loop gaps while the engine starts and bytes flow.

    python -m benchmarks.window --runs 5 --size 1GiB

Starts the program by its launcher under Xvfb, measures the time from the command to the first paint, then
runs a cast to three nodes. The window logs every late tick of a 10 ms timer; a bare
timer process beside it does the same. A gap that the bare timer has too is caused by the machine, not by the
window, and is excluded; both counts are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.local_casts import make_file, parse_size

ROOT = Path(__file__).resolve().parent.parent
BARE_TIMER = """
import sys, time
last = time.time()
with open(sys.argv[1], "w", buffering=1) as out:
    while True:
        time.sleep(0.010)
        now = time.time()
        if now - last > 0.020:
            out.write(f"{last} {now}\\n")
        last = now
"""


@dataclass(frozen=True)
class Gap:
    """The start and the end of a gap."""

    start: float
    end: float

    @property
    def ms(self) -> float:
        return (self.end - self.start) * 1000

    def overlaps(self, others: list[Gap]) -> bool:
        return any(self.start < other.end and other.start < self.end for other in others)


@dataclass(frozen=True)
class Flight:
    """The measurements of one run of the window; times in seconds, gaps in milliseconds."""

    ready: float
    cast: float
    starting: list[Gap]
    sending: list[Gap]
    bare: list[Gap]


@contextmanager
def screen() -> Iterator[str]:
    """A virtual screen of 1440x900; its DISPLAY."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1440x900x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as number:
        display = f":{number.readline().strip()}"
    try:
        yield display
    finally:
        server.terminate()
        server.wait()


def fly(display: str, size: int) -> Flight:
    """Start the window, send a file to three nodes, close it."""
    root = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory(dir=root) as folder:
        place, target = Path(home), Path(folder)
        file = make_file(target / "file.bin", size)
        environment = os.environ | {
            "DISPLAY": display,
            "CASTRAY_HOME": str(place / "castray"),
            "CASTRAY_STARTUP_TRACE": str(place / "trace"),
        }
        environment.pop("QT_QPA_PLATFORM", None)
        bare = subprocess.Popen([sys.executable, "-S", "-c", BARE_TIMER, str(place / "bare")])
        try:
            command = [sys.executable, "-m", "tests.helpers.desktop.window_pilot", str(file)]
            pilot = subprocess.run(
                [*command, "--dest", str(target / "{node}")],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        finally:
            bare.kill()
            bare.wait()
        seen = json.loads(pilot.stdout.splitlines()[-1])
        if seen.get("state") != "completed":
            raise RuntimeError(f"the cast did not complete: {seen}")
        return read_flight(place, seen)


def read_flight(place: Path, seen: dict[str, float]) -> Flight:
    events = [json.loads(line) for line in (place / "trace").read_text().splitlines()]
    painted = next(event["at"] for event in events if event["event"] == "first_paint")
    gaps = [Gap(e["at"] - e["ms"] / 1000, e["at"]) for e in events if e["event"] == "gap"]
    bare = [Gap(*map(float, line.split())) for line in (place / "bare").read_text().splitlines()]
    return Flight(
        ready=seen["ready"] - painted,
        cast=seen["seconds"],
        starting=[gap for gap in gaps if gap.end <= seen["ready"]],
        sending=[gap for gap in gaps if seen["sent"] <= gap.start and gap.end <= seen["finished"]],
        bare=bare,
    )


def time_to_paint(display: str) -> float:
    """Seconds from the command to the first paint, by the launcher."""
    with tempfile.TemporaryDirectory() as home:
        trace = Path(home) / "trace"
        environment = os.environ | {
            "DISPLAY": display,
            "CASTRAY_HOME": f"{home}/castray",
            "CASTRAY_STARTUP_TRACE": str(trace),
        }
        environment.pop("QT_QPA_PLATFORM", None)
        began = time.time()
        window = subprocess.Popen([str(ROOT / "castray")], env=environment)
        try:
            while not trace.exists() or "first_paint" not in trace.read_text():
                if window.poll() is not None:
                    raise RuntimeError("the window did not open")
                time.sleep(0.005)
        finally:
            window.terminate()
            window.wait()
        return float(json.loads(trace.read_text().splitlines()[0])["at"]) - began


def describe(name: str, gaps: list[Gap], bare: list[Gap], bar: float) -> str:
    own = [gap.ms for gap in gaps if not gap.overlaps(bare)]
    worst = max((gap.ms for gap in gaps), default=0.0)
    return (
        f"{name}: worst own gap {max(own, default=0.0):5.1f} ms (bar {bar:.0f}), "
        f"worst of all {worst:5.1f} ms, {len(own)} own of {len(gaps)} above 16 ms"
    )


def main() -> None:
    """Run what the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with screen() as display:
        time_to_paint(display)
        paints = [time_to_paint(display) for _ in range(options.runs + 2)]
        print(f"first paint: median {statistics.median(paints):.3f} s, worst {max(paints):.3f} s (bar 0.7)")
        for number in range(options.runs):
            flight = fly(display, options.size)
            print(f"run {number + 1}: nodes ready {flight.ready:.1f} s after the paint (bar 10), ", end="")
            print(f"cast {flight.cast:.2f} s")
            print("  " + describe("while the engine starts", flight.starting, flight.bare, 100))
            print("  " + describe("while bytes flow      ", flight.sending, flight.bare, 50), flush=True)


if __name__ == "__main__":
    main()
