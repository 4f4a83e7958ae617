"""`castray schedule`, with a running engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages as m
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome


async def test_schedules(engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    words = ("schedule", "add", "nightly", str(tmp_path / "data"), "--to", "all", "--cron", "0 3 * * *")
    assert await run_words(*words) == 0
    schedule = capsys.readouterr().out.strip()
    assert len(schedule) == 12
    await run_words("schedule", "pause", "nightly")
    assert capsys.readouterr().out == f"Paused nightly ({schedule}).\n"
    await run_words("schedule", "list", "--json")
    (known,) = [one for one in json.loads(capsys.readouterr().out) if one["schedule"] == schedule]
    assert (known["name"], known["enabled"], known["cron"]) == ("nightly", False, "0 3 * * *")
    await run_words("schedule", "resume", schedule[:6])
    for word, enabled in (("pause", False), ("resume", True)):
        await run_words("schedule", word, "all")
        capsys.readouterr()
        await run_words("schedule", "list", "--json")
        assert {one["enabled"] for one in json.loads(capsys.readouterr().out)} == {enabled}
    await run_words("schedule", "list")
    assert "nightly" in capsys.readouterr().out
    await run_words("schedule", "remove", "nightly")
    with pytest.raises(CastRayError) as caught:
        await run_words("schedule", "remove", "nightly")
    assert caught.value.failure.kind is FailureKind.SCHEDULE_UNKNOWN


async def test_a_schedule_without_a_cluster_gets_the_one_in_use(
    engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    words = (str(tmp_path / "data"), "--to", "all", "--cron", "0 3 * * *", "--json")
    assert await run_words("schedule", "add", "one", *words) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["cluster"] == "local"
    assert "demo on this computer" in output.err
    client = await engine_home.connect()
    await client.request(m.UseCluster("10.0.0.1:6379"), m.Done)
    async for event in client.events():
        if isinstance(event, m.ClusterChanged) and event.cluster.phase is m.ClusterPhase.READY:
            break
    assert await run_words("schedule", "add", "two", *words) == 0
    output = capsys.readouterr()
    assert (json.loads(output.out)["cluster"], output.err) == ("10.0.0.1:6379", "")
    await client.request(m.LeaveCluster(), m.Done)
    await client.close()
    with pytest.raises(CastRayError) as caught:
        await run_words("schedule", "add", "three", *words)
    assert caught.value.failure.kind is FailureKind.CLUSTER_NOT_NAMED
