"""`connect`, with an engine that has a fake driver."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

import castray_desktop
from castray_desktop import CommandFailed, connect
from castray_desktop.cli.arguments import add_send_arguments
from castray_desktop.core.casts.json_views import OPTION_NAMES, CastForm, cast_form
from castray_desktop.core.protocol.messages import (
    THIS_COMPUTER,
    CastResult,
    CastState,
    CastSummary,
    Encryption,
    SendRequest,
)
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.python import Cluster, cluster_handle
from castray_desktop.workers.clusters.node_inventory import local_node_name
from castray_desktop.workers.http_api.request_bodies import OptionsBody
from tests.helpers.engine_home import EngineHome
from tests.helpers.kept_files import keep_cast
from tests.helpers.samples import make_cast

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result]) -> Result:
    """Run blocking code as a program would, while the test's engine continues."""
    async with asyncio.timeout(20):
        return await asyncio.to_thread(work)


async def test_a_program_sees_the_cluster(engine_home: EngineHome) -> None:
    def program() -> None:
        with connect("local") as cluster:
            assert [node.name for node in cluster.nodes()][1:] == ["node_1", "node_2", "node_3"]
            assert cluster.casts() == ()

    await in_thread(program)
    assert [thread.name for thread in threading.enumerate() if thread.name == "castray"] == []


