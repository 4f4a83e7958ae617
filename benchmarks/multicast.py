"""Measure multicast in a laboratory, case by case, each with its target.

    python -m benchmarks.multicast                          all cases
    python -m benchmarks.multicast links loss --times 5
    python -m benchmarks.multicast --scale 0.1 --times 1    a quick run; the targets apply to full sizes
    python -m benchmarks.multicast --json

Every figure is the median of `--times` casts, and every recipient's bytes are compared with the source's.
*One copy* is the time of the bytes at the rate of iperf3 in the same laboratory; *copies* is the data that
left the source, *datagrams* the share of the bytes that arrived in datagrams, *repaired* the data that
receivers fetched through the relay. Comparisons alternate. Needs the requirements of
`benchmarks.laboratory.lab`, UFTP for `links` and `uftp`, memory for all copies at once, and an idle machine.
Ends with 1 if a target was missed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from benchmarks.laboratory.lab import IPERF_PORT, Host
from benchmarks.laboratory.multicast_filter import At, filtered
from benchmarks.laboratory.multicast_forger import forging
from benchmarks.laboratory.trials import MIB, Bench, Trial, TrialFailed, bench, median, repeat, stopwatch
from benchmarks.peers import uftp
from benchmarks.peers.common import PeerFailed
from benchmarks.relay import Case, Options, Row, row, run
from castray_desktop.core.multicast.datagrams import group_address
from castray_desktop.core.protocol.messages import TransportOption

SETTLE_SECONDS = 2.0
"""Seconds before the measurement starts."""

EVENT_SECONDS = 120.0


@dataclass(frozen=True)
class Shares:
    """Shares of the total of both."""

    ours: float  # share of the multicast cast, 0..1
    used: float  # rate of one TCP stream alone


async def beside_iperf(lab: Bench, path: Path) -> Shares:
    """Run beside one stream of iperf3 from the source to a host that is no recipient. Raises TrialFailed."""
    source, *_, target = lab.lab.hosts
    found = []

    async def during(cast: str) -> Collection[str]:
        await begun(lab, cast)
        seconds = 0.6 * path.stat().st_size / lab.limit - SETTLE_SECONDS / 2
        found.append(await _iperf(lab, cast, source, target, seconds))
        return ()

    await lab.run(path, during, lab.recipients[:-1], TransportOption.UDP)
    return found[0]


async def _iperf(lab: Bench, cast: str, source: Host, target: Host, seconds: float) -> Shares:
    server = lab.lab.iperf_server(target)
    try:
        await asyncio.to_thread(lab.lab.wait_for_port, target, IPERF_PORT)
        command = ["iperf3", "--client", target.address, "--port", str(IPERF_PORT), "--json"]
        client = lab.lab.popen(
            source,
            [*command, "--time", f"{seconds + SETTLE_SECONDS:g}", "--omit", f"{SETTLE_SECONDS:g}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        talk = asyncio.create_task(asyncio.to_thread(client.communicate))
        await asyncio.sleep(SETTLE_SECONDS)
        ours = await _rate(lab, cast, seconds)
        said, _ = await talk
    finally:
        server.kill()
        server.wait()
    report = json.loads(said)
    if "error" in report:
        raise TrialFailed(f"iperf3: {report['error']}")
    theirs = float(report["end"]["sum_received"]["bits_per_second"]) / 8
    return Shares(ours / (ours + theirs), (ours + theirs) / lab.limit)


async def beside_a_cast(lab: Bench, path: Path) -> Shares:
    """Run beside a relay cast of the same file to a host that is not a recipient. Raises TrialFailed."""
    *recipients, other = lab.recipients
    found = []

    async def during(cast: str) -> Collection[str]:
        relay = lab.send(path, [other])
        await begun(lab, cast)
        await lab.nodes.until(lambda: lab.bytes_at(relay, other) > 0, EVENT_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        seconds = 0.6 * path.stat().st_size / lab.limit - SETTLE_SECONDS / 2
        theirs = asyncio.create_task(_rate(lab, relay, seconds))
        ours = await _rate(lab, cast, seconds)
        together = ours + await theirs
        found.append(Shares(ours / together, together / lab.limit))
        await lab.nodes.cast_manager.cancel(relay)
        return ()

    await lab.run(path, during, recipients, TransportOption.UDP)
    return found[0]


async def begun(lab: Bench, cast: str) -> None:
    """Wait until datagrams deliver data."""

    def datagrams() -> bool:
        return any(report.datagram_bytes for (one, _), report in lab.nodes.reports.items() if one == cast)

    await lab.nodes.until(datagrams, EVENT_SECONDS)


async def _rate(lab: Bench, cast: str, seconds: float) -> float:
    """Average bytes per second for each recipient of a cast. Raises TrialFailed if it ends before."""
    nodes = [node for one, node in lab.nodes.reports if one == cast]
    passed = stopwatch()
    before = [lab.bytes_at(cast, node) for node in nodes]
    await asyncio.sleep(seconds)
    took = passed()
    if all(item.state.finished for item in lab.nodes.cast_manager.deliveries()[cast]):
        raise TrialFailed("the cast ended too early to be compared: it had more than its share")
    after = [lab.bytes_at(cast, node) for node in nodes]
    return sum(after[at] - before[at] for at in range(len(nodes))) / len(nodes) / took


MOST_OF_UFTP = 0.5
TAKE_OVER_SECONDS = 1.0
FORGED_SHARE = 0.1


async def alternating(options: Options, lab: Bench, path: Path) -> tuple[list[Trial], list[Trial]]:
    """Casts by relay and by multicast, alternately. Raises TrialFailed."""
    relay, group = [], []
    for _ in range(options.times):
        relay.append(await lab.run(path))
        group.append(await lab.run(path, transport=TransportOption.UDP))
    return relay, group


def seconds(trials: Sequence[Trial]) -> float:
    """The median."""
    return median(trial.seconds for trial in trials)


# --- the time of one copy ------------------------------------------------------------------------


async def links(options: Options) -> list[Row]:
    """1 GiB over links of 1 Gbit/s to 8 recipients, alternately with UFTP.

    UFTP uses the settings that were fastest with 128 MiB, in the same laboratory. Also at half the rate,
    at which two processors keep up with eight recipients more easily.
    """
    size = options.size(1024)
    rows = []
    for rate in (1000, 500):
        trials, others = [], []
        async with bench(9, f"{rate}mbit") as lab:
            tried, _ = await settings_of_uftp(lab, options.size(128), 1)
            if not tried:
                raise TrialFailed(f"UFTP does not run: {uftp.available()}")
            best = min(tried, key=lambda setting: median(tried[setting]))
            path = await lab.make_file(size)
            for _ in range(options.times):
                trials.append(await lab.run(path, transport=TransportOption.UDP))
                others.append(await by_uftp(lab, path, best))
            copy = lab.one_copy(size)
        what = f"{size // MIB} MiB, {rate} Mbit/s, 8 recipients"
        theirs = median(others)
        rows.append(
            row(
                "links",
                what,
                trials,
                one_copy=copy,
                bar=1.06 * copy,
                rule="1.06 x one copy",
                note=ends(trials),
            )
        )
        rows.append(
            Row(
                "links",
                f"{what}, against UFTP",
                value=seconds(trials) / theirs,
                unit="of its time",
                bar=MOST_OF_UFTP,
                rule="2 x faster",
                note=f"UFTP took {theirs:.2f} s with {best.words}",
            )
        )
    return rows


async def by_uftp(lab: Bench, path: Path, setting: uftp.Setting) -> float:
    """Seconds that UFTP takes for the same file to all recipients. Raises TrialFailed."""
    folder = lab.nodes.folder / "uftp"
    destinations = [folder / host.name for host in lab.lab.hosts[1:]]
    for destination in destinations:
        destination.mkdir(parents=True)
    try:
        took = await asyncio.to_thread(uftp.run_with, setting, lab.lab, path, lab.lab.hosts, destinations)
        wanted = await asyncio.to_thread(digest, path)
        for destination in destinations:
            if await asyncio.to_thread(digest, destination / path.name) != wanted:
                raise TrialFailed(f"UFTP has left other bytes in {destination}")
    except PeerFailed as error:
        raise TrialFailed(f"UFTP: {error}") from error
    finally:
        shutil.rmtree(folder)
    return took


def digest(path: Path) -> bytes:
    """The hash of a file's bytes."""
    return blake3().update_mmap(path).digest()


