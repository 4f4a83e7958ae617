"""`castray casts show`, with a running engine."""

from __future__ import annotations

import json

import pytest

from castray_desktop.cli.output.cast_text import format_counts
from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome
from tests.helpers.kept_files import keep_cast


async def test_a_past_cast_is_shown_with_its_files(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = await keep_cast(engine_home)
    assert await run_words("casts", "show", cast[:6], "--files") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:3]] == [
        ["Cast:", cast],
        ["Name:", "top/"],
        ["State:", "partly failed"],
    ]
    table = {line.split()[0]: line for line in lines if line.startswith(("node_", "top/"))}
    assert "1 sent, 1 identical, 1 kept as (2), 1 failed" in table["node_1"]
    assert "node_2 went offline" in table["node_2"]
    assert "node_1: kept as top/b (2)" in table["top/b"]
    assert "node_2: failed (node_2 went offline" in table["top/b"]
    assert table["top/a"].endswith("blake3:" + "00" * 32)


async def test_files_are_chosen_by_state_and_node(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = await keep_cast(engine_home)
    words = ("casts", "show", cast, "--json", "--node", "node_1", "--state", "renamed", "--state", "failed")
    assert await run_words(*words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cast"], found["files"]) == (cast, 4)
    assert found["deliveries"][0]["counts"] == {
        "sent": 1,
        "identical": 1,
        "renamed": 1,
        "overwritten": 0,
        "failed": 1,
    }
    assert [file["path"] for file in found["file_list"]] == ["top/b", "top/d"]
    assert found["file_list"][0]["recipients"] == [
        {"state": "renamed", "nodes": ["node_1"], "path": "top/b (2)", "reason": None}
    ]
    assert found["file_list"][1]["recipients"][0]["reason"].startswith("top/d ")
    assert await run_words("casts", "show", cast, "--text", "nothing") == 0
    assert capsys.readouterr().out.endswith("No files.\n")


async def test_an_unknown_cast_is_refused(engine_home: EngineHome) -> None:
    with pytest.raises(CastRayError) as caught:
        await run_words("casts", "show", "dead")
    assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN


def test_counts_leave_out_what_there_is_none_of() -> None:
    assert format_counts(FileCounts(identical=15, renamed=1)) == "15 identical, 1 kept as (2)"
    assert format_counts(FileCounts(1200, overwritten=2, failed=3)) == "1,200 sent, 2 overwritten, 3 failed"
    assert format_counts(FileCounts()) == format_counts(None) == ""
