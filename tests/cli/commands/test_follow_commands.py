"""`castray follow`, `castray wait` and casts that go on without their command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest

from castray_desktop.cli.interruption import has_hung_up, interruption
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.client.engine_client import EngineClient
from tests.cli.examples import running_cast
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE
from tests.helpers.samples import make_cast, make_delivery


async def state_of(engine_home: EngineHome, cast: str) -> m.CastState:
    client = await engine_home.connect()
    state = {summary.cast: summary.state for summary in client.welcome.casts}[cast]
    await client.close()
    return state


async def until_clients(engine_home: EngineHome, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(engine_home.engine.clients) != count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def test_the_id_of_a_detached_cast_is_printed_and_the_engine_stays_until_its_end(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_text("x")
    assert await run_words("send", str(tmp_path / "x"), "--to", "node_1", "--detach") == 0
    cast = capsys.readouterr().out.strip()
    assert len(cast) == 12
    await engine_home.alone()
    engine_home.now += 100
    await engine_home.checked()
    assert not engine_home.running.done()
    assert await state_of(engine_home, cast) is m.CastState.PREPARING
    await run_words("cancel", cast)
    await engine_home.alone()
    engine_home.now += 100
    await engine_home.ended()


async def test_a_detached_cast_as_an_object(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_text("x")
    assert await run_words("send", str(tmp_path / "x"), "--to", "node_1", "--detach", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"schema": 1, "event": "accepted", "cast": told["cast"]}


async def test_wait_ends_with_the_casts_and_has_the_worst_status(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = await running_cast(engine_home, tmp_path)
    waiting = asyncio.create_task(run_words("wait", cast[:6], "--json"))
    await until_clients(engine_home, 1)
    assert not waiting.done()
    await run_words("cancel", cast, "-q")
    assert await waiting == 1
    *_, line = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["cast"], json.loads(line)["state"]) == (cast, "cancelled")
    assert await run_words("wait", cast) == 1  # it has ended already
    with pytest.raises(CastRayError) as caught:
        await run_words("wait", cast, "abc")
    assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN


async def test_wait_and_follow_know_casts_of_the_history(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = await running_cast(engine_home, tmp_path)
    await run_words("cancel", cast)
    client = await engine_home.connect()
    await client.request(m.ClearFinished(), m.Done)
    await client.close()
    capsys.readouterr()
    for word in ("wait", "follow"):
        assert await run_words(word, cast) == 1
        assert "cancelled, 0 of 2 recipients" in capsys.readouterr().out


async def test_follow_shows_the_progress_of_any_cast(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = await running_cast(engine_home, tmp_path)
    following = asyncio.create_task(run_words("follow", cast, "--json"))
    await until_clients(engine_home, 1)
    await run_words("pause", cast, "-q")
    await run_words("cancel", cast, "-q")
    assert await following == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["cast"] for line in lines} == {cast}
    assert (lines[0]["event"], lines[-1]["event"]) == ("progress", "result")


async def sending_and_following(
    engine_home: EngineHome, folder: Path, *options: str
) -> tuple[str, asyncio.Task[int], asyncio.Task[int]]:
    """A cast, the command that has started it, and one that follows it."""
    (folder / "x").write_text("x")
    sending = asyncio.create_task(run_words("send", str(folder / "x"), "--to", "node_1", *options))
    await until_clients(engine_home, 1)
    await engine_home.agent_called()
    client = await engine_home.connect()
    (cast,) = client.welcome.casts
    await client.close()
    await until_clients(engine_home, 1)
    following = asyncio.create_task(run_words("follow", cast.cast[:6], *options))
    await until_clients(engine_home, 2)
    return cast.cast, sending, following


async def test_send_and_follow_print_the_same(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast, sending, following = await sending_and_following(engine_home, tmp_path)
    failure = Failure(FailureKind.SERVER_AWAITED, {"reason": "the server answers 503"})
    for event in (
        m.CastChanged(make_cast("x", cast=cast, recipients=1, bytes=0, failure=failure)),
        m.DeliveriesChanged(cast, (make_delivery("node_1"),)),
        m.CastChanged(
            make_cast("x", cast=cast, recipients=1, bytes=0, broken_links=1, broken_names=("dead",))
        ),
        m.CastChanged(make_cast("y", cast=cast + "0", recipients=1, failure=failure)),
        m.DeliveriesChanged(cast + "0", (make_delivery("node_7"),)),
    ):
        engine_home.engine.clients.publish(event)
    await run_words("cancel", cast, "-q")
    assert (await sending, await following) == (1, 1)
    output = capsys.readouterr()
    counts = Counter(output.out.splitlines())
    assert set(counts.values()) == {2}
    own = ("Cluster:", "x: cancelled", "node_1: waiting")  # of the engine; the last one if it came in time
    shown = [line for line in counts if not line.startswith(own)]
    assert shown == ["x: waiting for server", "node_1: receiving"]
    told = Counter(line for line in output.err.splitlines() if line.startswith("castray: "))
    assert {line for line, count in told.items() if count == 2} == {
        "castray: The download is waiting: the server answers 503. It continues automatically.",
        "castray: warning: links that are broken on the recipients: 1 (dead). Their targets don't exist or"
        " are not sent.",
        "castray: Cancelled.",
    }


async def test_an_engine_that_stops_ends_send_and_follow_alike(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, sending, following = await sending_and_following(engine_home, tmp_path, "--json")
    client = await engine_home.connect()
    await client.request(m.StopEngine(), m.Done)
    ended = await asyncio.gather(sending, following, return_exceptions=True)
    await client.close()
    reason = {"reason": "it stopped while the cast was running"}
    for error in ended:
        assert isinstance(error, CastRayError)
        assert error.failure == Failure(FailureKind.ENGINE_UNREACHABLE, reason)
    assert '"event": "result"' not in capsys.readouterr().out


async def test_a_cast_that_is_sent_again_on_another_cluster_is_shown_until_its_end(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await running_cast(engine_home, tmp_path)
    window = await EngineClient.connect(engine_home.paths, "window", start=False)
    await run_words("cancel", before, "-q")
    sending = asyncio.create_task(run_words("again", before, "--cluster", "10.0.0.9:6379"))
    async for event in window.events():
        if isinstance(event, m.CastChanged) and event.summary.cast != before:
            break
    await window.request(m.Cancel(event.summary.cast), m.Done)
    async with asyncio.timeout(PATIENCE):
        assert await sending == 1
    await window.close()
    assert "x: cancelled, 0 of 2 recipients" in capsys.readouterr().out


@pytest.fixture(autouse=True)
def hang_up_is_not_ignored() -> Iterator[None]:
    """Also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