async def settings_of_uftp(
    lab: Bench, size: int, times: int
) -> tuple[dict[uftp.Setting, list[float]], dict[uftp.Setting, str]]:
    """The time of UFTP with each of its settings, alternately, and its failures."""
    found: dict[uftp.Setting, list[float]] = {}
    failures: dict[uftp.Setting, str] = {}
    path = await lab.make_file(size)
    for _ in range(times):
        for setting in uftp.SETTINGS:
            try:
                found.setdefault(setting, []).append(await by_uftp(lab, path, setting))
            except TrialFailed as error:
                failures[setting] = str(error)
    return found, failures


async def by_setting(options: Options) -> list[Row]:
    """128 MiB over links of 1 Gbit/s to 8 recipients by UFTP, with each of its settings alternately."""
    size = options.size(128)
    async with bench(9, "1gbit") as lab:
        found, failures = await settings_of_uftp(lab, size, options.times)
        copy = lab.one_copy(size)
    rows = [
        Row("uftp", setting.words, value=median(times), one_copy=copy) for setting, times in found.items()
    ]
    return rows + [Row("uftp", setting.words, error=why) for setting, why in failures.items()]


async def many(options: Options) -> list[Row]:
    """256 MiB over links of 200 Mbit/s to 32 recipients."""
    size = options.size(256)
    async with bench(33, "200mbit") as lab:
        path = await lab.make_file(size)
        trials = await repeat(options.times, lab, path, TransportOption.UDP)
        copy = lab.one_copy(size)
    what = f"{size // MIB} MiB, 200 Mbit/s, 32 recipients"
    return [
        row("many", what, trials, one_copy=copy, bar=1.08 * copy, rule="1.08 x one copy", note=ends(trials))
    ]


