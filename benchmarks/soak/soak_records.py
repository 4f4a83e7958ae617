"""The records of a run file, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec


class SoakRecord(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of all records. `at` is in seconds since the run's start."""

    at: float


class RunStarted(SoakRecord, frozen=True, tag="started"):
    """The first record."""

    when: float  # POSIX seconds
    seed: int
    seconds: float  # planned
    machine: str
    hosts: int
    beside: str = ""  # what else the machine did


class ProcessSample(msgspec.Struct, frozen=True, array_like=True):
    """One process at one moment."""

    role: str  # "engine", "agent h1"; see `resource_samples`
    pid: int
    pss: int  # bytes
    rss: int
    threads: int
    descriptors: int


class ResourceSample(SoakRecord, frozen=True, tag="sample"):
    """All processes, and bytes on disk by place."""

    processes: tuple[ProcessSample, ...]
    disk: dict[str, int]
    running: int  # casts that have not ended


class DeliveryRecord(msgspec.Struct, frozen=True):
    """The end of one delivery."""

    node: str
    state: str
    reason: str = ""  # kind of its failure
    explained: bool = True  # the state fits what was done to it
    wrong: tuple[str, ...] = ()  # files with another content than any that the source had, or missing


class CastRecord(SoakRecord, frozen=True, tag="cast"):
    """One cast, when it has ended."""

    cast: str
    what: str  # "new", "retry", "again", "refused"
    sent: float
    bytes: int
    files: int
    source: str
    state: str
    deliveries: tuple[DeliveryRecord, ...] = ()
    reason: str = ""
    meddled: str = ""  # what was done to this cast
    explained: bool = True


class FaultRecord(SoakRecord, frozen=True, tag="fault"):
    """A fault, once everything is back."""

    kind: str
    node: str  # empty: engine or driver
    begun: float
    healed: float
    recovered: float  # seconds from healing until all nodes are online; negative: not in time


class RunEnded(SoakRecord, frozen=True, tag="ended"):
    """The last record."""

    staging: tuple[str, ...]  # staging folders that were left
    casts: tuple[str, ...]  # casts without an end
    processes: tuple[str, ...] = ()  # processes that were left after the engine's end
    stopped: str = ""  # why it ended early


AnyRecord = RunStarted | ResourceSample | CastRecord | FaultRecord | RunEnded

_decoder = msgspec.json.Decoder(AnyRecord)


class RunWriter:
    """Appends records to a run file, each at once, so that a run that is broken off can be read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, record: AnyRecord) -> None:
        self._file.write(msgspec.json.encode(record) + b"\n")


def read_run(path: Path) -> Iterator[AnyRecord]:
    """The records of a run file. Raises OSError, and ValueError for anything else."""
    with path.open("rb") as lines:
        for line in lines:
            record: AnyRecord = _decoder.decode(line)
            yield record
