"""What a fuzz target is, and the run of one on mutated samples, for some time or some inputs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import resource
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import InputFormat, Mutator

FINDINGS = Path(__file__).parent / "findings"
SLOWEST_SECONDS = 5.0
MAX_GROWTH_KIB = 1 << 20
TRACED, TRACED_LATER, LATER = 32, 512, 10_000
"""One input in 32 is traced line by line, later in 512: those that reach new lines are kept as samples."""
MAX_KEPT = 2000

Parse = Callable[[bytes], None]
PACKAGE = f"{os.sep}castray_desktop{os.sep}"
PLACES = (PACKAGE, f"{os.sep}fuzz{os.sep}")


class SlowInputError(BaseException):
    """A parser needs too long for one input."""


@dataclass(frozen=True)
class FuzzTarget:
    """One parser. `prepare` returns a function that reads an input: it returns, or raises one of `errors`."""

    name: str
    reads: str
    errors: tuple[type[Exception], ...]
    samples: Callable[[], Sequence[bytes]]
    prepare: Callable[[Path, ExitStack], Parse]
    form: InputFormat = InputFormat.BYTES


@dataclass
class FuzzRun:
    """What one run of a target has found."""

    target: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    accepted: int = 0  # inputs that were read without an error
    lines: int = 0  # lines of the product reached by traced inputs
    kept: int = 0  # inputs kept since they reached new lines
    findings: dict[str, bytes] = field(default_factory=dict)  # what happened, and the first input

    def __str__(self) -> str:
        rate = self.inputs / max(self.seconds, 1e-9)
        return (
            f"{self.target:<22} {self.inputs:>9} inputs {rate:>8.0f}/s {self.accepted:>8} accepted"
            f" {self.lines:>5} lines {self.kept:>4} kept {len(self.findings):>2} findings  (seed {self.seed})"
        )


@contextlib.contextmanager
def opened(target: FuzzTarget) -> Iterator[Parse]:
    """The target's parser, with a folder of its own and without a log."""
    logging.disable(logging.CRITICAL)
    before = os.environ.get("CASTRAY_HOME")
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(prefix="castray-fuzz-", dir=place) as folder, ExitStack() as stack:
            os.environ["CASTRAY_HOME"] = folder
            yield target.prepare(Path(folder), stack)
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            del os.environ["CASTRAY_HOME"]
        else:
            os.environ["CASTRAY_HOME"] = before


def read_input(target: FuzzTarget, parse: Parse, data: bytes) -> bool:
    """Whether the parser accepts an input. Raises what the parser must not raise."""
    try:
        parse(data)
    except target.errors:
        return False
    return True


def fuzz(target: FuzzTarget, seed: int, *, inputs: int = 0, seconds: float = 0.0) -> FuzzRun:
    """Run a target on mutated samples until the number of inputs or the time is reached."""
    run, mutator = FuzzRun(target.name, seed), Mutator(seed, target.form)
    samples = [*target.samples(), *kept_inputs(target.name)]
    lines: set[tuple[str, int]] = set()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with opened(target) as parse, _time_limit():
        while not (inputs and run.inputs >= inputs) and not (
            seconds and time.monotonic() - started >= seconds
        ):
            data = mutator.mutate(samples) if run.inputs >= len(samples) else samples[run.inputs]
            traced = run.inputs % (TRACED if run.inputs < LATER else TRACED_LATER) == 0
            run.inputs += 1
            signal.setitimer(signal.ITIMER_REAL, SLOWEST_SECONDS)
            reached: set[tuple[str, int]] = set()
            try:
                with _tracing(reached) if traced else contextlib.nullcontext():
                    run.accepted += read_input(target, parse, data)
            except (Exception, SlowInputError) as error:  # noqa: BLE001 - each is a finding
                run.findings.setdefault(_place(error), data)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if not reached <= lines:
                lines |= reached
                if len(samples) < MAX_KEPT and len(data) < 4096:
                    samples.append(data)
                    run.kept += 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        if grown > MAX_GROWTH_KIB:
            run.findings[f"memory grew by {grown} KiB"] = b""
    run.seconds, run.lines = time.monotonic() - started, len(lines)
    return run


def kept_inputs(name: str) -> list[bytes]:
    """The inputs that once broke a target."""
    return [path.read_bytes() for path in sorted((FINDINGS / name).glob("*.bin"))]


def save_findings(run: FuzzRun) -> list[Path]:
    """Write the inputs that broke the target to `findings/`."""
    saved = []
    for data in run.findings.values():
        path = FINDINGS / run.target / f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        saved.append(path)
    return saved


def json_sample(value: object) -> bytes:
    """A value as a line of JSON."""
    return json.dumps(value).encode()


def _place(error: BaseException) -> str:
    """The error and the last line of the product, or of its target, that it passed."""
    place, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        for part in PLACES:
            if part in name:
                place = f"{name.rpartition(part)[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {place}"


@contextlib.contextmanager
def _tracing(reached: set[tuple[str, int]]) -> Iterator[None]:
    """Collect the lines of the product that run."""

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        if PACKAGE not in frame.f_code.co_filename:
            return None
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def alarm(signum: int, frame: object) -> None:
        raise SlowInputError

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
