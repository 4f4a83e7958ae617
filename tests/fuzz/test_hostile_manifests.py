"""Lists of files that a hostile source makes up, delivered by real agents: nothing is written outside."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.content.manifest import EntryKind
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanCache
from castray_desktop.workers.agent.transfer.source.scanner import OnProgress, ScanResult, scan_paths
from tests.helpers.extent import TEST_ALL
from tests.workers.agent.transfer.conftest import home, lab
from tests.workers.agent.transfer.lab import ENDED, PATIENT, Lab, tree

pytestmark = pytest.mark.timeout(60)
__all__ = ["home", "lab"]

SIZE = 3000  # of each file that the source really has

END_SECONDS = 60.0
"""A hundred thousand links take four seconds of a processor, which other tests use too."""

_HEAD = struct.Struct("<4sBxxxIQ")
_ENTRY = struct.Struct("<BBHIqQHH")
FOLDER, FILE, LINK, HARDLINK = EntryKind.FOLDER, EntryKind.FILE, EntryKind.SYMLINK, EntryKind.HARDLINK
OUT = b"OUT"  # becomes the path of a folder beside the destination


class Claim(NamedTuple):
    """An entry as it is written, whatever it says."""

    kind: int
    name: bytes
    parent: int = 0  # number of the folder, from 1; 0: the parcel
    size: int = SIZE
    target: bytes = b""


def raw_manifest(claims: Sequence[Claim], out: Path, total: int, count: int | None = None) -> bytes:
    """Encode without any check."""
    raw = bytearray(_HEAD.pack(b"CRPM", 1, len(claims) if count is None else count, total))
    for claim in claims:
        name, target = (each.replace(OUT, os.fsencode(out)) for each in (claim.name, claim.target))
        mode = 0 if claim.kind in (HARDLINK, LINK) else 0o755
        size = claim.size if claim.kind == FILE else 0
        raw += _ENTRY.pack(claim.kind, 0, mode, claim.parent, 0, size, len(name), len(target)) + name + target
    return bytes(raw)


class HostileScan:
    """Scans as every source does, and then tells another list of files."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def __call__(
        self, paths: Sequence[str], links: str, patterns: NamePatterns, on_progress: OnProgress
    ) -> ScanResult:
        found = scan_paths(paths, links, patterns, on_progress)
        found.__dict__["raw_manifest"] = self._raw  # of a cached property
        return found


