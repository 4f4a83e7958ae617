"""From a run file to a verdict, in words, as a part of docs/soak.md, and as curves."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.flatness import HOUR, MIB, Limit, Verdict, by_process, judge
from benchmarks.soak.soak_curves import Panel, Segments, draw_curves
from benchmarks.soak.soak_faults import UNEXPECTED
from benchmarks.soak.soak_records import (
    AnyRecord,
    CastRecord,
    FaultRecord,
    ProcessSample,
    ResourceSample,
    RunEnded,
    RunStarted,
)

BEGIN = "<!-- soak: begin -->"
END = "<!-- soak: end -->"

MEMORY = {
    "engine": Limit(8 * MIB, 4 * MIB, kept=24 * MIB),
    "driver": Limit(8 * MIB, 16 * MIB),
    "agent": Limit(8 * MIB, 20 * MIB),
    "window": Limit(12 * MIB, 24 * MIB),
    "server": Limit(8 * MIB, 4 * MIB),
}
"""Proportional set size. The engine keeps the last 200 casts, which takes it up to 25 MiB, and some hundred
casts until it has settled; `benchmarks.casts_at_once --rounds` measures it beyond that."""

THREADS = Limit(2.0, 2.0)
DESCRIPTORS = Limit(3.0, 3.0)
DISK = {
    "temp": Limit(2 * MIB, 2 * MIB),
    "staging": Limit(2 * MIB, 2 * MIB),
}
HOME_BYTES_A_CAST = 16 * 1024
"""The history keeps every cast, and the caches of hashes every file: home may grow by so much a cast."""

LOGS = 8 * MIB
"""Logs have three files of 2 MiB."""

RAY_DISK = Limit(60 * MIB, 20 * MIB)
"""Ray writes logs of its own; a node that is started again begins without."""


LEAST_SAMPLES = 20


@dataclass(frozen=True)
class SoakRun:
    """A whole run."""

    started: RunStarted
    ended: RunEnded | None
    samples: tuple[ResourceSample, ...]
    casts: tuple[CastRecord, ...]
    faults: tuple[FaultRecord, ...]

    @classmethod
    def of(cls, records: Iterable[AnyRecord]) -> SoakRun:
        """Raises ValueError if the first record is missing."""
        known = list(records)
        started = next((record for record in known if isinstance(record, RunStarted)), None)
        if started is None:
            raise ValueError("the run file does not begin with a start")
        return cls(
            started,
            next((record for record in known if isinstance(record, RunEnded)), None),
            tuple(record for record in known if isinstance(record, ResourceSample)),
            tuple(record for record in known if isinstance(record, CastRecord)),
            tuple(record for record in known if isinstance(record, FaultRecord)),
        )

    @property
    def seconds(self) -> float:
        return self.samples[-1].at if self.samples else 0.0


def verdicts(run: SoakRun) -> list[Verdict]:
    """On every curve, from the moments at which no cast ran."""
    found = []
    idle = [sample for sample in run.samples if not sample.running]
    samples = idle if len(idle) >= LEAST_SAMPLES else run.samples
    roles: dict[str, list[tuple[float, ProcessSample]]] = defaultdict(list)
    for sample in samples:
        for process in sample.processes:
            roles[process.role].append((sample.at, process))
    for role, seen in sorted(roles.items()):
        memory = MEMORY.get(role.split()[0])
        if memory is None:  # Ray's own
            continue
        for what, limit, values in (
            ("memory", memory, [(at, item.pid, float(item.pss)) for at, item in seen]),
            ("threads", THREADS, [(at, item.pid, float(item.threads)) for at, item in seen]),
            ("descriptors", DESCRIPTORS, [(at, item.pid, float(item.descriptors)) for at, item in seen]),
        ):
            found.append(judge(f"{role}: {what}", by_process(values), limit, run.seconds))
    hours = run.seconds / HOUR or 1.0
    home = Limit(HOME_BYTES_A_CAST * len(run.casts) / hours + MIB, 2 * MIB, kept=LOGS)
    for place, limit in {**DISK, "home": home, "nodes": home, "Ray": RAY_DISK}.items():
        points = [(sample.at, float(sample.disk.get(place, 0))) for sample in samples]
        if points:
            found.append(judge(f"disk: {place}", {0: points}, limit, run.seconds))
    return found


def problems(run: SoakRun) -> list[str]:
    """What is not as promised, a sentence each; empty: the run was good."""
    found = [f"{verdict.curve} grew: {_change(verdict)}" for verdict in verdicts(run) if not verdict.flat]
    for cast in run.casts:
        name = f"cast {cast.cast or '-'} ({cast.what}, at {cast.sent:.0f} s)"
        if not cast.explained:
            found.append(f"{name} ended as {cast.state} {cast.reason}, which no fault explains")
        for item in cast.deliveries:
            if not item.explained:
                found.append(f"{name} to {item.node}: {item.state} {item.reason}, which no fault explains")
            if item.wrong:
                found.append(f"{name} to {item.node}: wrong files: {', '.join(item.wrong)}")
    found += [
        f"not recovered: {fault.kind} {fault.node} at {fault.begun:.0f} s"
        for fault in run.faults
        if fault.recovered < 0
    ]
    found += [
        f"{fault.node} was away for {fault.recovered:.0f} s at {fault.begun:.0f} s without a fault"
        for fault in run.faults
        if fault.kind == UNEXPECTED
    ]
    if run.ended is None:
        found.append("the run was broken off")
    else:
        found += [f"staging folder left: {folder}" for folder in run.ended.staging]
        found += [f"cast without an end: {cast}" for cast in run.ended.casts]
        found += [f"process left: {process}" for process in run.ended.processes]
        if run.ended.stopped:
            found.append(f"it stopped: {run.ended.stopped}")
    return found


def _change(verdict: Verdict) -> str:
    """The slope and its limit in words."""
    if verdict.slope is None:
        return "no process lived long enough"
    if verdict.curve.endswith(("threads", "descriptors")):
        return f"{verdict.slope:+.1f} an hour, limit {verdict.limit.slope:.0f}"
    return f"{verdict.slope / MIB:+.1f} MiB an hour, limit {verdict.limit.slope / MIB:.0f}"


def text(run: SoakRun) -> str:
    """The verdict for a terminal."""
    lines = [f"{run.seconds / 60:.0f} minutes, seed {run.started.seed}, {run.started.machine}", ""]
    lines += [
        f"{'' if verdict.flat else 'NOT FLAT '}{verdict.curve}: {_change(verdict)}"
        for verdict in verdicts(run)
    ]
    lines += ["", _account(run), ""]
    found = problems(run)
    lines += found or ["Nothing grew, and every delivery is accounted for."]
    return "\n".join(lines)


def _account(run: SoakRun) -> str:
    """Every cast and delivery in numbers."""
    casts = [cast for cast in run.casts if cast.what != "refused"]
    states = Counter(item.state for cast in casts for item in cast.deliveries)
    reasons = Counter(item.reason for cast in casts for item in cast.deliveries if item.state == "failed")
    total = sum(states.values())
    done = sum(states[state] for state in ("completed", "skipped", "shared"))
    sent = sum(cast.bytes * sum(item.state == "completed" for item in cast.deliveries) for cast in casts)
    why = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "none"
    return (
        f"{len(casts)} casts with {total} deliveries: {done} delivered ({sent / 2**30:.1f} GiB, compared),"
        f" {states['failed']} failed ({why}), {states['cancelled']} cancelled;"
        f" {len(run.casts) - len(casts)} requests were refused while the engine or its cluster was away"
    )


def markdown(run: SoakRun) -> str:
    """The part of docs/soak.md that a run renews."""
    when = time.strftime("%-d %B %Y", time.gmtime(run.started.when))
    faults: dict[str, list[float]] = defaultdict(list)
    for fault in run.faults:
        faults[fault.kind].append(fault.recovered)
    lines = [
        f"{run.seconds / 60:.0f} minutes on {when}, seed {run.started.seed}, {run.started.hosts} hosts on"
        f" {run.started.machine}{f', beside {run.started.beside}' if run.started.beside else ''}.",
        "",
        f"{_account(run)}.",
        "",
        "| fault | times | all nodes online again after it ended, median, longest |",
        "| --- | --- | --- |",
    ]
    for kind, took in sorted(faults.items()):
        middle = sorted(took)[len(took) // 2]
        lines.append(f"| {kind} | {len(took)} | {middle:.0f} s, {max(took):.0f} s |")
    lines += [
        "",
        "| curve | at the end | grew by | within | allowed | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for verdict in verdicts(run):
        if verdict.slope is None:
            continue
        count = verdict.curve.endswith(("threads", "descriptors"))
        unit, scale = ("", 1.0) if count else (" MiB", float(MIB))
        last = f"{verdict.last / scale:.{0 if count else 1}f}{unit}"
        grown = f"{verdict.growth / scale:+.1f}{unit}"
        most = f"{verdict.allowed / scale:.0f}{unit}"
        span = f"{verdict.span / 60:.0f} min"
        flat = "flat" if verdict.flat else "**grows**"
        lines.append(f"| {verdict.curve} | {last} | {grown} | {span} | {most} | {flat} |")
    found = problems(run)
    lines += ["", *(f"- {problem}" for problem in found)]
    if not found:
        lines.append("Nothing grew, and every delivery is accounted for.")
    return "\n".join(lines) + "\n"


def write_documents(run: SoakRun, document: Path, pictures: Path) -> None:
    """Renew the marked part of the document, and its curves. Raises OSError, ValueError."""
    before = document.read_text()
    if BEGIN not in before or END not in before:
        raise ValueError(f"{document} has no {BEGIN} and {END}")
    head, tail = before.split(BEGIN, 1)[0], before.split(END, 1)[1]
    document.write_text(f"{head}{BEGIN}\n\n{markdown(run)}\n{END}{tail}")
    for name, picture in curves(run).items():
        (pictures / f"{name}.svg").write_text(picture)


def curves(run: SoakRun) -> dict[str, str]:
    """The pictures by name."""
    minutes = run.seconds / 60
    faults = [fault.begun / 60 for fault in run.faults]
    memory, threads, descriptors = (
        {role: _line(run, role, what, scale) for role in _roles(run)}
        for what, scale in (("pss", float(MIB)), ("threads", 1.0), ("descriptors", 1.0))
    )
    places = ("home", "nodes", "staging", "temp", "Ray")
    disk: dict[str, Segments] = {
        place: [[(sample.at / 60, sample.disk.get(place, 0) / MIB) for sample in run.samples]]
        for place in places
    }
    return {
        "soak-processes": draw_curves(
            "Memory, threads and descriptors of each process during a soak",
            [
                Panel("Memory (proportional set size), MiB", memory),
                Panel("Threads", threads),
                Panel("Descriptors", descriptors),
            ],
            minutes,
            faults,
        ),
        "soak-disk": draw_curves(
            "Bytes on disk during a soak",
            [
                Panel("Home, nodes' data, temporary files and Ray's folders, MiB", _without(disk, "staging")),
                Panel("Staging folders, MiB", {"staging": disk["staging"]}),
            ],
            minutes,
            faults,
        ),
    }


def _without(lines: dict[str, Segments], name: str) -> dict[str, Segments]:
    return {key: line for key, line in lines.items() if key != name}


def _roles(run: SoakRun) -> Sequence[str]:
    """Of our own processes: the engine first, the agents last."""
    order = {"engine": 0, "driver": 1, "window": 2, "server": 3}
    seen = {process.role for sample in run.samples for process in sample.processes}
    return sorted(
        (role for role in seen if role.split()[0] in MEMORY), key=lambda role: (order.get(role, 9), role)
    )


def _line(run: SoakRun, role: str, what: str, scale: float) -> Segments:
    """A process's values, with a new segment for each process that had this role."""
    segments: dict[int, list[tuple[float, float]]] = {}
    for sample in run.samples:
        for process in sample.processes:
            if process.role == role:
                segments.setdefault(process.pid, []).append((sample.at / 60, getattr(process, what) / scale))
    return list(segments.values())