async def interrupted(command: Awaitable[int], engine_home: EngineHome, number: signal.Signals) -> int:
    """The exit status of a command that gets this signal once it is connected."""

    async def run() -> int:
        with interruption() as ended_by:
            try:
                return await command
            except asyncio.CancelledError:
                return ended_by.exit_status

    running = asyncio.create_task(run())
    await until_clients(engine_home, 1)
    for _ in range(100):
        await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    return await running


@pytest.mark.parametrize("word", ["wait", "follow"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_whoever_only_looks_leaves_the_cast_running(
    engine_home: EngineHome,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    word: str,
    number: signal.Signals,
) -> None:
    cast = await running_cast(engine_home, tmp_path)
    await engine_home.alone()
    assert await interrupted(run_words(word, cast), engine_home, number) == 128 + number
    assert f"cast {cast} continues" in capsys.readouterr().err
    assert not (await state_of(engine_home, cast)).finished
    await engine_home.alone()
    engine_home.now += 100
    await engine_home.checked()
    assert not engine_home.running.done()
    await run_words("cancel", cast)


@pytest.mark.parametrize(("number", "goes_on"), [(signal.SIGTERM, False), (signal.SIGHUP, True)])
async def test_a_closed_terminal_leaves_the_cast_to_the_engine_and_sigterm_cancels_it(
    engine_home: EngineHome, tmp_path: Path, number: signal.Signals, goes_on: bool
) -> None:
    (tmp_path / "x").write_text("x")
    client = await engine_home.connect()

    async def send() -> int:
        sending = asyncio.create_task(run_words("send", str(tmp_path / "x"), "--to", "node_1"))
        async for event in client.events():
            if isinstance(event, m.CastChanged):
                os.kill(os.getpid(), number)
                break
        return await sending

    async def run() -> int:
        with interruption() as ended_by:
            try:
                return await send()
            except asyncio.CancelledError:
                return ended_by.exit_status

    await client.request(m.UseCluster("local"), m.Done)
    assert await asyncio.create_task(run()) == 128 + number
    await client.close()
    client = await engine_home.connect()
    (cast,) = client.welcome.casts
    await client.close()
    assert (not cast.state.finished) is goes_on
    await run_words("cancel", "all")


@contextlib.contextmanager
def closed_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The output is a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    output = os.fdopen(writer, "w")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        yield
    with contextlib.suppress(BrokenPipeError):
        output.close()


async def test_a_closed_pipe_leaves_the_cast_to_the_engine(
    engine_home: EngineHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("x")
    with closed_pipe(monkeypatch), pytest.raises(BrokenPipeError):
        await run_words("send", str(tmp_path / "x"), "--to", "node_1", "--json")
    await engine_home.alone()
    engine_home.now += 100
    await engine_home.checked()
    assert not engine_home.running.done()
    await run_words("cancel", "all")


async def test_follow_ends_at_once_when_its_output_is_closed(
    engine_home: EngineHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = await running_cast(engine_home, tmp_path)
    await engine_home.alone()
    with closed_pipe(monkeypatch):
        following = asyncio.create_task(run_words("follow", cast))
        await until_clients(engine_home, 1)
        await run_words("pause", cast, "-q")
        with pytest.raises(BrokenPipeError):
            async with asyncio.timeout(20):
                await following
    await engine_home.alone()
    engine_home.now += 100
    await engine_home.checked()
    assert not engine_home.running.done()
    await run_words("cancel", "all")


async def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption():
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
            assert not has_hung_up()
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
