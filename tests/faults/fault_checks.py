"""What must hold in each cell, (a) to (e), and the evidence that a cell's run returns."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SHARE = 1.2
"""The others may take this much longer than undisturbed, plus `Observation.allowed_seconds`."""

NOISE_SECONDS = 2.0
"""What a loaded machine may add to a cast of a second."""

_TOOK = re.compile(r"\(c\) \S+ took ")

STAGING = ".castray-"
"""How staging folders and probe files begin."""

COMPLETED = "completed"
TERMINAL = frozenset({COMPLETED, "skipped", "shared", "failed", "cancelled", "awaited"})


@dataclass(frozen=True)
class Ending:
    """How one delivery ended."""

    state: str  # `DeliveryState`; one that is not terminal if it did not end in time
    kind: str = ""  # `FailureKind` of its failure
    reason: str = ""  # what a person reads
    seconds: float = 0.0  # after the cast's start


@dataclass(frozen=True)
class Repeated:
    """What a retry or a resume of one delivery has moved."""

    needed: int  # bytes that were not verified at the recipient before
    received: int  # bytes that it received
    allowed: int = 0  # beyond that: the lists, and a piece that was on its way
    state: str = COMPLETED


@dataclass
class Observation:
    """What a cell's run has seen."""

    endings: dict[str, Ending]  # of the disturbed cast, by recipient
    expected: dict[str, Collection[str]]
    """The states, and kinds of failure, that are true for each recipient; `completed` if it is not named."""

    undisturbed: Collection[str]  # recipients that the fault does not concern
    usual_seconds: float  # what they take without the fault, measured in the same way
    allowed_seconds: float = NOISE_SECONDS  # beyond a fifth: noise, and a documented bound that applies
    bound: str = ""  # its constant, as in docs/timeouts-and-recovery.md
    wrong: list[str] = field(default_factory=list)  # (a) final names that had other bytes at any time
    left: list[str] = field(default_factory=list)  # (d) what stayed behind
    repeated: dict[str, Repeated] = field(default_factory=dict)  # (e) by recipient
    file_problems: dict[str, str] = field(default_factory=dict)  # kinds by file, of those that were not sent
    expected_problems: Mapping[str, Collection[str]] = field(default_factory=dict)


def problems(seen: Observation) -> list[str]:
    """What does not hold, each beginning with the letter of its check."""
    return [
        *(f"(a) {text}" for text in seen.wrong),
        *(f"(b) {text}" for text in _wrong_endings(seen)),
        *(f"(c) {text}" for text in _disturbed(seen)),
        *(f"(d) {text}" for text in seen.left),
        *(f"(e) {text}" for text in _sent_again(seen)),
    ]


def _wrong_endings(seen: Observation) -> Iterable[str]:
    for node, ending in seen.endings.items():
        wanted = seen.expected.get(node, (COMPLETED,))
        if ending.state not in TERMINAL:
            yield f"{node} did not end: {ending.state} {ending.reason}"
        elif ending.state == "failed" and not ending.reason:
            yield f"{node} failed without a reason"
        elif ending.state not in wanted and ending.kind not in wanted:
            yield f"{node}: {ending.state} {ending.kind} {ending.reason}, not {' or '.join(sorted(wanted))}"
    for path, kind in seen.file_problems.items():
        if kind not in seen.expected_problems.get(path, ()):
            yield f"{path}: {kind}"
    for path in set(seen.expected_problems) - set(seen.file_problems):
        yield f"{path}: no reason was given"


def _disturbed(seen: Observation) -> Iterable[str]:
    limit = seen.usual_seconds * SHARE + seen.allowed_seconds
    for node in seen.undisturbed:
        ending = seen.endings[node]
        if ending.state not in {COMPLETED, "skipped", "shared"}:
            yield f"{node}, which the fault does not concern: {ending.state} {ending.reason}"
        elif ending.seconds > limit:
            yield f"{node} took {ending.seconds:.1f} s, undisturbed {seen.usual_seconds:.1f} s"


def is_only_late(found: Iterable[str]) -> bool:
    """Whether all that does not hold is a time, to which a busy machine may add."""
    return all(_TOOK.match(text) for text in found)


def _sent_again(seen: Observation) -> Iterable[str]:
    for node, moved in seen.repeated.items():
        if moved.state not in {COMPLETED, "skipped", "shared"}:
            yield f"{node}: the repeated delivery ended as {moved.state}"
        if moved.received > moved.needed + moved.allowed:
            yield f"{node} received {moved.received:,} bytes where {moved.needed:,} were missing"


# --- (a) final names ------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its relative path; links by their target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class FinalNames:
    """Reads every final name as soon as it appears in the folders, and at the end once more.

    `allowed(name)` are the hashes that a relative name may have. It does not look into staging folders.
    """

    def __init__(self, folders: Mapping[str, Path], allowed: Callable[[str], Collection[str]]) -> None:
        self.wrong: list[str] = []
        self._folders = folders
        self._allowed = allowed
        self._seen: dict[str, tuple[int, int, int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_often, name="final names", daemon=True)

    def __enter__(self) -> FinalNames:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._look()

    def _look_often(self) -> None:
        while not self._stop.wait(0.01):
            self._look()

    def _look(self) -> None:
        for node, folder in self._folders.items():
            for path, folders, names in os.walk(folder):
                folders[:] = [name for name in folders if not name.startswith(STAGING)]
                for name in names:
                    if not name.startswith(STAGING):
                        self._read(node, folder, Path(path, name))

    def _read(self, node: str, folder: Path, path: Path) -> None:
        try:
            facts = path.lstat()
            state = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            if self._seen.get(str(path)) == state:
                return
            digest = f"-> {path.readlink()}" if path.is_symlink() else _sha256(path)
        except FileNotFoundError:
            return
        name = str(path.relative_to(folder))
        if digest not in self._allowed(name):
            self.wrong.append(f"{node}: {name} has {facts.st_size:,} other bytes")
        self._seen[str(path)] = state


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- (d) what stays behind ------------------------------------------------------------------------


def left_behind(
    destinations: Mapping[str, Path], homes: Iterable[Path] = (), runs: Iterable[Path] = ()
) -> list[str]:
    """Staging folders and probes in destinations, staging records in homes, sockets in runtime folders."""
    found = []
    for node, folder in destinations.items():
        found += [f"{node}: {path.relative_to(folder)}" for path in folder.rglob(f"{STAGING}*")]
    for home in homes:
        found += [f"record {path.name}" for path in (home / "staging").glob("*")]
    for run in runs:
        found += [f"socket {path.name}" for path in run.rglob("*") if path.is_socket()]
    return found


def kept_for_retry(homes: Iterable[Path]) -> set[str]:
    """The names of records that say that a delivery is kept for a retry, and of its staging folders."""
    found = set()
    for home in homes:
        for path in (home / "staging").glob("*"):
            if path.suffix != ".new" and "kept" in json.loads(path.read_text()):
                found |= {path.name, f"{STAGING}{path.name}"}
    return found
