"""A hook runs after all files are verified and have their names, and does not affect the delivery."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from tests.workers.agent.transfer.lab import Lab

LOOK = 'sh -c \'echo $CASTRAY_STATE $CASTRAY_CAST >> ../seen; cmp "$CASTRAY_PATHS" "$0" >> ../seen 2>&1\' '


@pytest.fixture
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "castray" / "node.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"hooks": True}))
    path.chmod(0o600)


@pytest.mark.usefixtures("allowed")
def test_a_hook_finds_the_complete_file_under_its_final_name(lab: Lab, tmp_path: Path) -> None:
    source, node = lab.chain(1)
    path, dest = lab.file("x.bin", 3_000_000), tmp_path / "in" / "here"
    for state in (RecipientState.COMPLETED, RecipientState.SKIPPED):
        cast = lab.cast(source, [path])
        cast.deliver(node, source.upstream(), dest, hook=LOOK + str(path))
        (result,) = cast.results()
        cast.forget()
        assert (result.state, result.hook) == (state, "done")
        assert (tmp_path / "in" / "seen").read_text().splitlines()[-1] == f"{state.value} {cast.cast}"


@pytest.mark.usefixtures("allowed")
def test_a_hook_gets_every_name_byte_by_byte(lab: Lab, tmp_path: Path) -> None:
    source, node = lab.chain(1)
    folder = lab.folder / "odd"
    folder.mkdir()
    names = sorted((b"two\nlines", b"latin \xe4", b"plain"))
    paths = [os.fsencode(folder) + b"/" + name for name in names]
    for path in paths:
        with open(path, "wb") as file:  # noqa: PTH123 - of bytes
            file.write(b"x")
    cast = lab.cast(source, [Path(os.fsdecode(path)) for path in paths])
    hook = 'sh -c \'cp "$CASTRAY_PATHS_FILE" ../names; xargs -0 cat < "$CASTRAY_PATHS_FILE" > ../contents\''
    cast.deliver(node, source.upstream(), tmp_path / "in" / "here", hook=hook)
    (result,) = cast.results()
    assert (result.state, result.hook) == (RecipientState.COMPLETED, "done")
    placed = (tmp_path / "in" / "names").read_bytes().split(b"\0")
    assert sorted(placed) == [b"", *(os.fsencode(tmp_path / "in" / "here") + b"/" + name for name in names)]
    assert (tmp_path / "in" / "contents").read_bytes() == b"xxx"


@pytest.mark.usefixtures("allowed")
def test_one_that_fails_undoes_nothing(lab: Lab, tmp_path: Path) -> None:
    source, node = lab.chain(1)
    path = lab.file("x.bin", 100)
    cast = lab.cast(source, [path])
    cast.deliver(node, source.upstream(), tmp_path / "in", hook="sh -c 'echo no service; exit 4'")
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert result.failure is None
    assert result.hook == "exited with status 4: no service"
    assert (tmp_path / "in" / "x.bin").read_bytes() == path.read_bytes()


def test_a_hook_does_not_run_unless_the_node_allows_it(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    source, node = lab.chain(1)
    cast = lab.cast(source, [lab.file("x.bin", 100)])
    cast.deliver(node, source.upstream(), tmp_path / "in", hook=f"touch {tmp_path / 'ran'}")
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert result.hook.startswith("not allowed on this node")
    assert not (tmp_path / "ran").exists()
