"""Measure queries of a history of many casts: search, a page, statistics.

    python -m benchmarks.history                          10,000 casts
    python -m benchmarks.history --casts 1000000 --times 3

The first 10,000 casts are kept by the history itself; more are made of these by SQL, with other ids, names
and times. Prints each query's time; status 1 if one took longer than 0.3 s of a processor. Before each
query the store forgets the matches of the one before, so each is a first question.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import msgspec

from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.history.cast_history import CastHistory

BAR_MS = 300.0
KEPT = 10_000
"""Casts that are kept one by one."""

WORDS = ("model", "权重", "dataset", "检查点", "configs", "日志", "shard", "video", "backup", "tokenizer")
QUERIES = (
    m.HistoryQuery(),
    m.HistoryQuery(text="-0999"),
    m.HistoryQuery(text="权重"),
    m.HistoryQuery(text="node_7"),
    m.HistoryQuery(text="e"),
    m.HistoryQuery(text="is nowhere to be found"),
    m.HistoryQuery(text="video", offset=900),
    m.HistoryQuery(offset=-200),
    m.HistoryQuery(node="node_3", states=(m.CastState.FAILED,)),
    m.HistoryQuery(text="shard", since=1_790_000_000.0 + 5000),
)


def past_cast(number: int, recipients: int) -> m.CastResult:
    """A plausible finished cast."""
    name = f"{random.choice(WORDS)}-{number:04}.bin"
    nodes = tuple(f"node_{index}" for index in range(recipients))
    state = random.choice((m.CastState.COMPLETED, m.CastState.COMPLETED, m.CastState.FAILED))
    ended = m.DeliveryState.FAILED if state is m.CastState.FAILED else m.DeliveryState.COMPLETED
    deliveries = tuple(
        m.DeliverySnapshot(
            node,
            ended,
            f"10.0.0.{index}",
            "laptop",
            10**9,
            seconds=10.0,
            hash=f"blake3:{number:064x}",
            paths=(f"/srv/models/{name}",),
        )
        for index, node in enumerate(nodes)
    )
    end = 1_790_000_000.0 + number
    summary = m.CastSummary(
        f"{number:012x}",
        name,
        state,
        "laptop",
        nodes,
        m.CastMode.BROADCAST,
        end - 10.0,
        end,
        bytes=10**9,
        chain=("laptop", *nodes),
        source_copies=1.0,
    )
    return m.CastResult(summary, deliveries, 10.0)


def multiply(path: Path, kept: int, casts: int) -> None:
    """Make `casts` of the first `kept` ones: the others end later, and have ids and names of their own."""
    with sqlite3.connect(path) as database:
        for first in range(kept, casts, kept):
            more = min(kept, casts - first)
            values = {"first": first, "more": more}
            database.execute(
                "INSERT INTO casts SELECT number + :first, printf('%012x', number - 1 + :first),"
                " ended + :first, state, source,"
                " replace(text, '-', '-' || :first / 1000 || '-'), seconds, target, crowd"
                " FROM casts WHERE number <= :more",
                values,
            )
            database.execute(
                "INSERT INTO details SELECT whose + :first, request, summary, deliveries"
                " FROM details WHERE whose <= :more",
                values,
            )
            database.execute(
                "INSERT INTO recipients SELECT whose + :first, node FROM recipients WHERE whose <= :more",
                values,
            )
            database.commit()
    database.close()


async def measure(name: str, times: int, ask: Callable[[], Awaitable[object]]) -> float:
    """Print the median and the maximum of several queries in ms, and the median of the processor time, which
    other programs don't change; returns that.
    """
    taken, used = [], []
    for _ in range(times):
        start, busy = time.perf_counter(), time.process_time()
        await ask()
        taken.append((time.perf_counter() - start) * 1000)
        used.append((time.process_time() - busy) * 1000)
    print(f"{name:<60}{median(taken):>10.2f}{max(taken):>10.2f}{median(used):>10.2f}", flush=True)
    return median(used)


async def run(casts: int, recipients: int, times: int, path: Path) -> float:
    """Fill a history and query it; returns the slowest query in ms of a processor."""
    history = CastHistory(path, lambda event: None, lambda: ())
    await history.start()
    start = time.perf_counter()
    kept = min(casts, KEPT)
    for number in range(kept):
        result = past_cast(number, recipients)
        request = m.SendRequest((f"/data/{result.summary.name}",), result.summary.recipients)
        history.cast_ended(request, "local", result)
        if number % 100 == 0:
            await history.answer(m.GetHistory())
    await history.close()
    seconds = time.perf_counter() - start
    multiply(path, kept, casts)
    print(f"{casts} casts to {recipients} recipients: {seconds / kept * 1000:.2f} ms each to keep, ", end="")
    print(f"{path.stat().st_size / 1e6:.0f} MB")
    history = CastHistory(path, lambda event: None, lambda: ())
    start = time.perf_counter()
    await history.start()
    print(f"opened in {(time.perf_counter() - start) * 1000:.0f} ms")
    print(f"{'':<60}{'median ms':>10}{'worst ms':>10}{'processor':>10}")
    worst = await measure("statistics", times, lambda: history.answer(m.GetStatistics()))
    worst = max(worst, await measure("one cast", times, lambda: history.answer(m.GetPastCast(f"{7:012x}"))))
    for template in QUERIES:
        # A negative offset counts from the end: the window's table is scrolled down.
        offset = template.offset if template.offset >= 0 else max(0, casts + template.offset)
        query = msgspec.structs.replace(template, offset=offset)
        page = await history.answer(m.GetHistory(query))
        assert isinstance(page, m.HistoryPage)
        said = ", ".join(str(part) for part in (query.text, query.node, *query.states, query.offset) if part)
        name = f"search: {said or 'all'} ({page.total} found)"

        async def ask(query: m.HistoryQuery = query) -> object:
            assert history._store is not None
            history._store._forget_answers()
            return await history.answer(m.GetHistory(query))

        worst = max(worst, await measure(name, times, ask))
    await history.close()
    return worst


def main() -> int:
    """Print a table; status 1 if a query took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--casts", type=int, default=10_000)
    parser.add_argument("--recipients", type=int, default=8)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        worst = asyncio.run(run(options.casts, options.recipients, options.times, path))
    print(f"worst answer: {worst:.1f} ms, limit {BAR_MS:.0f}")
    return 1 if worst > BAR_MS else 0


if __name__ == "__main__":
    sys.exit(main())