async def loss(options: Options) -> list[Row]:
    """256 MiB over links of 100 Mbit/s that lose one packet in a hundred, to 8 recipients."""
    size = options.size(256)
    async with bench(9, "100mbit", loss=0.01, coalesce=False) as lab:
        path = await lab.make_file(size)
        trials = await repeat(options.times, lab, path, TransportOption.UDP)
        copy = lab.one_copy(size)
    what = f"{size // MIB} MiB, 100 Mbit/s, 1 % loss, 8 recipients"
    rule = "1.25 x one copy without loss"
    return [row("loss", what, trials, one_copy=copy, bar=1.25 * copy, rule=rule, note=ends(trials))]


# --- disturbances --------------------------------------------------------------------------------


async def slow(options: Options) -> list[Row]:
    """512 MiB over links of 1 Gbit/s to 8 recipients; one of them has a tenth of the rate."""
    size = options.size(512)
    undisturbed, disturbed = [], []
    async with bench(9, "1gbit") as lab:
        path = await lab.make_file(size)
        laggard = lab.recipients[3]
        host = lab.lab.hosts[lab.host(laggard)]

        async def spare(cast: str) -> Collection[str]:
            return (laggard,)

        for _ in range(options.times):
            undisturbed.append(await lab.run(path, transport=TransportOption.UDP))
            lab.lab.set_rate(host, "100mbit")
            try:
                disturbed.append(await lab.run(path, spare, transport=TransportOption.UDP))
            finally:
                lab.lab.set_rate(host, "1gbit")
        copy = lab.one_copy(size)
    note = f"undisturbed {seconds(undisturbed):.2f} s; {ends(disturbed)}"
    what = f"{size // MIB} MiB, 1 Gbit/s, the other 7 of 8"
    return [row("slow", what, disturbed, one_copy=copy, bar=1.15 * copy, rule="1.15 x one copy", note=note)]


