"""The ways in which a user can name a node."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.core.casts.node_selector import find_node, group_name, nobody_online, resolve_recipients
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import NodeInfo, NodeState
from castray_desktop.workers.base.state_files import RecipientGroupFile


def test_an_ipv6_address_with_and_without_brackets() -> None:
    nodes = {"a": NodeInfo("a", NodeState.ONLINE, address="fd00::5"), "b": NodeInfo("b", NodeState.ONLINE)}
    assert find_node("fd00::5", nodes).name == "a"
    assert find_node("[fd00::5]", nodes).name == "a"


NODES = {name: NodeInfo(name, NodeState.ONLINE) for name in ("here", "a", "b", "c")}


def test_a_group_is_its_present_members_without_the_source() -> None:
    groups = {"rack": ("here", "b", "gone"), "other": ("b", "c")}
    assert resolve_recipients(("@rack", "a", "@other"), "here", NODES, groups) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("who", "kind"), [("@nobody", FailureKind.GROUP_UNKNOWN), ("@empty", FailureKind.GROUP_EMPTY)]
)
def test_an_unknown_group_and_an_empty_group(who: str, kind: FailureKind) -> None:
    with pytest.raises(CastRayError) as raised:
        resolve_recipients((who,), "here", NODES, {"empty": ("gone", "here")})
    assert raised.value.failure.kind is kind


@pytest.mark.parametrize("name", ["", "@", "a,b", "a/b", "x" * 61, "a\nb"])
def test_names_that_no_group_can_have(name: str) -> None:
    with pytest.raises(CastRayError) as raised:
        group_name(name)
    assert raised.value.failure.kind is FailureKind.BAD_GROUP_NAME


def test_a_group_may_be_typed_with_its_mark() -> None:
    assert group_name(" @GPU nodes ") == "GPU nodes"
    assert group_name("机架") == "机架"


def test_groups_are_kept_in_a_file(tmp_path: Path) -> None:
    file = RecipientGroupFile(tmp_path / "home" / "groups.json")
    assert file.load() == {}
    file.save_group("rack", ("a", "b"))
    file.save_group("all of them", ("a", "b", "c"))
    assert RecipientGroupFile(tmp_path / "home" / "groups.json").load() == {
        "rack": ("a", "b"),
        "all of them": ("a", "b", "c"),
    }
    file.remove_group("rack")
    file.remove_group("rack")
    assert set(file.load()) == {"all of them"}
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["groups.json"]


def test_a_group_that_can_not_be_written_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    path = tmp_path / "home" / "groups.json"
    for change in (
        lambda file: file.save_group("rack", ("a",)),
        lambda file: file.remove_group("rack"),
        lambda file: file.add_members("rack", ("a",)),
        lambda file: file.remove_members("rack", ("a",)),
    ):
        with pytest.raises(CastRayError) as raised:
            change(RecipientGroupFile(path))
        values = {"path": str(path), "reason": "File exists"}
        assert raised.value.failure == Failure(FailureKind.FILE_NOT_WRITTEN, values)


def test_a_file_that_is_none_has_no_groups(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text('{"a": 1}')
    assert RecipientGroupFile(path).load() == {}
    RecipientGroupFile(path).save_group("rack", ("b",))  # a name that was written by hand is kept
    assert RecipientGroupFile(path).load() == {"rack": ("b",)}
    (aside,) = tmp_path.glob("damaged-*-groups.json")
    assert aside.read_text() == '{"a": 1}'


def test_the_reason_for_no_recipients() -> None:
    assert nobody_online({}, "local").failure == Failure(FailureKind.NO_CLUSTER)

    def lost(name: str, reason: str) -> Failure:
        return Failure(FailureKind.AGENT_NOT_PLACED, {"node": name, "reason": reason})

    nodes = {f"n{number}": lost(f"n{number}", "ActorDiedError: died.") for number in range(6)}
    nodes["away"] = Failure(FailureKind.NODE_OFFLINE, {"node": "away"})
    infos = {
        name: NodeInfo(name, NodeState.OFFLINE, address="", failure=failure)
        for name, failure in nodes.items()
    }
    failure = nobody_online(infos, "10.0.0.1:6379").failure
    assert failure.kind is FailureKind.NO_AGENT
    assert failure.values["target"] == "10.0.0.1:6379"
    first, second = failure.values["reasons"].split("; ")
    assert first == "n0, n1, n2, n3, n4, n5: ActorDiedError: died"
    assert second == "away: away went offline"
