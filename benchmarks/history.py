"""Measure queries of 10,000 finished casts: search, a page, statistics. `python -m benchmarks.history`."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.history.cast_history import CastHistory

WORDS = ("model", "权重", "dataset", "检查点", "configs", "日志", "shard", "video", "backup", "tokenizer")
QUERIES = (
    m.HistoryQuery(),
    m.HistoryQuery(text="-0999"),
    m.HistoryQuery(text="权重"),
    m.HistoryQuery(text="node_7"),
    m.HistoryQuery(text="e"),
    m.HistoryQuery(text="is nowhere to be found"),
    m.HistoryQuery(text="video", offset=900),
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


async def measure(name: str, times: int, ask: Callable[[], Awaitable[object]]) -> float:
    """Print the median and the maximum of several queries in ms; returns the maximum."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - start) * 1000)
    print(f"{name:<60}{median(taken):>10.2f}{max(taken):>10.2f}")
    return max(taken)


async def run(casts: int, recipients: int, times: int, path: Path) -> float:
    """Fill a history and query it; returns the slowest query in ms."""
    history = CastHistory(path, lambda event: None, lambda: (0, 0))
    await history.start()
    start = time.perf_counter()
    for number in range(casts):
        result = past_cast(number, recipients)
        request = m.SendRequest((f"/data/{result.summary.name}",), result.summary.recipients)
        history.cast_ended(request, "local", result)
        if number % 100 == 0:
            await history.answer(m.GetHistory())
    await history.close()
    seconds = time.perf_counter() - start
    print(f"{casts} casts to {recipients} recipients: {seconds / casts * 1000:.2f} ms each to keep, ", end="")
    print(f"{path.stat().st_size / 1e6:.0f} MB")
    history = CastHistory(path, lambda event: None, lambda: (0, 0))
    start = time.perf_counter()
    await history.start()
    print(f"opened in {(time.perf_counter() - start) * 1000:.0f} ms")
    print(f"{'':<60}{'median ms':>10}{'worst ms':>10}")
    worst = await measure("statistics", times, lambda: history.answer(m.GetStatistics()))
    worst = max(worst, await measure("one cast", times, lambda: history.answer(m.GetPastCast(f"{7:012x}"))))
    for query in QUERIES:
        page = await history.answer(m.GetHistory(query))
        assert isinstance(page, m.HistoryPage)
        said = ", ".join(str(part) for part in (query.text, query.node, *query.states, query.offset) if part)
        name = f"search: {said or 'all'} ({page.total} found)"

        async def ask(query: m.HistoryQuery = query) -> object:
            return await history.answer(m.GetHistory(query))

        worst = max(worst, await measure(name, times, ask))
    await history.close()
    return worst


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--casts", type=int, default=10_000)
    parser.add_argument("--recipients", type=int, default=8)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        worst = asyncio.run(run(options.casts, options.recipients, options.times, path))
    print(f"worst answer: {worst:.1f} ms")


if __name__ == "__main__":
    main()
