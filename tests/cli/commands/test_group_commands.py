"""`castray group`, whose groups are those of the window."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import RecipientGroupFile
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome
from tests.helpers.fake_driver import RAY_NODE


async def test_groups_are_made_listed_and_removed(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_words("group", "list") == 0
    assert await run_words("group", "add", "@office", "node_1, node_2") == 0
    assert await run_words("group", "add", "office", "node_2,node_3") == 0
    assert capsys.readouterr().out.splitlines() == [
        "No groups.",
        "@office: node_1, node_2",
        "@office: node_1, node_2, node_3",
    ]
    file = RecipientGroupFile(paths.groups)
    assert file.load() == {"office": ("node_1", "node_2", "node_3")}
    file.save_group("lab", ("node_4",))  # by the window
    await run_words("group", "list", "--json")
    assert json.loads(capsys.readouterr().out) == [
        {"schema": 1, "group": "lab", "nodes": ["node_4"]},
        {"schema": 1, "group": "office", "nodes": ["node_1", "node_2", "node_3"]},
    ]
    await run_words("group", "remove", "office", "node_1,node_3")
    await run_words("group", "remove", "office")
    await run_words("group", "list")
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["@office: node_2", "Removed @office."]
    assert [line.split() for line in told[2:]] == [["Group", "Nodes"], ["@lab", "node_4"]]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("add", "a/b", "node_1"), FailureKind.BAD_GROUP_NAME),
        (("add", "office", " , "), FailureKind.NO_RECIPIENTS),
        (("remove", "nobody"), FailureKind.GROUP_UNKNOWN),
        (("remove", "office", "node_9"), FailureKind.NODE_UNKNOWN),
    ],
)
async def test_wrong_names_are_refused(paths: Paths, words: tuple[str, ...], kind: FailureKind) -> None:
    RecipientGroupFile(paths.groups).save_group("office", ("node_1",))
    with pytest.raises(CastRayError) as caught:
        await run_words("group", *words)
    assert caught.value.failure.kind is kind


async def test_nodes_of_a_running_engine_are_known_by_address_and_strangers_are_told(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await engine_home.connect()
    await client.request(m.UseCluster("10.0.0.1:6379"), m.Done)
    async for event in client.events():
        if isinstance(event, m.ClusterChanged) and event.cluster.phase is m.ClusterPhase.READY:
            break
    await run_words("group", "add", "office", f"{RAY_NODE.node_id[:8]},stranger")
    await client.close()
    told = capsys.readouterr()
    assert told.out == "@office: head, stranger\n"
    assert "warning: the cluster in use has no node stranger." in told.err


def test_changes_of_two_processes_are_both_kept(tmp_path: Path) -> None:
    def add(number: int) -> None:
        RecipientGroupFile(tmp_path / "groups.json").add_members("all", [f"node_{number}"])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(RecipientGroupFile(tmp_path / "groups.json").load()["all"]) == 20
