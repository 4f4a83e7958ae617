"""The commands that steer casts, tell of the past and keep schedules, against an engine that runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from pathlib import Path

import pytest

from castray_desktop.cli import commands, past, past_text, serve, text
from castray_desktop.cli.arguments import parse
from castray_desktop.cli.past_arguments import duration, moment
from castray_desktop.core import messages as m
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side import protocol
from tests.helpers.house import House
from tests.helpers.samples import make_cast


async def run(*words: str) -> int:
    options = parse(list(words))
    return await commands._find(options)(options)


async def begun(house: House, tmp_path: Path) -> str:
    """A cast that goes on for as long as nobody reports."""
    (tmp_path / "x").write_text("x")
    client = await house.connect()
    await client.request(m.UseCluster("local"), m.Done)
    async for event in client.events():
        if isinstance(event, m.ClusterChanged) and event.cluster.phase is m.ClusterPhase.READY:
            break
    request = m.SendRequest((str(tmp_path / "x"),), ("node_1", "node_2"))
    cast = (await client.request(m.Send(request), m.Accepted)).cast
    await house.drivers[0].wait_for(protocol.Call)
    await client.close()
    return cast


async def state_of(house: House, cast: str) -> m.CastState:
    client = await house.connect()
    (summary,) = [one for one in client.welcome.casts if one.cast == cast]
    await client.close()
    return summary.state


async def test_pause_resume_and_cancel_all(house: House, tmp_path: Path) -> None:
    cast = await begun(house, tmp_path)
    assert await run("pause", cast[:6]) == 0
    assert await state_of(house, cast) is m.CastState.PAUSED
    assert await run("resume", "all") == 0
    assert await state_of(house, cast) is not m.CastState.PAUSED
    assert await run("cancel", "all") == 0
    assert await state_of(house, cast) is m.CastState.CANCELLED
    assert await run("cancel", "all") == 0  # there is none any more


async def test_one_recipient_is_paused_and_goes_on(house: House, tmp_path: Path) -> None:
    cast = await begun(house, tmp_path)
    client = await house.connect()
    (node, *_) = client.welcome.deliveries[cast]
    await client.close()
    for word, paused in (("pause", 1), ("resume", 0), ("pause", 1)):
        assert await run(word, cast[:6] if paused else "all", "--node", node.node) == 0
        client = await house.connect()
        assert client.welcome.casts[0].paused == paused
        await client.close()
    with pytest.raises(CastRayError) as caught:
        await run("pause", cast, "--node", "nobody")
    assert caught.value.failure.kind is FailureKind.NODE_UNKNOWN


async def test_a_cast_that_is_not_there(house: House) -> None:
    for words in (["pause", "abc"], ["drop", "abc", "node_1"], ["cancel", "abc"], ["move", "abc", "1"]):
        with pytest.raises(CastRayError) as caught:
            await run(*words)
        assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN


async def test_the_past(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cast = await begun(house, tmp_path)
    await run("cancel", cast)
    async with asyncio.timeout(5):
        while True:
            capsys.readouterr()
            assert await run("history", "--json") == 0
            known = json.loads(capsys.readouterr().out)
            if known:
                break
    assert [(one["cast"], one["state"]) for one in known] == [(cast, "cancelled")]
    assert "deliveries" not in known[0]
    await run("history", "--csv", "--state", "cancelled")
    header, row = capsys.readouterr().out.splitlines()
    assert header.startswith("cast,name,state,source,recipients")
    assert row.startswith(f"{cast},x,cancelled,")
    assert header.endswith(",followed_links,kept_links,dangling_links")
    assert row.endswith(",0,0,0")
    await run("history", cast, "--json")
    assert json.loads(capsys.readouterr().out)["event"] == "result"
    await run("history", "--state", "failed")
    assert capsys.readouterr().out == "No casts.\n"
    await run("stats", "--json")
    assert json.loads(capsys.readouterr().out)["ever"]["cancelled"] == 1
    await run("stats")
    assert "Peak rate" in capsys.readouterr().out


async def test_settings(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    await run("settings", "--casts-at-once", "2", "--go-on", "no", "--json")
    expected: dict[str, object] = {"limit": 0, "casts_at_once": 2, "go_on": False, "history_days": 0}
    expected |= {"stay_awake": True, "demo_nodes": 3}
    assert json.loads(capsys.readouterr().out) == expected
    await run("settings")
    assert "Casts at once: 2." in capsys.readouterr().out


async def test_schedules(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    words = ("schedule", "add", "nightly", str(tmp_path / "data"), "--to", "all", "--cron", "0 3 * * *")
    assert await run(*words) == 0
    schedule = capsys.readouterr().out.strip()
    assert len(schedule) == 12
    await run("schedule", "pause", "nightly")
    await run("schedule", "list", "--json")
    (known,) = [one for one in json.loads(capsys.readouterr().out) if one["schedule"] == schedule]
    assert (known["name"], known["enabled"], known["cron"]) == ("nightly", False, "0 3 * * *")
    await run("schedule", "resume", schedule[:6])
    for word, enabled in (("pause", False), ("resume", True)):
        await run("schedule", word, "all")
        capsys.readouterr()
        await run("schedule", "list", "--json")
        assert {one["enabled"] for one in json.loads(capsys.readouterr().out)} == {enabled}
    await run("schedule", "list")
    assert "nightly" in capsys.readouterr().out
    await run("schedule", "remove", "nightly")
    with pytest.raises(CastRayError) as caught:
        await run("schedule", "remove", "nightly")
    assert caught.value.failure.kind is FailureKind.SCHEDULE_UNKNOWN


async def test_a_schedule_without_a_cluster_gets_the_one_in_use(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    words = (str(tmp_path / "data"), "--to", "all", "--cron", "0 3 * * *", "--json")
    assert await run("schedule", "add", "one", *words) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["cluster"] == "local"
    assert "demo on this computer" in output.err
    client = await house.connect()
    await client.request(m.UseCluster("10.0.0.1:6379"), m.Done)
    async for event in client.events():
        if isinstance(event, m.ClusterChanged) and event.cluster.phase is m.ClusterPhase.READY:
            break
    assert await run("schedule", "add", "two", *words) == 0
    output = capsys.readouterr()
    assert (json.loads(output.out)["cluster"], output.err) == ("10.0.0.1:6379", "")
    await client.request(m.LeaveCluster(), m.Done)
    await client.close()
    with pytest.raises(CastRayError) as caught:
        await run("schedule", "add", "three", *words)
    assert caught.value.failure.kind is FailureKind.CLUSTER_NOT_NAMED


@pytest.mark.parametrize(
    ("given", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1.5d", 129_600), ("7", 7)]
)
def test_times_as_people_write_them(given: str, seconds: float) -> None:
    assert duration(given) == seconds


@pytest.mark.parametrize("given", ["", "soon", "0s", "-5s", "5 years"])
def test_what_is_no_time(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(given)


def test_moments_as_people_write_them() -> None:
    assert moment("2026-11-24") == time.mktime((2026, 11, 24, 0, 0, 0, 0, 0, -1))
    assert abs(moment("2h") - (time.time() - 7200)) < 5
    with pytest.raises(argparse.ArgumentTypeError):
        moment("yesterday")


def test_a_name_is_no_formula_in_a_spreadsheet() -> None:
    assert past._cell("=cmd()") == "'=cmd()"
    assert past._cell("-x") == "'-x"
    assert past._cell("x=1") == "x=1"
    assert past._cell(None) == ""


def test_what_was_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(FailureKind.NODE_OFFLINE, {"node": "node_3"})
    text.print_verified(
        m.VerifyReport(
            "job",
            (
                m.VerifiedNode("node_1", m.VerifiedState.SAME, "blake3:00", 2, 10),
                m.VerifiedNode("node_2", m.VerifiedState.DIFFERENT, "", 2, 9, ("a\x1b",), 5),
                m.VerifiedNode("node_3", m.VerifiedState.FAILED, failure=failure),
            ),
        )
    )
    output = capsys.readouterr()
    assert "\x1b" not in output.out
    assert "node_2: and 4 more" in output.out
    assert output.err.startswith("castray: node_3 went offline.")


def test_no_line_is_folded_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    past_text.print_history([make_cast("a name that is rather long, and longer still " * 3, finished=5.0)])
    assert len(capsys.readouterr().out.splitlines()) == 2


async def test_an_api_that_can_t_be_served_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = Places(tmp_path, tmp_path / "run" / "s.sock")
    monkeypatch.setattr(serve, "find_places", lambda: places)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert await run("serve", "--port", str(taken.getsockname()[1])) == 2
    assert "is taken" in capsys.readouterr().err
    assert await run("serve", "--host", "192.0.2.77", "--port", "0") == 2
    assert "no address of this machine" in capsys.readouterr().err
    places.api_token.chmod(0o644)
    assert await run("serve", "--port", "0") == 2
    assert "could be read by others. Delete it" in capsys.readouterr().err
