"""Objects of a store, from an S3 server to the disks of a real cluster; no secret stays anywhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import DeliveryState, OnConflict, Schedule, SendRequest
from castray_desktop.workers.client.engine_client import EngineClient
from tests.cluster.conftest import Castray
from tests.helpers.servers.range_server import range_server
from tests.helpers.servers.s3_proxy import s3_proxy
from tests.helpers.servers.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

PATIENCE = 60.0
SECRET = "the-secret-key-of-this-test"
KEY = "THEACCESSKEYOFTHISTEST"


def found_in(folder: Path, *marks: str) -> list[tuple[str, str]]:
    """The files below a folder that have one of these texts in them, and which."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".aws" not in path.parts:
            content = path.read_bytes()
            found += [(str(path), mark) for mark in marks if mark.encode() in content]
    return found


def log_in(cluster: Castray, url: str) -> None:
    """Let the engine use the S3 server at this address."""
    settings = cluster.home / ".aws"  # read each time, unlike the environment of an engine that runs
    settings.mkdir(exist_ok=True)
    (settings / "config").write_text(f"[default]\nregion = us-east-1\nendpoint_url = {url}\n")
    (settings / "credentials").write_text(
        f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )


def test_objects_of_a_store_reach_every_node(cluster: Castray, s3_process: S3Server, tmp_path: Path) -> None:
    payloads = {f"data/{number}.bin": os.urandom(number * 100_000) for number in range(6)}
    s3_process.reset()
    s3_process.put("bucket")
    for key, payload in payloads.items():
        s3_process.put(f"bucket/{key}", payload)
    log_in(cluster, s3_process.url)
    status, result, errors = cluster.send(
        "s3://bucket/data", "--to", "all", "--exclude", "0.bin", "--dest", tmp_path / "{node}"
    )
    assert (status, result["state"]) == (0, "completed"), errors
    assert result["checksums"] == {"md5": 5}
    assert len(result["deliveries"]) > 1
    for delivery in result["deliveries"]:
        folder = tmp_path / delivery["node"] / "data"
        assert sorted(path.name for path in folder.iterdir()) == [f"{number}.bin" for number in range(1, 6)]
        for path in folder.iterdir():
            assert path.read_bytes() == payloads[f"data/{path.name}"]

    status, _, errors = cluster.send("s3://bucket/nothing", "--to", "all")
    assert status == 1
    assert "There is nothing at s3://bucket/nothing." in errors
    shown = [errors]
    for words in (("casts", "--json"), ("history", "--json"), ("engine", "status", "--json")):
        done = cluster(*words)
        assert done.returncode == 0, (words, done.stderr)
        shown.append(done.stdout + done.stderr)
    assert '"name": "data/"' in shown[2]
    marks = (SECRET, KEY, "X-Amz-Signature=")
    assert [mark for mark in marks for text in shown if mark in text] == []
    assert found_in(cluster.home, *marks) == []


async def test_a_schedule_downloads_what_is_new(
    client: EngineClient, cluster: Castray, s3_process: S3Server, tmp_path: Path
) -> None:
    """The first run delivers, the next one downloads nothing, and a new version comes with a run after it."""
    first, second = ({"a.bin": os.urandom(300_000), "b.bin": os.urandom(3_000_000)} for _ in range(2))
    s3_process.reset()
    s3_process.put("bucket")
    s3_process.put("bucket/data/a.bin", first["a.bin"])
    events = client.events()

    async def next_result(schedule: str) -> m.CastResult:
        async with asyncio.timeout(PATIENCE):
            async for event in events:
                if isinstance(event, m.CastResult) and event.summary.schedule == schedule:
                    return event
        raise AssertionError("the connection was closed")

    async def until(condition: Callable[[Sequence[m.ScheduleInfo]], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            async for event in events:
                if isinstance(event, m.SchedulesChanged):
                    mine = [item for item in event.schedules if item.schedule.schedule == added.schedule]
                    if condition(mine):
                        return
        raise AssertionError("the connection was closed")

    def has_arrived(files: dict[str, bytes]) -> bool:
        return all(
            (tmp_path / node / "data" / "a.bin").read_bytes() == files["a.bin"]
            and (tmp_path / node / "b.bin").read_bytes() == files["b.bin"]
            for node in ("node_1", "node_2", "node_3")
        )

    with s3_proxy(s3_process.url) as proxy, range_server() as web:
        log_in(cluster, proxy.url)
        file = web.add("/b.bin", first["b.bin"])
        options = TransferOptions(destination=str(tmp_path / "{node}"), on_conflict=OnConflict.OVERWRITE)
        request = SendRequest(("s3://bucket/data", web.url("/b.bin")), ("all",), source="", options=options)
        added = await client.request(
            m.AddSchedule(Schedule("", "addresses", request, every=1.0)), m.ScheduleAdded
        )
        result = await next_result(added.schedule)
        assert {item.state for item in result.deliveries} == {DeliveryState.COMPLETED}
        assert has_arrived(first)
        assert proxy.sent_bytes <= 1.02 * len(first["a.bin"])
        assert file.served <= 1.02 * len(first["b.bin"])
        sent, requests = proxy.sent_bytes, len(file.requests)

        await until(lambda mine: any(item.unchanged for item in mine))  # a run that makes no cast
        assert proxy.sent_bytes == sent
        asked = {request["range"] for request in file.requests[requests:]}
        assert asked <= {"bytes=0-0"}  # whether it is the same, unless that was asked just before

        await client.request(m.EnableSchedule(added.schedule, False), m.Done)
        s3_process.put("bucket/data/a.bin", second["a.bin"])
        file.replace(second["b.bin"])
        await client.request(m.EnableSchedule(added.schedule, True), m.Done)
        while not has_arrived(second):
            result = await next_result(added.schedule)
            assert {item.state for item in result.deliveries} == {DeliveryState.COMPLETED}
        await client.request(m.RemoveSchedule(added.schedule), m.Done)
        await until(lambda mine: not mine)
