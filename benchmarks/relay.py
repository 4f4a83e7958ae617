"""Measure the relay in a laboratory, case by case, each with its target.

    python -m benchmarks.relay                              all cases
    python -m benchmarks.relay links killed --times 5
    python -m benchmarks.relay --scale 0.1 --times 1        a quick run; the targets apply to full sizes
    python -m benchmarks.relay --json

Every figure is the median of `--times` casts, and every recipient's bytes are compared with the source's.
*One copy* is the time of the bytes at the rate of iperf3 in the same laboratory. Needs the requirements of
`benchmarks.laboratory.lab`, memory for all copies at once, and an idle machine. Ends with 1 if a target
was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.laboratory.flipping_proxy import flipping
from benchmarks.laboratory.lab_nodes import LabNodes
from benchmarks.laboratory.namespaces import LabUnavailable, check_machine
from benchmarks.laboratory.trials import MIB, Bench, Trial, TrialFailed, bench, median, repeat, stopwatch
from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.content.stream_layout import choose_piece_bytes
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.nodes.agent_reports import SourceState

EVENT_SECONDS = 300.0
"""Seconds within which an expected event during a cast must happen."""

POLL_SECONDS = 0.001
MOST_COPIES = 1.02


@dataclass(frozen=True)
class Options:
    """Options for running the cases."""

    times: int = 3
    scale: float = 1.0
    disk: Path = Path("/var/tmp")

    def size(self, mebibytes: float) -> int:
        """Bytes; at least one mebibyte."""
        return max(int(mebibytes * MIB * self.scale), MIB)


@dataclass(frozen=True)
class Row:
    """One figure, and its target, which is a maximum."""

    case: str
    what: str
    value: float = 0.0
    unit: str = "s"
    bar: float | None = None
    rule: str = ""  # the target as text
    one_copy: float = 0.0  # seconds
    copies: float = 0.0
    most_copies: float = 0.0
    cpu: float = 0.0  # seconds
    by_datagrams: float = 0.0  # share of the bytes, 0..1
    repaired: int = 0  # bytes that receivers fetched through the relay
    note: str = ""
    error: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without one."""
        if self.error:
            return False
        if self.most_copies and self.copies > self.most_copies:
            return False
        return None if self.bar is None else self.value <= self.bar


Case = Callable[[Options], Awaitable[list[Row]]]


def row(case: str, what: str, trials: Sequence[Trial], **fields: object) -> Row:
    """The medians of several casts."""
    values: dict[str, object] = {
        "value": median(trial.seconds for trial in trials),
        "copies": median(trial.copies for trial in trials),
        "cpu": median(trial.cpu for trial in trials),
        "by_datagrams": median(trial.by_datagrams for trial in trials),
        "repaired": median(trial.repaired for trial in trials),
    }
    return Row(case, what, **(values | fields))  # type: ignore[arg-type]


# --- the time of one copy ------------------------------------------------------------------------


async def links(options: Options) -> list[Row]:
    """1 GiB over links of 1 Gbit/s to 1, 4 and 8 recipients.

    Eight also at half the rate: a machine with two processors can't write, hash and forward eight
    streams of 1 Gbit/s at once, and this row shows the chain without that limit.
    """
    size = options.size(1024)
    rows = []
    for recipients, rate in ((1, 1000), (4, 1000), (8, 1000), (8, 500)):
        async with bench(recipients + 1, f"{rate}mbit") as lab:
            path = await lab.make_file(size)
            trials = await repeat(options.times, lab, path)
            copy = lab.one_copy(size)
        rows.append(
            row(
                "links",
                f"{size // MIB} MiB, {rate} Mbit/s, {recipients} recipients",
                trials,
                one_copy=copy,
                bar=1.05 * copy + 0.2,
                rule="1.05 x one copy + 0.2 s, 1.02 copies",
                most_copies=MOST_COPIES,
            )
        )
    return rows


