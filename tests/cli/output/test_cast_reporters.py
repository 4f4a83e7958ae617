"""Progress and result of a cast: JSON for scripts, lines and bars for people; and its exit status."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from castray_desktop.cli.command_line import (
    parse_command,
)
from castray_desktop.cli.commands.send_command import send
from castray_desktop.cli.output.cast_reporters import (
    LINE_SECONDS,
    BarReporter,
    CastReporter,
    JsonReporter,
    LineReporter,
    new_reporter,
    result_status,
)
from castray_desktop.cli.output.terminal import OutputStyle, use_output_style
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastResult, CastState, DeliveryState, Transport
from tests.cli.examples import Said, ended
from tests.helpers.engine_home import EngineHome
from tests.helpers.samples import make_cast, make_delivery

K = FailureKind

UNKNOWN = {
    "upstream": None,
    "rate": 0,
    "eta": None,
    "hook": None,
    "removed": 0,
    "skipped_bytes": 0,
    "listening": False,
    "datagram_bytes": 0,
    "repaired_bytes": 0,
    "counts": None,
    "encrypted": None,
}


def test_the_result_is_the_object_that_scripts_rely_on(said: Said) -> None:
    line = said(ended(CastState.PARTLY_FAILED, source_copies=1.0, started=1000.0, finished=1012.3))
    assert line == {
        "schema": 1,
        "event": "result",
        "cast": "c0ffee",
        "name": "model.bin",
        "state": "partly_failed",
        "links": {"followed": 0, "kept": 0, "dangling": 0, "dangling_names": []},
        "source": "desk",
        "cluster": {"address": None, "local": False},
        "destination": None,
        "options": {
            "dest": None,
            "on_conflict": "skip",
            "links": "auto",
            "exclude": [],
            "include": [],
            "limit": None,
            "transport": "auto",
            "encrypt": "auto",
            "await_offline": False,
            "remove_extra": False,
            "layout": "plain",
            "hook": None,
        },
        "started": 1000.0,
        "finished": 1012.3,
        "bytes": 10**10,
        "files": 1,
        "seconds": 12.346,
        "source_copies": 1.0,
        "encrypted": None,
        "checksums": {},
        "chain": ["desk", "node_1", "node_2"],
        "multicast": None,
        "download": None,
        "files_changed": False,
        "kind": None,
        "reason": None,
        "deliveries": [
            {
                "node": "node_1",
                "address": "127.0.0.1",
                "state": "completed",
                "paths": ["/in/model.bin"],
                "bytes": 10**10,
                "seconds": 1.235,
                "hash": "blake3:00",
                "transport": "direct",
                "kind": None,
                "reason": None,
                **UNKNOWN,
            },
            {
                "node": "node_2",
                "address": "127.0.0.1",
                "state": "failed",
                "paths": [],
                "bytes": 4 * 10**9,
                "seconds": 2.0,
                "hash": None,
                "transport": None,
                "kind": "node_offline",
                "reason": "node_2 went offline. Send again when it is back.",
                **UNKNOWN,
            },
        ],
    }


def test_a_failed_cast_prints_its_reason(said: Said) -> None:
    failure = Failure(K.NO_SUCH_FILE, {"path": "/x"})
    line = said(ended(CastState.FAILED, failure=failure))
    assert line["kind"] == "no_such_file"
    assert line["reason"] == "/x does not exist. Check the name and send it again."


def test_a_multicast_delivery_prints_repaired_bytes(said: Said) -> None:
    delivery = make_delivery(
        "node_1",
        DeliveryState.COMPLETED,
        transport=Transport.UDP,
        datagram_bytes=9 * 10**9,
        repaired_bytes=10**9,
    )
    [item] = said(CastResult(make_cast(recipients=1), (delivery,), 1.0))["deliveries"]
    assert (item["transport"], item["datagram_bytes"], item["repaired_bytes"]) == ("udp", 9 * 10**9, 10**9)


def test_a_result_has_the_counts_of_links(said: Said) -> None:
    ended_so = ended(followed_links=3, kept_links=2, broken_links=1, broken_names=("top/dead",))
    assert said(ended_so)["links"] == {
        "followed": 3,
        "kept": 2,
        "dangling": 1,
        "dangling_names": ["top/dead"],
    }


async def test_progress_leaves_at_most_ten_times_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 50.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    reporter = JsonReporter()
    deliveries = (make_delivery("node_1", rate=1.6),)
    reporter.progress(None, deliveries)
    for _ in range(16):
        reporter.progress(make_cast(cast="c"), deliveries)
        now += 1 / 16
    monkeypatch.undo()
    reporter.result(ended())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 8 + 1
    assert lines[0] == {
        "schema": 1,
        "event": "progress",
        "cast": "c",
        "deliveries": [{"node": "node_1", "bytes": 4 * 10**9, "rate": 2}],
    }
    assert lines[-1]["event"] == "result"


def test_broken_links_are_printed_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cast = make_cast(state=CastState.SENDING, kept_links=1, broken_links=1, broken_names=("top/dead",))
    for reporter in (LineReporter(), BarReporter()):
        reporter.progress(cast, ())
        reporter.progress(cast, ())
        reporter.stop()
        assert capsys.readouterr().err.count("are broken on the recipients: 1 (top/dead)") == 1


def test_a_result_says_for_each_recipient_whether_it_was_encrypted(
    said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    deliveries = tuple(
        make_delivery(f"node_{number}", DeliveryState.COMPLETED, encrypted=encrypted)
        for number, encrypted in enumerate((True, False, None), 1)
    )
    result = CastResult(make_cast(encrypted=False), deliveries, 1.0)
    line = said(result)
    assert line["encrypted"] is False
    assert [item["encrypted"] for item in line["deliveries"]] == [True, False, None]
    JsonReporter().result(result)
    assert "the connections to node_2 are not encrypted" in capsys.readouterr().err


def test_clear_text_is_told_before_the_cast_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    for reporter in (LineReporter(), BarReporter()):
        reporter.progress(make_cast(), (make_delivery("node_1", encrypted=True),))
        assert "encrypted" not in capsys.readouterr().err
        for _ in range(2):
            reporter.progress(make_cast(), (make_delivery("node_2", encrypted=False),))
        reporter.stop()
        assert capsys.readouterr().err.count("warning: the connections to node_2 are not encrypted") == 1


def test_why_a_server_lets_wait_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(FailureKind.SERVER_AWAITED, {"reason": "the hub answers 429 Too Many Requests"})
    for reporter in (LineReporter(), BarReporter()):
        for _ in range(2):
            reporter.progress(make_cast(failure=failure), ())
        reporter.stop()
        assert capsys.readouterr().err.count("The download is waiting: the hub answers 429") == 1


def test_lines_and_bars_say_when_a_server_is_asked_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    failure = Failure(FailureKind.SERVER_AWAITED, {"reason": "the server answers 503"})
    waits = make_cast(bytes=0, failure=failure, next_try=1011.2)
    lines = LineReporter()
    for _ in range(2):
        lines.progress(waits, ())
    assert capsys.readouterr().out.splitlines() == ["model.bin: next try in 12 s"]
    bars = BarReporter(keep=True)
    bars.progress(waits, ())
    bars.stop()
    assert "next try in 12 s" in capsys.readouterr().err
    bars = BarReporter(keep=True)
    bars.progress(msgspec.structs.replace(waits, next_try=0.0), ())
    bars.stop()
    assert "waiting for server" in capsys.readouterr().err


def test_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reporter = LineReporter()
    reporter.progress(None, (make_delivery("node_1"),))
    for _ in range(3):
        reporter.progress(make_cast(), (make_delivery("node_1"),))
    now = LINE_SECONDS
    reporter.progress(make_cast(), (make_delivery("node_1", DeliveryState.VERIFYING),))
    reporter.result(ended(CastState.PARTLY_FAILED))
    output = capsys.readouterr()
    assert output.out.splitlines()[:3] == [
        "node_1: receiving",
        "node_1: verifying",
        "model.bin: 40 % on average, 100 MB/s",
    ]
    assert "partly failed" in output.out
    assert output.err == "castray: node_2 went offline. Send again when it is back.\n"


def test_lines_of_many_recipients_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reporter = LineReporter()
    cast = make_cast(recipients=30, verified=4, failed=1)
    reporter.progress(cast, tuple(make_delivery(f"node_{number}") for number in range(30)))
    now = LINE_SECONDS
    reporter.progress(cast, ())
    assert capsys.readouterr().out == "model.bin: 40 % on average, 100 MB/s, 4 of 30 done, 1 failed\n"


def test_no_progress_is_only_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    for style, told in ((OutputStyle(progress=False), True), (OutputStyle(quiet=True), False)):
        with use_output_style(style):
            reporter = new_reporter(False)
            reporter.progress(make_cast(), (make_delivery("node_1"),))
            assert capsys.readouterr() == ("", "")
            reporter.result(ended(CastState.PARTLY_FAILED))
        output = capsys.readouterr()
        assert ("node_1: completed" in output.out) is told
        assert output.err == "castray: node_2 went offline. Send again when it is back.\n"


async def test_no_progress_with_json_is_only_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    with use_output_style(OutputStyle(progress=False)):
        reporter = new_reporter(True)
        reporter.progress(make_cast(), (make_delivery("node_1"),))
        reporter.result(ended())
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "result"


def test_details_for_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    with use_output_style(OutputStyle(verbose=True)):
        LineReporter().result(ended())
    assert "node_1: 10.0 GB in 1.2 s (8.1 GB/s), transport direct" in capsys.readouterr().out


def test_a_result_without_bars(capsys: pytest.CaptureFixture[str]) -> None:
    BarReporter().result(CastResult(make_cast(bytes=0), (), 0.0))
    assert "0 B in 0.0 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "status"),
    [(CastState.COMPLETED, 0), (CastState.PARTLY_FAILED, 1), (CastState.FAILED, 1), (CastState.CANCELLED, 1)],
)
def test_the_status_of_a_cast(state: CastState, status: int) -> None:
    assert result_status(ended(state)) == status


@pytest.mark.parametrize("reporter", [LineReporter, JsonReporter, CastReporter])
def test_a_cast_that_never_started_ends_with_its_reason(
    reporter: Callable[[], CastReporter], capsys: pytest.CaptureFixture[str]
) -> None:
    failure = Failure(K.NO_SUCH_FILE, {"path": "/x"})
    result = CastResult(ended(CastState.FAILED, failure=failure, chain=()).summary, (), 0.0)
    assert result_status(result) == 2
    reporter().result(result)
    assert capsys.readouterr().err == "castray: /x does not exist. Check the name and send it again.\n"


async def test_an_interrupted_command_cancels_its_cast(engine_home: EngineHome, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    sending = asyncio.create_task(send(parse_command(["send", str(tmp_path / "x"), "--to", "node_1"])))
    await engine_home.agent_called()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    client = await engine_home.connect()
    assert [cast.state for cast in client.welcome.casts] == [messages.CastState.CANCELLED]
    await client.close()
