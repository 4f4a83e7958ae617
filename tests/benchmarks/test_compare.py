"""The files that the comparison sends, and how it compares bytes; the tools themselves need a laboratory."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.compare import CASES, fingerprint, make, nominal
from benchmarks.peers import PEERS
from benchmarks.peers.bittorrent import piece_size
from benchmarks.peers.comparison import BARS


def test_every_case_has_tools_and_bars() -> None:
    assert set(CASES) == set(BARS)
    assert all("relay" in case.peers and set(case.peers) <= set(PEERS) for case in CASES.values())


def test_link_in_words() -> None:
    assert CASES["links"].link == "links of 1 Gbit/s"
    assert CASES["loss"].link == "links of 100 Mbit/s, 1 % loss, packets not coalesced"
    assert CASES["long"].link == (
        "links of 50 Mbit/s, 100 ms there and back, 0.5 % loss, packets not coalesced"
    )
    assert CASES["loopback"].link == "loopback without a limit"


def test_rates() -> None:
    assert nominal("1gbit") == 125e6
    assert nominal("50mbit") == 6.25e6
    with pytest.raises(ValueError, match="no rate"):
        nominal("fast")


def test_a_fingerprint_tells_files_apart(tmp_path: Path) -> None:
    path = make(tmp_path, (1 << 20) + 5, 1)
    assert path.stat().st_size == (1 << 20) + 5
    before = fingerprint(path)
    with path.open("r+b") as file:
        file.seek(1 << 20)
        byte = file.read(1)[0]
        file.seek(1 << 20)
        file.write(bytes([byte ^ 1]))
    assert fingerprint(path) != before


def test_a_fingerprint_tells_folders_apart(tmp_path: Path) -> None:
    path = make(tmp_path, 150 * 64, 150)
    files = sorted(found for found in path.rglob("*") if found.is_file())
    assert [found.stat().st_size for found in files] == [64] * 150
    before = fingerprint(path)
    first = files[0].rename(files[0].with_name("other"))
    assert fingerprint(path) != before
    first.rename(files[0])
    assert fingerprint(path) == before
    files[1].unlink()
    assert fingerprint(path) != before


@pytest.mark.parametrize(
    ("size", "piece"), [(1, 256 << 10), (64 << 20, 256 << 10), (1 << 30, 1 << 20), (1 << 40, 4 << 20)]
)
def test_pieces_of_a_torrent(size: int, piece: int) -> None:
    assert piece_size(size) == piece
