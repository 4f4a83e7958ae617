"""Measure whether memory or other resources grow with the number of casts.

    python -m benchmarks.many_casts [--casts 1000] [--recipients 2]

Runs small casts, one after the other, with the real cast manager and real agents in this process, so its
memory is that of an engine and of all agents together. Prints memory, objects, threads and descriptors during
the run, and the growth over the second half, when all bounded caches are full.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.laboratory.in_process import InProcess
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.messages import CastState, OnConflict, SendRequest

MAX_GROWTH = 4 << 20
"""Permitted growth in bytes over the second half; an allocator's noise is below that."""


@dataclass(frozen=True)
class Sample:
    """The resources of the process after a number of casts."""

    casts: int
    memory: int  # resident bytes
    objects: int
    threads: int
    descriptors: int
    kept: int  # casts that the cast manager still holds


def take_sample(casts: int, machines: InProcess) -> Sample:
    """The resources of the process now."""
    gc.collect()
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    objects, kept = len(gc.get_objects()), len(machines.cast_manager.summaries())
    return Sample(casts, memory, objects, threading.active_count(), descriptors, kept)


async def run(folder: Path, casts: int, recipients: int, step: int) -> list[Sample]:
    """Send `casts` casts of three files; take a sample every `step` casts."""
    parcel = folder / "parcel"
    parcel.mkdir()
    for number in range(3):
        (parcel / f"file {number}").write_bytes(os.urandom(10_000))
    names = ("source", *(f"node_{number}" for number in range(recipients)))
    samples = []
    async with InProcess(folder, names) as machines:
        for number in range(1, casts + 1):
            request = SendRequest(
                (str(parcel),), ("all",), options=TransferOptions(on_conflict=OnConflict.OVERWRITE)
            )
            result = await machines.cast_manager.result(machines.cast_manager.send(request))
            if result.summary.state is not CastState.COMPLETED:
                raise RuntimeError(f"cast {number}: {result}")
            for name in names[1:]:
                shutil.rmtree(folder / name / "parcel")
            if number % step == 0:
                samples.append(take_sample(number, machines))
    return samples


def main() -> int:
    """Print the samples; status 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--casts", type=int, default=1000)
    parser.add_argument("--recipients", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="castray-many-", dir="/dev/shm") as folder:
        os.environ["CASTRAY_HOME"] = str(Path(folder) / "home")
        start = time.monotonic()
        step = max(1, options.casts // 10)
        samples = asyncio.run(run(Path(folder), options.casts, options.recipients, step))
    print(f"{'casts':>6} {'MiB':>7} {'objects':>9} {'threads':>8} {'files':>6} {'kept':>6}")
    for each in samples:
        print(
            f"{each.casts:6} {each.memory / 2**20:7.1f} {each.objects:9} {each.threads:8}"
            f" {each.descriptors:6} {each.kept:6}"
        )
    middle, last = samples[len(samples) // 2 - 1], samples[-1]
    growth = last.memory - middle.memory
    print(
        f"Growth over the second half: {growth / 2**20:.1f} MiB in {time.monotonic() - start:.0f} s of all."
    )
    more = (last.threads > middle.threads, last.descriptors > middle.descriptors, growth > MAX_GROWTH)
    return 1 if any(more) else 0


if __name__ == "__main__":
    sys.exit(main())