async def test_a_cast_is_started_followed_and_cancelled(engine_home: EngineHome, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")

    def program() -> CastState:
        with connect("local") as cluster:
            cast = cluster.start(tmp_path / "x", ["node_1"], limit="1MB/s")
            assert cluster.cast(cast[:6]).limit == 1_000_000
            waiting: list[CastState] = []
            waiter = threading.Thread(target=lambda: waiting.append(cluster.wait(cast).state))
            waiter.start()
            cluster.cancel(cast)
            waiter.join()
            return waiting[0]

    assert await in_thread(program) is CastState.CANCELLED


async def test_relative_paths_of_another_node_are_refused(
    engine_home: EngineHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("x")
    monkeypatch.chdir(tmp_path)

    def program() -> None:
        with connect("local") as cluster:
            with pytest.raises(
                CommandFailed, match="x is a relative path, but paths on node_1 must"
            ) as caught:
                cluster.start("x", ["node_2"], source="node_1")
            assert caught.value.kind == "relative_path"
            for own in ("", THIS_COMPUTER, local_node_name()):
                cluster.cancel(cluster.start("x", ["node_2"], source=own))

    await in_thread(program)


async def test_failures_are_sentences(engine_home: EngineHome, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")

    def program() -> None:
        with connect("local") as cluster:
            with pytest.raises(CommandFailed, match="There is no node named nobody") as caught:
                cluster.send(tmp_path / "x", to="nobody")
            assert caught.value.kind == "node_unknown"
            with pytest.raises(CommandFailed, match="does not exist"):
                cluster.send(tmp_path / "missing")
            with pytest.raises(CommandFailed):
                cluster.start(tmp_path / "x", limit="fast")
            with pytest.raises(CommandFailed, match="ffff"):
                cluster.cast("ffff")

    await in_thread(program)


async def test_a_cluster_that_does_not_come_up_leaves_no_thread(engine_home: EngineHome) -> None:
    from castray_desktop.core.failures.kinds import Failure, FailureKind

    failure = Failure(FailureKind.CLUSTER_UNREACHABLE, {"address": "10.0.0.9:1", "reason": "nothing"})
    engine_home.script = lambda driver: driver.say(driver_protocol.ClusterFailed(failure))

    def program() -> None:
        with pytest.raises(CommandFailed):
            connect("10.0.0.9:1")

    await in_thread(program)
    assert [thread.name for thread in threading.enumerate() if thread.name == "castray"] == []


async def test_a_closed_cluster_raises(engine_home: EngineHome) -> None:
    def program() -> None:
        cluster = connect("local")
        cluster.close()
        cluster.close()
        with pytest.raises(RuntimeError, match="closed"):
            cluster.nodes()

    await in_thread(program)


async def test_a_program_with_an_event_loop_of_its_own(engine_home: EngineHome) -> None:
    async def notebook() -> int:
        with connect("local", progress=False) as cluster:  # blocks this loop, and needs none of it
            return len(cluster.nodes())

    assert await in_thread(lambda: asyncio.run(notebook())) == 4


def test_inside_a_ray_driver_its_cluster_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASTRAY_CLUSTER", raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert cluster_handle._session_target("auto") is None
    assert cluster_handle._session_target("local") == "local"
    context = SimpleNamespace(gcs_address="10.0.0.5:6379")
    ray = SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)  # type: ignore[arg-type]
    assert cluster_handle._session_target("auto") == "10.0.0.5:6379"


def test_the_package_exports_what_programs_use() -> None:
    assert castray_desktop.Cluster is Cluster
    with pytest.raises(AttributeError, match="nonsense"):
        castray_desktop.nonsense  # noqa: B018


def test_every_interface_has_every_option_of_a_cast() -> None:
    names = set(OPTION_NAMES.values())
    assert set(cluster_handle.SendArguments.__annotations__) == names | {"source"}
    assert names <= OptionsBody.model_fields.keys()
    parser = argparse.ArgumentParser()
    add_send_arguments(parser)
    assert names <= {action.dest for action in parser._actions}


async def test_an_unknown_option_is_a_type_error(engine_home: EngineHome) -> None:
    def program() -> None:
        unknown: dict[str, Any] = {"to_whom": "all"}
        with connect("local") as cluster, pytest.raises(TypeError, match="to_whom"):
            cluster.start("/x", **unknown)

    await in_thread(program)


async def test_multicast_is_refused_to_what_has_to_be_encrypted(
    engine_home: EngineHome, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("x")

    def program() -> None:
        with connect("local") as cluster:
            with pytest.raises(CommandFailed, match="--transport auto") as caught:
                cluster.start(file, transport="udp", encrypt="always")
            assert caught.value.kind == "encrypted_multicast"
            assert cluster.casts() == ()
            cast = cluster.start(file, encrypt="always")
            assert cluster.cast(cast).options.encrypt is Encryption.ALWAYS

    await in_thread(program)


async def test_a_text_is_one_exclude_pattern(engine_home: EngineHome, tmp_path: Path) -> None:
    """Not the pattern of each letter: `*` alone would leave out everything."""
    file = tmp_path / "file"
    file.write_text("x")

    def program() -> None:
        with connect("local") as cluster:
            cast = cluster.start(file, exclude="*.tmp", include=["*"])
            assert cluster.cast(cast).options.exclude == ("*.tmp",)
            assert cluster.cast(cast).options.include == ("*",)

    await in_thread(program)


async def test_the_history_is_requested_in_pages(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_handle, "PAGE", 2)
    client = await engine_home.connect()  # the history is open
    request = SendRequest(("/x",), ("all",))
    for number in range(5):
        summary = make_cast(f"c{number}", state=CastState.COMPLETED, finished=float(number + 1))
        engine_home.engine.history.cast_ended(request, "local", CastResult(summary, (), 1.0))

    def program() -> None:
        with connect("local") as cluster:
            assert [cast.cast for cast in cluster.history(limit=3)] == ["c4", "c3", "c2"]
            assert len(cluster.history()) == 5

    await in_thread(program)
    await client.close()


async def test_a_cast_that_ends_between_two_pages_of_the_history_moves_none(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_handle, "PAGE", 2)
    client = await engine_home.connect()  # the history is open
    loop, request = asyncio.get_running_loop(), SendRequest(("/x",), ("all",))

    async def end(number: int) -> None:
        summary = make_cast(f"c{number}", state=CastState.COMPLETED, finished=float(number + 1))
        engine_home.engine.history.cast_ended(request, "local", CastResult(summary, (), 1.0))

    for number in range(4):
        await end(number)
    later = itertools.count(4)

    def form(summary: CastSummary) -> CastForm:
        asyncio.run_coroutine_threadsafe(end(next(later)), loop).result(20)
        return cast_form(summary)

    monkeypatch.setattr(cluster_handle, "cast_form", form)

    def program() -> None:
        with connect("local") as cluster:
            assert [cast.cast for cast in cluster.history()] == ["c3", "c2", "c1", "c0"]

    await in_thread(program)
    await client.close()


async def test_files_of_a_cast_are_fetched_page_by_page(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_handle, "PAGE", 2)
    cast = await keep_cast(engine_home)

    def program() -> list[tuple[str, str]]:
        with connect("local") as cluster:
            assert [file.path for file in cluster.files(cast[:5], states=["renamed"])] == ["top/b"]
            with pytest.raises(CommandFailed) as caught:
                next(cluster.files("unknown"))
            assert caught.value.kind == "cast_unknown"
            return [(file.path, file.recipients[0].state.value) for file in cluster.files(cast)]

    assert await in_thread(program) == [
        ("top/a", "failed"),
        ("top/b", "failed"),
        ("top/c", "failed"),
        ("top/d", "failed"),
    ]