class Place:
    """A destination, and everything around it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.out = lab.folder / "outside"
        self.out.mkdir()
        (self.out / "precious").write_bytes(b"precious")
        self.destination = lab.folder / "destination"
        self.destination.mkdir()
        self._number = 0

    def surroundings(self) -> dict[str, object]:
        """All files, folders and links that are no business of a delivery."""
        inside = (self.destination.name, "run", "inbox")
        found = {
            name: facts
            for name, facts in tree(self.lab.folder).items()
            if name.partition("/")[0] not in inside
        }
        return {**found, "root": sorted(os.listdir("/"))}  # noqa: PTH208

    def deliver(
        self,
        claims: Sequence[Claim],
        on_conflict: str = "skip",
        total: int | None = None,
        count: int | None = None,
    ) -> DeliveryReport:
        """Deliver files with these names; what is outside of the destination stays as it is."""
        self._number += 1
        files = sum(claim.kind == FILE for claim in claims)
        paths = [self.lab.file(f"{self._number}-{number}", SIZE) for number in range(files)]
        raw = raw_manifest(claims, self.out, files * SIZE if total is None else total, count)
        source = self.lab.node(f"hostile_{self._number}", scans=ScanCache(HostileScan(raw)))
        node = self.lab.node(f"node_{self._number}", timing=PATIENT)
        before = self.surroundings()
        cast = self.lab.cast(source, paths)
        cast.deliver(node, source.upstream(), self.destination, on_conflict)
        cast.finish_source()
        report = node.await_delivery(cast.cast, lambda report: report.state in ENDED, END_SECONDS)
        cast.forget()
        assert self.surroundings() == before
        return report


@pytest.fixture
def place(lab: Lab) -> Place:
    return Place(lab)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param([Claim(FILE, b"/etc/castray-hostile")], id="absolute"),
        pytest.param([Claim(FILE, OUT + b"/precious")], id="absolute, of a file that is there"),
        pytest.param([Claim(FILE, b"..")], id="the folder above"),
        pytest.param([Claim(FILE, b".")], id="the folder itself"),
        pytest.param([Claim(FILE, b"../outside/precious")], id="beside it"),
        pytest.param([Claim(FOLDER, b".."), Claim(FILE, b"precious", 1)], id="below the folder above"),
        pytest.param([Claim(FILE, b"")], id="empty"),
        pytest.param([Claim(FILE, b"a\0b")], id="NUL"),
        pytest.param([Claim(FILE, b"a/b")], id="a slash"),
        pytest.param([Claim(FILE, b"n" * 256)], id="256 bytes"),
        pytest.param([Claim(FILE, b"a"), Claim(FILE, b"a")], id="twice"),
        pytest.param(
            [Claim(FILE, b"a"), Claim(FOLDER, b"a"), Claim(FILE, b"b", 2)], id="a file and a folder"
        ),
        pytest.param([Claim(FILE, b"a"), Claim(FILE, b"b", 1)], id="below a file"),
        pytest.param([Claim(LINK, b"l", target=OUT), Claim(FILE, b"precious", 1)], id="below a link"),
        pytest.param(
            [Claim(LINK, b"l", target=OUT), Claim(FOLDER, b"l"), Claim(FILE, b"precious", 2)],
            id="link, folder",
        ),
        pytest.param([Claim(FOLDER, b"f", 1), Claim(FILE, b"a", 1)], id="below itself"),
        pytest.param([Claim(FILE, b"a", 2), Claim(FOLDER, b"f")], id="below a later one"),
        pytest.param([Claim(FILE, b"a", 2**32 - 1)], id="below none"),
        pytest.param([Claim(FILE, b"a", size=2**63)], id="too large"),
        pytest.param([Claim(FILE, b"a", size=SIZE + 1)], id="larger than all contents"),
        pytest.param([Claim(FILE, b"a", size=0)], id="smaller than all contents"),
        pytest.param(
            [Claim(FILE, b"a"), Claim(HARDLINK, b"h", target=struct.pack("<I", 7))], id="a name of no file"
        ),
        pytest.param([Claim(FILE, b"a"), Claim(LINK, b"l", target=b"")], id="a link to nothing"),
        pytest.param([Claim(FILE, b"a"), Claim(LINK, b"l", target=b"x\0y")], id="a link with a NUL"),
        pytest.param([Claim(9, b"a"), Claim(FILE, b"b")], id="a device"),
    ],
)
def test_an_invalid_list_is_refused_as_a_whole(place: Place, claims: list[Claim]) -> None:
    report = place.deliver(claims)
    assert report.state is RecipientState.FAILED
    assert report.failure is not None
    assert report.failure.kind is FailureKind.INTERNAL
    assert "list of files" in report.failure.values["reason"]
    assert list(place.destination.iterdir()) == []


@pytest.mark.parametrize(
    ("total", "count"), [(2 * SIZE, None), (0, None), (None, 2**32 - 1), (None, 2), (None, 0)]
)
def test_a_head_that_lies_is_refused(place: Place, total: int | None, count: int | None) -> None:
    report = place.deliver([Claim(FILE, b"a")], total=total, count=count)
    assert report.state is RecipientState.FAILED
    assert report.failure is not None
    assert report.failure.kind is FailureKind.INTERNAL
    assert list(place.destination.iterdir()) == []


DEPTH = 200


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param([Claim(FILE, b"n" * 255), Claim(FILE, "\u6587".encode() * 85)], id="255 bytes"),
        pytest.param(
            [Claim(FILE, b"\xff\xfe\x80"), Claim(FOLDER, b"\xc0\xaf..\xc0\xaf"), Claim(FILE, b"x", 2)],
            id="not UTF-8",
        ),
        pytest.param(
            [
                Claim(FILE, name)
                for name in (b"CON", b"nul.txt", b"null", b"-rf", b"~", b"*", b"a\nb", b"\\..\\x")
            ],
            id="odd names",
        ),
        pytest.param([Claim(FILE, b"A"), Claim(FILE, b"a")], id="differ in case"),
        pytest.param(
            [Claim(LINK, b"l", target=OUT), Claim(LINK, b"m", target=b"../outside"), Claim(FILE, b"x")],
            id="links out",
        ),
        pytest.param(
            [*(Claim(FOLDER, b"d", depth) for depth in range(DEPTH)), Claim(FILE, b"x", DEPTH)],
            id="deep folders",
        ),
        pytest.param([Claim(FILE, b"a"), Claim(HARDLINK, b"b", target=struct.pack("<I", 0))], id="two names"),
    ],
)
def test_what_a_file_system_can_hold_arrives_below_the_destination(place: Place, claims: list[Claim]) -> None:
    report = place.deliver(claims)
    assert report.state is RecipientState.COMPLETED, report
    assert len(list(place.destination.rglob("*"))) == len(claims)


@pytest.mark.parametrize("on_conflict", ["skip", "rename", "overwrite"])
def test_a_link_of_an_earlier_cast_is_not_followed(place: Place, on_conflict: str) -> None:
    """The first cast leaves a link that leads out, as any user may send; the second writes below its name."""
    report = place.deliver([Claim(FOLDER, b"top"), Claim(LINK, b"l", 1, target=OUT), Claim(FILE, b"x", 1)])
    assert report.state is RecipientState.COMPLETED
    claims = [
        Claim(FOLDER, b"top"),
        Claim(FOLDER, b"l", 1),
        Claim(FILE, b"precious", 2),
        Claim(FILE, b"new", 2),
    ]
    place.deliver(claims, on_conflict)


@pytest.mark.parametrize("on_conflict", ["skip", "rename", "overwrite"])
def test_a_link_is_replaced_or_kept_and_never_written_through(place: Place, on_conflict: str) -> None:
    place.deliver(
        [
            Claim(LINK, b"l", target=OUT + b"/precious"),
            Claim(LINK, b"new", target=OUT + b"/new"),
            Claim(FILE, b"x"),
        ]
    )
    report = place.deliver([Claim(FILE, b"l"), Claim(FILE, b"new")], on_conflict)
    assert report.state is RecipientState.COMPLETED, report


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_many_entries(place: Place) -> None:
    count = 100_000 if TEST_ALL else 20_000
    claims = [*(Claim(LINK, b"%d" % number, target=OUT) for number in range(count)), Claim(FILE, b"x")]
    report = place.deliver(claims)
    assert report.state is RecipientState.COMPLETED, report
    assert sum(1 for _ in os.scandir(place.destination)) == count + 1
