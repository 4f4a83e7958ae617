"""Files of /proc and /sys report wrong sizes: no wrong content is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.source.scanner import Scanner
from castray_desktop.workers.agent.transfer.system import linux_calls
from tests.workers.agent.transfer.lab import Lab

pytestmark = pytest.mark.timeout(60)
SAYS_NOTHING = Path("/proc/cpuinfo")  # 0 bytes
SAYS_A_PAGE = Path("/sys/kernel/uevent_seqnum")  # 4096 bytes
needs_sys = pytest.mark.skipif(not SAYS_A_PAGE.exists(), reason="there is no sysfs")


@pytest.mark.parametrize("path", [SAYS_NOTHING, pytest.param(SAYS_A_PAGE, marks=needs_sys)])
@pytest.mark.parametrize("links", ["auto", "keep", "follow"])
def test_they_are_refused_by_name(path: Path, links: str) -> None:
    with pytest.raises(CastRayError) as caught:
        Scanner(links, NamePatterns(), lambda: None).run([str(path)])
    assert caught.value.failure.kind is FailureKind.NOT_SENDABLE
    assert caught.value.failure.values["path"] == str(path)


def test_a_folder_of_them_is_left_out_by_name(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "good").write_text("x")
    (top / "cpu").symlink_to(SAYS_NOTHING)
    scan = Scanner("auto", NamePatterns(), lambda: None).run([str(top)])
    assert [entry.path for entry in scan.entries] == [b"top", b"top/good"]
    assert [problem.path for problem in scan.problems] == ["top/cpu"]
    assert scan.followed == {}


@needs_sys
def test_a_file_that_does_not_have_its_stated_size_fails_with_its_name(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that is not known to do this."""
    monkeypatch.setattr(linux_calls, "GENERATED_FILE_SYSTEMS", frozenset())
    nodes, top = lab.chain(1), lab.files / "top"
    top.mkdir()
    (top / "good").write_text("x")
    (top / "more").symlink_to(SAYS_NOTHING)
    (top / "less").symlink_to(SAYS_A_PAGE)
    cast = lab.cast(nodes[0], [top], links="auto")
    cast.deliver(nodes[1], nodes[0].upstream())
    (result,) = cast.results()
    report = cast.finish_source()
    assert result.state is RecipientState.FAILED
    assert [path.name for path in (nodes[1].inbox / "top").iterdir()] == ["good"]
    failures = {problem.failure.values["path"]: problem.failure for problem in report.problems}
    assert set(failures) == {str(top / "more"), str(top / "less")}
    for failure in failures.values():
        assert failure.kind is FailureKind.READ_ERROR
        assert failure.values["reason"] == "it does not end where its size says"
