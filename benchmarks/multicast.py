"""Multicast in a laboratory, case by case, each with its bar.

    python -m benchmarks.multicast                          all cases
    python -m benchmarks.multicast links loss --times 5
    python -m benchmarks.multicast --scale 0.1 --times 1    a quick look; the bars are meant for full sizes
    python -m benchmarks.multicast --json

Every figure is the median of `--times` casts, and every recipient's bytes are compared with the source's.
*One copy* is the time of the bytes at the rate that iperf3 shows in the same laboratory; *copies* are what
left the source, *datagrams* the share of the bytes that came by them, *repaired* what listeners asked the
relay for. Where something is compared, the two take turns. Needs what `benchmarks.lab` needs, UFTP for
`links` and `uftp`, memory for all copies at once, and a quiet machine. Ends with 1 if a bar was missed.
"""

from __future__ import annotations

import sys

from benchmarks.multicast_cases import CASES
from benchmarks.relay import run

if __name__ == "__main__":
    sys.exit(run(CASES, "benchmarks.multicast", __doc__))
