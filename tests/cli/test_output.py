"""What commands print, and the status they end with."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from castray_desktop.cli import commands, text
from castray_desktop.cli import send as send_module
from castray_desktop.cli.arguments import command_names, command_parser, parse
from castray_desktop.cli.commands import run
from castray_desktop.cli.send import JsonReporter
from castray_desktop.core import messages
from castray_desktop.core.errors import sentence
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import CastResult, CastState, DeliveryState, Transport
from tests.helpers.samples import make_cast, make_delivery, make_node, make_nodes

K = FailureKind


def ended(state: CastState = CastState.COMPLETED, **values: Any) -> CastResult:
    summary = make_cast("model.bin", cast="c0ffee", recipients=2, state=state, verified=2, **values)
    deliveries = (
        make_delivery(
            "node_1",
            DeliveryState.COMPLETED,
            bytes=10**10,
            seconds=1.23456,
            hash="blake3:00",
            transport=Transport.DIRECT,
            paths=("/in/model.bin",),
            rate=0.0,
        ),
        make_delivery(
            "node_2",
            DeliveryState.FAILED,
            failure=Failure(K.NODE_OFFLINE, {"node": "node_2"}),
            seconds=2.0,
            rate=0.0,
        ),
    )
    return CastResult(summary, deliveries, 12.34567)


Said = Callable[[CastResult], dict[str, Any]]
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
}

# --- JSON -------------------------------------------------------------------------------------------


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[CastResult], dict[str, Any]]:
    """The last line of `send --json` for a result."""

    def say(result: CastResult) -> dict[str, Any]:
        JsonReporter().result(result)
        line: dict[str, Any] = json.loads(capsys.readouterr().out)
        return line

    return say


def test_the_result_is_the_object_that_scripts_rely_on(said: Said) -> None:
    line = said(ended(CastState.PARTLY_FAILED, source_copies=1.0, started=1000.0, finished=1012.3))
    assert line == {
        "event": "result",
        "cast": "c0ffee",
        "name": "model.bin",
        "state": "partly_failed",
        "links": {"followed": 0, "kept": 0, "dangling": 0, "dangling_names": []},
        "source": "desk",
        "cluster": {"address": None, "local": False},
        "destination": None,
        "started": 1000.0,
        "finished": 1012.3,
        "bytes": 10**10,
        "files": 1,
        "seconds": 12.346,
        "source_copies": 1.0,
        "chain": ["desk", "node_1", "node_2"],
        "multicast": None,
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
                "reason": "node_2 went offline. Send again when it is back.",
                **UNKNOWN,
            },
        ],
    }


def test_a_cast_that_failed_as_a_whole_says_why(said: Said) -> None:
    failure = Failure(K.NO_SUCH_FILE, {"path": "/x"})
    line = said(ended(CastState.FAILED, failure=failure))
    assert line["reason"] == "/x does not exist. Check the name and send it again."


def test_what_came_of_multicast_is_part_of_the_result(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = messages.MulticastSnapshot(
        messages.MulticastState.STOPPED, messages.MulticastEnd.NOTHING_ARRIVES, rate=1.2
    )
    line = said(ended(multicast=stopped))
    assert line["multicast"] == {
        "state": "stopped",
        "end": "nothing_arrives",
        "reason": "Multicast from desk reached nobody, so the relay brought the files. Let firewalls pass UDP"
        " to 239.192.0.0/14 (ff12::/16 with IPv6), and give switches with IGMP snooping a querier. Cloud"
        " networks mostly carry no multicast; the relay is the way there.",
        "listeners": [],
        "bytes": 0,
        "rate": 1,
    }
    text.print_result(ended(multicast=stopped))
    assert "castray: Multicast from desk reached nobody" in capsys.readouterr().err
    text.print_result(ended(multicast=messages.MulticastSnapshot(messages.MulticastState.DONE, bytes=10**10)))
    assert "10.0 GB by multicast, once for all." in capsys.readouterr().out


def test_a_delivery_by_datagrams_says_what_was_repaired(said: Said) -> None:
    delivery = make_delivery(
        "node_1",
        DeliveryState.COMPLETED,
        transport=Transport.UDP,
        datagram_bytes=9 * 10**9,
        repaired_bytes=10**9,
    )
    [item] = said(CastResult(make_cast(recipients=1), (delivery,), 1.0))["deliveries"]
    assert (item["transport"], item["datagram_bytes"], item["repaired_bytes"]) == ("udp", 9 * 10**9, 10**9)


def test_links_that_lead_nowhere_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text.print_result(ended(followed_links=1200, kept_links=3, broken_links=2, broken_names=("top/dead",)))
    text.print_result(ended(kept_links=3))
    text.print_result(ended())
    told = capsys.readouterr()
    assert [line for line in told.out.splitlines() if line.startswith("Symbolic links")] == [
        "Symbolic links: 1200 sent as what they point to, 3 as links.",
        "Symbolic links: 3 as links.",
    ]
    assert [line for line in told.err.splitlines() if "links" in line] == [
        "castray: warning: links that lead nowhere at the recipients: 2 (top/dead and 1 more)."
        " What they point to is not there, or is not sent."
    ]


def test_links_that_lead_nowhere_are_told_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cast = make_cast(state=CastState.SENDING, kept_links=1, broken_links=1, broken_names=("top/dead",))
    for reporter in (text.LineReporter(), text.BarReporter()):
        reporter.progress(cast, ())
        reporter.progress(cast, ())
        reporter.stop() if isinstance(reporter, text.BarReporter) else None
        assert capsys.readouterr().err.count("lead nowhere at the recipients: 1 (top/dead)") == 1


def test_a_result_has_the_counts_of_links(said: Said) -> None:
    ended_so = ended(followed_links=3, kept_links=2, broken_links=1, broken_names=("top/dead",))
    assert said(ended_so)["links"] == {
        "followed": 3,
        "kept": 2,
        "dangling": 1,
        "dangling_names": ["top/dead"],
    }


def test_a_preflight_names_what_can_not_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = messages.UnsentFile("top/pipe", Failure(K.NOT_SENDABLE, {"path": "top/pipe", "what": "a socket"}))
    text.print_preflight(messages.PreflightReport(3, 10, ("node_1",), left_out=(pipe,), left_out_count=2))
    told = capsys.readouterr()
    assert "Every recipient can take it" not in told.out
    assert "top/pipe is a socket and can't be sent." in told.err
    assert "1 more" in told.err


def test_nothing_is_said_to_have_arrived_where_nothing_did() -> None:
    values = {"count": "3", "total": "3", "because": "not_readable", "path": "a", "user": "me"}
    assert sentence(Failure(K.NO_FILE_DELIVERED, values)) == (
        "No file was delivered. a may not be read by me."
        " Change its permissions, or send it as a user who may read it."
    )


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
        "event": "progress",
        "cast": "c",
        "deliveries": [{"node": "node_1", "bytes": 4 * 10**9, "rate": 2}],
    }
    assert lines[-1]["event"] == "result"


def test_nodes_and_status_as_objects() -> None:
    assert set(commands._node_object(make_node("node_1"))) == {
        *("name", "address", "node_id", "state", "inbox", "cpus", "memory", "disk_free", "labels")
    }
    status = messages.EngineStatus(7, messages.ClusterStatus(target="local"), 4, 1, 2, False)
    running = commands._status_object(status)
    assert {"state", "pid", "cluster", "nodes", "casts", "clients"} <= set(running)
    assert (running["state"], running["cluster"], running["clients"]) == ("running", "local", 1)
    assert commands._status_object(None)["state"] == "stopped"


@pytest.mark.parametrize(("encoding", "escaped"), [("utf-8", False), ("ascii", True), ("latin-1", True)])
def test_json_is_valid_in_every_encoding(
    encoding: str, escaped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    text.accept_any_name()
    text.print_json({"path": "/データ.bin"})
    assert json.loads(raw.getvalue().decode(encoding)) == {"path": "/データ.bin"}
    assert (b"\\u" in raw.getvalue()) is escaped


def test_people_get_escapes_rather_than_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    text.accept_any_name()
    text.print_result(ended())
    text.print_nodes(make_nodes(1))
    text.print_casts([make_cast("数据.bin")])
    sys.stdout.flush()
    assert b"completed" in raw.getvalue()


# --- for people ---------------------------------------------------------------------------------------


def test_brackets_in_names_are_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text.print_casts([make_cast("[/bold] [red]x.bin")])
    text.print_nodes([make_node("node_1", inbox="/data/[red]/[/x]")])
    output = capsys.readouterr().out
    assert "[/bold] [red]x.bin" in output
    assert "/data/[red]/[/x]" in output


def test_what_is_the_matter_with_a_node_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(K.INBOX_SILENT, {"node": "node_1", "path": "/mnt/in"})
    text.print_nodes([make_node("node_1", failure=failure)])
    assert "its inbox does not answer: /mnt/in" in capsys.readouterr().err


def test_names_can_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    result = ended()
    first = msgspec.structs.replace(result.deliveries[0], paths=("/in/\x1b[2Jx\ny",))
    text.print_result(CastResult(result.summary, (first,), 1.0))
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert len(output.splitlines()) == 2


def test_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(text.time, "monotonic", lambda: now)
    reporter = text.LineReporter()
    reporter.progress(None, (make_delivery("node_1"),))
    for _ in range(3):
        reporter.progress(make_cast(), (make_delivery("node_1"),))
    now = text.LINE_SECONDS
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


def test_bars_are_for_the_first_recipients(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = text.BarReporter()
    reporter.progress(None, ())
    reporter.progress(make_cast(bytes=0), ())
    many = tuple(make_delivery(f"node_{number}") for number in range(text.MAX_BARS + 6))
    reporter.progress(make_cast(), many)
    reporter.progress(make_cast(), many)
    reporter.result(ended())
    assert len(reporter._tasks) == text.MAX_BARS
    assert "node_1: completed" in capsys.readouterr().out


def test_a_result_without_bars(capsys: pytest.CaptureFixture[str]) -> None:
    text.BarReporter().result(CastResult(make_cast(bytes=0), (), 0.0))
    assert "0 B in 0.0 s" in capsys.readouterr().out


def test_status_and_preflight(capsys: pytest.CaptureFixture[str]) -> None:
    text.print_status(None)
    text.print_status(messages.EngineStatus(7, messages.ClusterStatus(), 0, 0, 1, False))
    problem = messages.PreflightProblem("node_1", Failure(K.NODE_OFFLINE, {"node": "node_1"}))
    text.print_preflight(messages.PreflightReport(2, 2_100_000, ("node_1",), (problem,)))
    text.print_preflight(messages.PreflightReport(2, 2_100_000, ("node_1",)))
    text.print_casts([])
    text.print_status(messages.EngineStatus(7, messages.ClusterStatus(), 0, 0, 1, False, 10**7))
    output = capsys.readouterr()
    assert "Every node passes on at most 10.0 MB/s over all casts." in output.out
    assert "No engine is running." in output.out
    assert "2 files, 2.1 MB, to node_1." in output.out
    assert "Nothing was sent." in output.out
    assert output.err.startswith("node_1: node_1 went offline.")


# --- statuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status"),
    [(CastState.COMPLETED, 0), (CastState.PARTLY_FAILED, 1), (CastState.FAILED, 1), (CastState.CANCELLED, 1)],
)
def test_the_status_of_a_cast(state: CastState, status: int) -> None:
    assert send_module._status(ended(state)) == status


def test_a_cast_that_never_started_ends_with_its_reason() -> None:
    failure = Failure(K.NO_SUCH_FILE, {"path": "/x"})
    with pytest.raises(CastRayError) as caught:
        send_module._status(ended(CastState.FAILED, failure=failure, chain=()))
    assert caught.value.failure == failure


def carry_out(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    """Run `castray nodes` with a command that ends like this."""

    async def command(options: argparse.Namespace) -> int:
        if error is not None:
            raise error
        return 0

    def find(options: argparse.Namespace) -> Any:
        return command

    monkeypatch.setattr(commands, "_find", find)
    return run(parse(["nodes"]))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (CastRayError(K.NODE_UNKNOWN, node="x", nodes="none"), 2),
        (CastRayError(K.NO_CLUSTER), 3),
        (CastRayError(K.NO_ROOM), 1),
        (KeyboardInterrupt(), 130),
        (asyncio.CancelledError(), 130),
    ],
)
def test_how_a_command_ends(
    error: BaseException | None,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert carry_out(monkeypatch, error) == status
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    assert len(output.err.splitlines()) == isinstance(error, CastRayError)


def test_what_nobody_expected_is_a_sentence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path))
    (tmp_path / "logs").mkdir()
    assert carry_out(monkeypatch, RuntimeError("oops")) == 1
    error = capsys.readouterr().err
    assert error.startswith("castray: Something went wrong inside CastRay: RuntimeError: oops.")
    assert "Traceback" not in error
    assert "Traceback" in (tmp_path / "logs" / "command.log").read_text()


def test_every_command_is_carried_out_by_something() -> None:
    assert set(command_names(command_parser())) == set(commands._COMMANDS)
    assert all(asyncio.iscoroutinefunction(work) for work in commands._COMMANDS.values())
