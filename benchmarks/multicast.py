"""Measure multicast in a laboratory, case by case, each with its target.

    python -m benchmarks.multicast                          all cases
    python -m benchmarks.multicast links loss --times 5
    python -m benchmarks.multicast --scale 0.1 --times 1    a quick run; the targets apply to full sizes
    python -m benchmarks.multicast --json

Every figure is the median of `--times` casts, and every recipient's bytes are compared with the source's.
*One copy* is the time of the bytes at the rate of iperf3 in the same laboratory; *copies* is the data that
left the source, *datagrams* the share of the bytes that arrived in datagrams, *repaired* the data that
receivers fetched through the relay. Comparisons alternate. Needs the requirements of `benchmarks.lab`, UFTP
for `links` and `uftp`, memory for all copies at once, and an idle machine. Ends with 1 if a target was
missed.
"""

from __future__ import annotations

import sys

from benchmarks.multicast_cases import CASES
from benchmarks.relay import run

if __name__ == "__main__":
    sys.exit(run(CASES, "benchmarks.multicast", __doc__))
