"""`castray engine`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import subprocess
import sys
from typing import Any

import pytest

from castray_desktop.cli.commands import engine_commands
from castray_desktop.cli.commands.casts_command import print_casts
from castray_desktop.cli.commands.engine_commands import print_status
from castray_desktop.cli.commands.send_command import print_preflight
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import open_socket
from castray_desktop.workers.client import engine_client as client_module
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE

K = FailureKind


def test_the_status_as_an_object() -> None:
    status = messages.EngineStatus(7, messages.ClusterStatus(target="local"), 4, 1, 2, False)
    running = engine_commands._status_object(status)
    assert {"state", "pid", "cluster", "nodes", "casts", "clients"} <= set(running)
    assert (running["state"], running["cluster"], running["clients"]) == ("running", "local", 1)
    assert engine_commands._status_object(None)["state"] == "stopped"


def test_status_and_preflight(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(None)
    print_status(messages.EngineStatus(7, messages.ClusterStatus(), 0, 0, 1, False))
    problem = messages.PreflightProblem("node_1", Failure(K.NODE_OFFLINE, {"node": "node_1"}))
    print_preflight(messages.PreflightReport(2, 2_100_000, ("node_1",), (problem,)))
    print_preflight(messages.PreflightReport(2, 2_100_000, ("node_1",)))
    print_casts([])
    print_status(messages.EngineStatus(7, messages.ClusterStatus(), 0, 0, 1, False, 10**7))
    output = capsys.readouterr()
    assert "Upload limit of every node: 10.0 MB/s over all casts." in output.out
    assert "No engine is running." in output.out
    assert "2 files, 2.1 MB, to node_1." in output.out
    assert "Nothing was sent." in output.out
    assert output.err.startswith("node_1: node_1 went offline.")


@pytest.fixture
def impatient(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A home in which commands look for an engine, with a short timeout."""
    monkeypatch.setattr(engine_commands, "STOP_SECONDS", 0.0)
    monkeypatch.setattr(client_module, "WELCOME_SECONDS", 0.05)
    return paths


@pytest.mark.parametrize("command", ["stop", "status"])
async def test_an_engine_that_does_not_answer_is_none_that_has_ended(impatient: Paths, command: str) -> None:
    with impatient.lock.open("w") as lock, open_socket(impatient.socket):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(CastRayError) as caught:
            await run_words("engine", command)
    assert caught.value.failure.values == {"reason": "it does not respond"}


async def test_no_engine_is_stopped_where_none_is(
    impatient: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    impatient.lock.touch()
    assert await run_words("engine", "stop") == 0
    assert capsys.readouterr().err == "No engine is running.\n"


async def test_a_busy_engine_is_stopped_once_it_answers(
    impatient: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_commands, "STOP_SECONDS", 600.0)
    monkeypatch.setattr(engine_commands, "RETRY_SECONDS", 0.0)
    with impatient.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open_socket(impatient.socket) as busy, contextlib.ExitStack() as attempts:
            busy.setblocking(False)
            stopping = asyncio.create_task(run_words("engine", "stop"))
            for _ in range(2):  # the second follows the failure of the first
                connection, _ = await asyncio.get_running_loop().sock_accept(busy)
                attempts.enter_context(connection)
        monkeypatch.setattr(client_module, "WELCOME_SECONDS", PATIENCE)
        engine_home = EngineHome(impatient)
        assert await stopping == 0
        await engine_home.ended()


OLDER = """
import sys
from castray_desktop.core.protocol import messages
from castray_desktop.workers.engine.process import main
messages.PROTOCOL_VERSION = 0
sys.exit(main())
"""


async def test_an_engine_of_another_version_is_stopped(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message about its version names this command."""
    engines: list[subprocess.Popen[bytes]] = []

    def spawn(_command: list[str], **rest: Any) -> subprocess.Popen[bytes]:
        engines.append(subprocess.Popen([sys.executable, "-c", OLDER], **rest))
        return engines[-1]

    begin = client_module.start_engine
    monkeypatch.setattr(client_module, "start_engine", lambda where: begin(where, spawn))
    try:
        with pytest.raises(CastRayError) as caught:
            await client_module.EngineClient.connect(paths, "test")
        assert caught.value.failure.kind is K.ENGINE_VERSION
        assert await run_words("engine", "stop") == 0
        assert await asyncio.to_thread(engines[0].wait, 20) == 0
    finally:
        for engine in engines:
            engine.kill()
            engine.wait()
    assert capsys.readouterr().err == ""