async def without_multicast(options: Options) -> list[Row]:
    """256 MiB over links of 1 Gbit/s to 4 recipients with filtered multicast, alternately with the relay."""
    size = options.size(256)
    rows = []
    async with bench(5, "1gbit") as lab:
        path = await lab.make_file(size)
        source, *others = lab.lab.hosts
        for at, where in (
            (At.SWITCH, "by the switch"),
            (At.SOURCE, "on the source"),
            (At.RECIPIENT, "on each recipient"),
        ):
            with filtered(lab.lab, at, [source] if at is At.SOURCE else others):
                relay, group = await alternating(options, lab, path)
            plain = seconds(relay)
            rows.append(
                row(
                    "filtered",
                    f"{size // MIB} MiB, 1 Gbit/s, 4 recipients, filtered {where}",
                    group,
                    bar=plain + TAKE_OVER_SECONDS,
                    rule="the relay's time + 1 s",
                    note=f"the relay alone {plain:.2f} s; {ends(group)}",
                )
            )
    return rows


async def forged(options: Options) -> list[Row]:
    """256 MiB at 1 Gbit/s to 4 recipients, alternately without and with a forger of every tenth datagram.

    Also at 100 Mbit/s without coalescing: bursts are then spread on the wire, so that forged datagrams arrive
    between their datagrams.
    """
    rows = []
    for rate, mebibytes, coalesce in ((1000, 256, True), (100, 64, False)):
        size = options.size(mebibytes)
        plain, spoiled, counts = [], [], []
        async with bench(6, f"{rate}mbit", coalesce=coalesce) as lab:
            path = await lab.make_file(size)
            source, *_, stranger = lab.lab.hosts
            recipients = lab.recipients[:-1]
            for _ in range(options.times):
                plain.append(await lab.run(path, recipients=recipients, transport=TransportOption.UDP))
                with forging(lab.lab, stranger, source, FORGED_SHARE) as forger:

                    async def begin(cast: str) -> Collection[str]:
                        forger.begin(*group_address(cast, ipv6=False))
                        return ()

                    spoiled.append(await lab.run(path, begin, recipients, TransportOption.UDP))
                    forger.stop()
                    counts.append(forger.sent)
        rows.append(
            row(
                "forged",
                f"{size // MIB} MiB, {rate} Mbit/s, 4 recipients" + ("" if coalesce else ", not coalesced"),
                spoiled,
                bar=1.5 * seconds(plain),
                rule="1.5 x undisturbed, right bytes",
                note=f"undisturbed {seconds(plain):.2f} s; {median(counts):.0f} forged; {ends(spoiled)}",
            )
        )
    return rows


async def fair(options: Options) -> list[Row]:
    """A multicast cast to 3 recipients beside one TCP stream on the source's link of 500 Mbit/s."""
    size = options.size(768)
    rows = []
    async with bench(5, "500mbit") as lab:
        path = await lab.make_file(size)
        for name, beside in (("iperf3", beside_iperf), ("a cast by the relay", beside_a_cast)):
            found = [await beside(lab, path) for _ in range(options.times)]
            rows.append(fair_row(f"{size // MIB} MiB, 500 Mbit/s, beside {name}", found))
    return rows


def fair_row(what: str, found: Sequence[Shares]) -> Row:
    """The larger of the two shares."""
    ours = median(shares.ours for shares in found)
    return Row(
        "fair",
        what,
        value=max(ours, 1 - ours),
        unit="of the two",
        bar=0.7,
        rule="nobody has more than 0.7",
        note=f"multicast has {ours:.2f}; both {median(shares.used for shares in found):.2f} of one stream",
    )


def ends(trials: Sequence[Trial]) -> str:
    """The end state of the multicast streams."""
    words = []
    for trial in trials:
        multicast = trial.multicast
        word = "not tried" if multicast is None else f"{multicast.state}"
        if multicast is not None and multicast.end is not None:
            word = f"{word}: {multicast.end}"
        if word not in words:
            words.append(word)
    return f"multicast {', '.join(words)}"


CASES: dict[str, Case] = {
    "links": links,
    "loss": loss,
    "slow": slow,
    "many": many,
    "filtered": without_multicast,
    "forged": forged,
    "fair": fair,
    "uftp": by_setting,
}


if __name__ == "__main__":
    sys.exit(run(CASES, "benchmarks.multicast", __doc__))