async def encrypted(options: Options) -> list[Row]:
    """1 GiB over links of 1 Gbit/s to 4 recipients, encrypted and plain in turn; then without limits, where
    the processors are the limit, to 1 recipient.
    """
    size = options.size(1024)
    rows = []
    for recipients, rate in ((4, "1gbit"), (1, None)):
        trials: dict[Encryption, list[Trial]] = {Encryption.AUTO: [], Encryption.NEVER: []}
        async with bench(recipients + 1, rate) as lab:
            path = await lab.make_file(size)
            for _ in range(options.times):
                for choice, found in trials.items():
                    found.append(await lab.run(path, encrypt=choice))
                    if found[-1].encrypted is not (choice is Encryption.AUTO):
                        raise TrialFailed(f"{choice.value}: encrypted is {found[-1].encrypted}")
            copy = lab.one_copy(size)
        what = f"{size // MIB} MiB, {'1 Gbit/s' if rate else 'unshaped'}, {recipients} recipients"
        plain = row("encrypted", f"{what}, plain", trials[Encryption.NEVER], one_copy=copy)
        ours = row("encrypted", f"{what}, TLS 1.3", trials[Encryption.AUTO], one_copy=copy)
        hops = size / (1 << 30) * recipients
        note = f"{(ours.cpu - plain.cpu) / hops:.2f} s of CPU more for each GiB and hop"
        if rate:
            ours = dataclasses.replace(ours, bar=1.08 * copy, rule="1.08 x one copy")
        rows += [plain, dataclasses.replace(ours, note=note)]
    return rows


async def many(options: Options) -> list[Row]:
    """256 MiB over links of 200 Mbit/s to 32 recipients."""
    size = options.size(256)
    async with bench(33, "200mbit") as lab:
        path = await lab.make_file(size)
        trials = await repeat(options.times, lab, path)
        copy = lab.one_copy(size)
    what = f"{size // MIB} MiB, 200 Mbit/s, 32 recipients"
    bar = 1.08 * copy + 0.5
    return [row("many", what, trials, one_copy=copy, bar=bar, rule="1.08 x one copy + 0.5 s")]


async def loss(options: Options) -> list[Row]:
    """Links of 100 Mbit/s that lose one packet in a hundred, to 4 recipients."""
    size = options.size(64)
    async with bench(5, "100mbit", loss=0.01, coalesce=False) as lab:
        path = await lab.make_file(size)
        trials = await repeat(options.times, lab, path)
        copy = lab.one_copy(size)
    what = f"{size // MIB} MiB, 100 Mbit/s, 1 % loss, 4 recipients"
    return [row("loss", what, trials, one_copy=copy, bar=1.25 * copy, rule="1.25 x one copy without loss")]


async def long(options: Options) -> list[Row]:
    """50 Mbit/s, 100 ms round trip, one packet in two hundred lost, to 1 recipient."""
    size, rate = options.size(64), 50e6 / 8
    async with bench(2, "50mbit", delay=0.05, loss=0.005, coalesce=False, measure=False) as lab:
        path = await lab.make_file(size)
        trials = await repeat(options.times, lab, path)
    what = f"{size // MIB} MiB, 50 Mbit/s, 100 ms, 0.5 % loss, 1 recipient"
    share = size / median(trial.seconds for trial in trials) / rate
    return [
        row(
            "long",
            what,
            trials,
            bar=size / rate / 0.8,
            rule="0.8 of the rate",
            note=f"{share:.2f} of the rate",
        )
    ]


async def small(options: Options) -> list[Row]:
    """20,000 files of 4 KiB over links of 1 Gbit/s to 4 recipients."""
    files, size = max(int(20_000 * options.scale), 1), 4096
    async with bench(5, "1gbit") as lab:
        path = await lab.make_tree(files, size)
        trials = await repeat(options.times, lab, path)
        copy = lab.one_copy(files * size)
    what = f"{files} files of 4 KiB, 1 Gbit/s, 4 recipients"
    return [row("small", what, trials, one_copy=copy, note="bar is against rsync")]


async def memory(options: Options) -> list[Row]:
    """16 GiB from disk to disk, to 1 recipient: the memory growth of an agent."""
    size = options.size(16 * 1024)
    folder = options.disk / f"castray-relay-{asyncio.get_running_loop().time():.6f}"
    folder.mkdir()
    try:
        async with bench(2, None) as lab:
            path = await lab.make_file(size, folder)
            await lab.nodes.kill(lab.recipients[0])
            await lab.nodes.place(lab.lab.hosts[1], inbox=folder / "inbox")
            trial = await lab.run(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        row(
            "memory",
            f"{size // MIB} MiB from disk to disk, 1 recipient",
            [trial],
            value=trial.growth / MIB,
            unit="MiB",
            bar=64.0,
            rule="growth of each agent below 64 MiB",
            note=f"{trial.seconds:.1f} s",
        )
    ]


