"""A node's agent whose wall clock a test moves, also while it runs.

`CASTRAY_TEST_CLOCK` names a file with the offset in seconds as text; `time.time` and `time.time_ns` add it.
The monotonic clock stays as it is, as where a system's clock is set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "CASTRAY_TEST_CLOCK"


def shifted(clock: Callable[[], int], file: Path) -> Callable[[], int]:
    """`clock`, in nanoseconds, with the file's offset."""

    def read() -> int:
        return clock() + int(file.read_text() or 0) * 10**9

    return read


def move_clock(file: Path, seconds: int) -> None:
    """From now on the agent's clock has this offset."""
    fresh = file.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(file)


def main() -> None:
    """The agent's process."""
    read = shifted(time.time_ns, Path(os.environ[VARIABLE]))
    time.time_ns = read
    time.time = lambda: read() / 1e9
    from benchmarks.laboratory.lab_agent import main as run

    run()


if __name__ == "__main__":
    main()
