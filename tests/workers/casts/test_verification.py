"""The combined results of nodes that read files back."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    VerifiedNode,
    VerifiedState,
    Verify,
    VerifyProgress,
    VerifyReport,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.core.protocol.nodes.agent_orders import FileHash
from castray_desktop.core.protocol.nodes.agent_reports import VerificationReport, VerificationState
from castray_desktop.workers.casts import verification
from tests.helpers.cast_stage import Stage
from tests.helpers.patience import PATIENCE

V = VerificationState


def say(stage: Stage, node: str, state: VerificationState = V.DONE, **facts: object) -> None:
    report = VerificationReport("j", state, **facts)  # type: ignore[arg-type]
    stage.cast_manager.agent_reported(node, agent_reports.AgentReport(verifications=(report,)))


async def begin(stage: Stage, command: Verify, last: str = "c") -> asyncio.Task[messages.Reply]:
    task = asyncio.ensure_future(stage.cast_manager.commands.carry_out(command))
    await stage.agents.wait_for(last, agent_orders.VerifyFiles)
    return task


async def report_of(task: asyncio.Task[messages.Reply]) -> dict[str, VerifiedNode]:
    async with asyncio.timeout(PATIENCE):
        report = await task
    assert isinstance(report, VerifyReport)
    return {item.node: item for item in report.nodes}


async def test_one_path_node_against_node(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "PAGE_FILES", 2)
    stage.agents.hashes["b"] = ("sha256",)
    same = [FileHash("a", "1"), FileHash("b", "2"), FileHash("c", "3")]
    stage.agents.files = {"b": [same[0], FileHash("b", "x"), same[2], FileHash("d", "4")]}
    stage.agents.files |= dict.fromkeys("sac", same)
    task = await begin(stage, Verify("j", path="/data/{node}"))
    order = await stage.agents.wait_for("s", agent_orders.VerifyFiles)
    assert order == agent_orders.VerifyFiles("j", path="/data/{node}", algorithm="sha256")
    for node in "sa":
        say(stage, node, digest="sha256:00", files=3, total=9)
    say(stage, "b", digest="sha256:01", files=4, total=9)
    say(stage, "c", V.MISSING)
    found = await report_of(task)
    assert {node: item.state.value for node, item in found.items()} == {
        "s": "same",
        "a": "same",
        "b": "different",
        "c": "missing",
    }
    assert (found["b"].differing, found["b"].differing_count) == (("b", "d"), 2)
    assert found["s"].hash == "sha256:00"
    await stage.agents.wait_for("c", agent_orders.EndVerification)


async def test_what_a_cast_delivered(stage: Stage) -> None:
    cast = await stage.start()
    stage.finish_source(cast)
    await stage.cast_manager.commands.drop_recipients(cast, ("c",))
    for node in "ab":
        stage.agents.complete(node, cast, "s")
    await stage.result(cast)
    task = await begin(stage, Verify("j", cast=cast[:4]), "b")
    say(stage, "a", digest="blake3:00", files=1, total=5)
    say(stage, "b", digest="blake3:11", files=1, total=5, differing=("model.bin",), differing_count=1)
    found = await report_of(task)
    assert {node: item.state for node, item in found.items()} == {
        "a": VerifiedState.SAME,
        "b": VerifiedState.DIFFERENT,
    }
    assert found["b"].differing == ("model.bin",)


async def test_a_lost_node_delays_no_other(stage: Stage) -> None:
    task = await begin(stage, Verify("j", path="/data", nodes=("a", "c")))
    say(stage, "a", digest="blake3:00")
    stage.agents.go_away("c")
    found = await report_of(task)
    assert found["a"].state is VerifiedState.SAME
    assert found["c"].failure is not None
    assert found["c"].failure.kind is FailureKind.NODE_OFFLINE


async def test_progress_is_told_and_it_can_be_cancelled(stage: Stage) -> None:
    task = await begin(stage, Verify("j", path="/data", nodes=("a", "c")))
    say(stage, "a", V.READING, read=1, total=10)
    stage.skip(1)
    say(stage, "c", V.READING, read=2, total=10)
    told = [event for event in stage.events if isinstance(event, VerifyProgress)]
    assert told[-1] == VerifyProgress("j", 3, 20)
    await stage.cast_manager.commands.carry_out(messages.CancelVerify("j"))
    with pytest.raises(CastRayError) as error:
        await task
    assert error.value.failure.kind is FailureKind.CANCELLED
    await stage.agents.wait_for("c", agent_orders.EndVerification)
    with pytest.raises(CastRayError) as error:
        await stage.cast_manager.commands.carry_out(messages.CancelVerify("j"))
    assert error.value.failure.kind is FailureKind.JOB_UNKNOWN


async def test_what_can_not_be_verified_says_so(stage: Stage) -> None:
    with pytest.raises(CastRayError) as error:
        await stage.cast_manager.commands.carry_out(Verify("j", path="data"))
    assert error.value.failure.kind is FailureKind.BAD_DESTINATION
    cast = await stage.start()
    with pytest.raises(CastRayError) as error:
        await stage.cast_manager.commands.carry_out(Verify("j", cast=cast))
    assert error.value.failure.kind is FailureKind.CAST_GOES_ON
    await stage.cast_manager.cancel(cast)
    with pytest.raises(CastRayError) as error:
        await stage.cast_manager.commands.carry_out(Verify("j", cast=cast))
    assert error.value.failure.kind is FailureKind.NOTHING_TO_VERIFY