async def casts(options: Options) -> list[Row]:
    """1,000 small casts in a row to 2 recipients: the memory growth of an agent after the first tenth."""
    count = max(int(1000 * options.scale), 20)
    async with bench(3, None) as lab:
        path = await lab.make_file(MIB)
        early = [await lab.run(path) for _ in range(count // 10)]
        before = lab.nodes.memory()
        trials = [await lab.run(path) for _ in range(count - len(early))]
        after = lab.nodes.memory()
    return [
        row(
            "casts",
            f"{count} casts of 1 MiB, 2 recipients",
            trials,
            value=max(after[node] - before[node] for node in before) / MIB,
            unit="MiB",
            bar=4.0,
            rule="flat: an agent grows by less than 4 MiB",
            note=f"{median(trial.seconds for trial in trials):.3f} s for each",
        )
    ]


# --- failures -------------------------------------------------------------------------------------


async def killed(options: Options) -> list[Row]:
    """1 GiB to 8 recipients; one in the middle is killed halfway."""
    size = options.size(1024)
    undisturbed, disturbed = [], []
    async with bench(9, "1gbit") as lab:
        path = await lab.make_file(size)

        async def kill_one(cast: str) -> Collection[str]:
            victim = await half_way(lab, cast, size)
            await lab.nodes.kill(victim)
            return (victim,)

        for _ in range(options.times):
            undisturbed.append(await lab.run(path))
            disturbed.append(await lab.run(path, kill_one))
            for host in lab.lab.hosts:
                if host.name not in disturbed[-1].deliveries and host != lab.lab.hosts[0]:
                    await lab.nodes.place(host)
    plain = median(trial.seconds for trial in undisturbed)
    return [
        row(
            "killed",
            f"{size // MIB} MiB, 1 Gbit/s, the other 7 of 8",
            disturbed,
            bar=1.10 * plain + 2,
            rule="1.10 x undisturbed + 2 s",
            note=f"undisturbed {plain:.2f} s",
        )
    ]


async def half_way(lab: Bench, cast: str, size: int) -> str:
    """The node in the middle of the chain, once it has half of the bytes."""
    await lab.nodes.until(lambda: len(lab.chain(cast)) > 1, EVENT_SECONDS)
    chain = lab.chain(cast)
    middle = chain[len(chain) // 2]
    await lab.nodes.until(lambda: lab.bytes_at(cast, middle) >= size / 2, EVENT_SECONDS)
    return middle


async def slow(options: Options) -> list[Row]:
    """1 GiB to 8 recipients; the link of one in the middle has a tenth of the rate."""
    size = options.size(1024)
    undisturbed, disturbed = [], []
    async with bench(9, "1gbit") as lab:
        path = await lab.make_file(size)
        for _ in range(options.times):
            undisturbed.append(await lab.run(path))
            chain = undisturbed[-1].chain
            laggard = chain[len(chain) // 2]

            async def spare(cast: str, laggard: str = laggard) -> Collection[str]:
                return (laggard,)

            host = lab.lab.hosts[lab.host(laggard)]
            lab.lab.set_rate(host, "100mbit")
            try:
                disturbed.append(await lab.run(path, spare))
            finally:
                lab.lab.set_rate(host, "1gbit")
    plain = median(trial.seconds for trial in undisturbed)
    return [
        row(
            "slow",
            f"{size // MIB} MiB, 1 Gbit/s, the other 7 of 8",
            disturbed,
            bar=1.15 * plain,
            rule="1.15 x undisturbed",
            note=f"undisturbed {plain:.2f} s",
        )
    ]


async def late(options: Options) -> list[Row]:
    """1 GiB to 4 recipients; a fifth is added halfway."""
    size = options.size(1024)
    seconds: list[float] = []
    async with bench(6, "1gbit") as lab:
        path = await lab.make_file(size)
        *first, joiner = lab.recipients

        async def join(cast: str) -> Collection[str]:
            await half_way(lab, cast, size)
            passed = stopwatch()
            await lab.nodes.cast_manager.add_recipients(cast, (joiner,))
            await lab.nodes.ended(cast, (joiner,), EVENT_SECONDS)
            seconds.append(passed())
            return ()

        trials = [await lab.run(path, join, first) for _ in range(options.times)]
        copy = lab.one_copy(size)
    others = median(max(trial.deliveries[node].seconds for node in first) for trial in trials)
    return [
        row(
            "late",
            f"{size // MIB} MiB, 1 Gbit/s, a fifth from its joining",
            trials,
            value=median(seconds),
            one_copy=copy,
            bar=1.6 * copy,
            rule="1.6 x one copy",
            note=f"the four others {others:.2f} s",
        )
    ]


async def source_killed(options: Options) -> list[Row]:
    """The source's agent is killed after its last byte and hashes, while the last of 4 is far behind."""
    size = options.size(256)
    trials = []
    async with bench(5, "1gbit") as lab:
        path = await lab.make_file(size)
        last = (await lab.run(path)).chain[-1]
        lab.lab.set_rate(lab.lab.hosts[lab.host(last)], "200mbit")
        source = lab.lab.hosts[0]
        left = []

        async def kill_source(cast: str) -> Collection[str]:
            await lab.nodes.until(lambda: given_away(lab.nodes, cast), EVENT_SECONDS)
            left.append(1 - lab.bytes_at(cast, last) / size)
            await lab.nodes.kill(source.name)
            return ()

        for _ in range(options.times):
            trials.append(await lab.run(path, kill_source))
            await lab.nodes.place(source)
    return [
        row(
            "source-killed",
            f"{size // MIB} MiB, 4 recipients, the last one slow",
            trials,
            rule="every recipient completes",
            bar=float("inf"),
            note=f"the last one lacked {median(left):.0%} when the source went",
        )
    ]


def given_away(nodes: LabNodes, cast: str) -> bool:
    """Whether the source has reported its hashes, and some recipient has every byte.

    Bytes in the source's sockets do not count: they are lost when its process ends.
    """
    report = nodes.sources.get(cast)
    if report is None or report.state is not SourceState.HASHED or report.totals is None:
        return False
    totals = report.totals
    stream = totals.manifest_bytes + totals.content_bytes + totals.trailer_bytes
    return any(item.stream_bytes >= stream for (one, _), item in nodes.reports.items() if one == cast)


async def flipped(options: Options) -> list[Row]:
    """A proxy on the first hop flips a bit in the middle of 64 MiB to 2 recipients."""
    size = options.size(64)
    again, trials = [], []
    async with bench(3, "1gbit") as lab:
        path = await lab.make_file(size)
        for _ in range(options.times):
            with flipping(lab.nodes, lab.lab.hosts[0], at=size // 2):
                trial = await lab.run(path)
            repeated = [received - trial.stream for received in trial.received.values()]
            again.append(sum(repeated) / choose_piece_bytes(trial.stream, len(repeated)))
            trials.append(trial)
    if not all(again):
        raise TrialFailed("no piece was fetched again: nothing was flipped")
    return [
        row(
            "flipped",
            f"{size // MIB} MiB, a bit on the first hop, 2 recipients",
            trials,
            value=max(again),
            unit="pieces",
            bar=1.0,
            rule="one piece fetched again",
            note=f"{median(trial.seconds for trial in trials):.2f} s",
        )
    ]


# --- latency --------------------------------------------------------------------------------------


async def first_byte(options: Options) -> list[Row]:
    """The time from Send until the last of 8 recipients has received bytes of the file."""
    size = options.size(256)
    seconds: list[float] = []
    async with bench(9, "1gbit") as lab:
        path = await lab.make_file(size)
        for _ in range(options.times):
            passed = stopwatch()

            async def look(cast: str, passed: Callable[[], float] = passed) -> Collection[str]:
                lacking = {node.name: Path(node.inbox) for node in lab.nodes.nodes.values()}
                del lacking[lab.lab.hosts[0].name]
                while lacking:
                    await asyncio.sleep(POLL_SECONDS)
                    lacking = {node: inbox for node, inbox in lacking.items() if not has_bytes(inbox)}
                seconds.append(passed())
                return ()

            await lab.run(path, look)
    return [
        Row(
            "first-byte",
            "1 Gbit/s, the last of 8 recipients",
            value=1000 * median(seconds),
            unit="ms",
            bar=300.0,
            rule="300 ms",
        )
    ]


def has_bytes(inbox: Path) -> bool:
    """Whether a part file in one of the inbox's staging folders has data."""
    return any(file.stat().st_blocks for file in inbox.glob(".castray-*/parts/*")) or any(
        inbox.glob("payload*")
    )


async def latency(options: Options) -> list[Row]:
    """The cost of each further hop: (time of 8 - time of 1) / 7."""
    size = options.size(256)
    rows = []
    for rate, name in (("1gbit", "1 Gbit/s"), (None, "unshaped")):
        async with bench(9, rate) as lab:
            path = await lab.make_file(size)
            ones, eights = [], []
            for _ in range(options.times):
                ones.append(await lab.run(path, recipients=lab.recipients[:1]))
                eights.append(await lab.run(path))
        one, eight = (median(trial.seconds for trial in trials) for trials in (ones, eights))
        value = 1000 * (eight - one) / 7
        note = f"1: {one:.2f} s, 8: {eight:.2f} s"
        rows.append(
            row("latency", f"{size // MIB} MiB, {name}, each hop", eights, value=value, unit="ms", note=note)
        )
    return rows


async def hop(options: Options) -> list[Row]:
    """The latency of one more hop if the link is not the limit: `route_plan.HOP_SECONDS`.

    Half a piece along a chain of 8 without limits; the time between the ends at the first and the last
    recipient.
    """
    async with bench(9, None) as lab:
        path = await lab.make_file(MIB // 2)
        trials = [await lab.run(path) for _ in range(10 * options.times)]
    value = 1000 * median(hop_seconds(trial) for trial in trials)
    return [row("hop", "512 KiB, unshaped, each hop", trials, value=value, unit="ms")]


def hop_seconds(trial: Trial) -> float:
    """Seconds from the end at the chain's first recipient to that at its last one, for each hop between."""
    _, first, *others = trial.chain
    return (trial.deliveries[others[-1]].seconds - trial.deliveries[first].seconds) / len(others)


CASES: dict[str, Case] = {
    "links": links,
    "encrypted": encrypted,
    "many": many,
    "loss": loss,
    "long": long,
    "small": small,
    "memory": memory,
    "casts": casts,
    "killed": killed,
    "slow": slow,
    "late": late,
    "source-killed": source_killed,
    "flipped": flipped,
    "first-byte": first_byte,
    "latency": latency,
    "hop": hop,
}


HEAD = [
    "case",
    "what",
    "measured",
    "one copy",
    "ratio",
    "copies",
    "datagrams",
    "repaired",
    "CPU",
    "bar",
    "met",
]
"""The columns; columns without a figure are left out."""


async def run_case(name: str, case: Case, options: Options) -> list[Row]:
    """The rows of a case, or one row with the reason why it failed."""
    passed = stopwatch()
    try:
        rows = await case(options)
    except (TrialFailed, LabUnavailable, CastRayError, RuntimeError, TimeoutError, OSError) as error:
        rows = [Row(name, "did not succeed", error=f"{type(error).__name__}: {error}")]
    print(f"{name}: {passed():.0f} s", file=sys.stderr, flush=True)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one for each line."""
    lines = [HEAD, *(cells(item) for item in rows)]
    used = [column for column, *found in zip(range(len(HEAD)), *lines[1:], strict=True) if any(found)]
    lines = [[line[column] for column in used] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    notes = [f"{item.case}: {item.error or item.note}" for item in rows if item.error or item.note]
    return "\n".join([*(line.rstrip() for line in text), *notes])


def cells(item: Row) -> list[str]:
    """A row as in the table."""
    verdict = {True: "yes", False: "NO", None: ""}[item.met]
    if item.error:
        return [item.case, item.what, *[""] * (len(HEAD) - 4), item.rule, verdict]
    bar = f"{item.bar:.2f} {item.unit}" if item.bar is not None and item.bar < float("inf") else ""
    return [
        item.case,
        item.what,
        f"{item.value:.2f} {item.unit}",
        f"{item.one_copy:.2f} s" if item.one_copy else "",
        f"{item.value / item.one_copy:.3f}" if item.one_copy and item.unit == "s" else "",
        f"{item.copies:.3f}" if item.copies else "",
        f"{item.by_datagrams:.1%}" if item.by_datagrams else "",
        f"{item.repaired / MIB:.1f} MiB" if item.repaired else "",
        f"{item.cpu:.1f} s" if item.cpu else "",
        f"{bar} ({item.rule})" if bar else item.rule,
        verdict,
    ]


def run(cases: Mapping[str, Case], module: str, description: str | None) -> int:
    """Run the cases on the command line of a benchmark, and print their table."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}; all by default")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="all sizes times this")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder on a disk, for memory")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - cases.keys():
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    options = Options(arguments.times, arguments.scale, arguments.disk)
    rows: list[Row] = []
    try:
        check_machine()
        for name in arguments.cases or cases:
            rows += asyncio.run(run_case(name, cases[name], options))
    except LabUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if arguments.json:
        print(json.dumps([dataclasses.asdict(item) | {"met": item.met} for item in rows], indent=2))
    else:
        print(table(rows))
    return int(any(item.met is False for item in rows))


if __name__ == "__main__":
    sys.exit(run(CASES, "benchmarks.relay", __doc__))
