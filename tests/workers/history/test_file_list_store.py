"""What became of files, as it is kept in the home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from castray_desktop.workers.history import file_list_store
from castray_desktop.workers.history.file_list_store import FileListStore, OutcomeRecord, ParcelRecord

LIST = ParcelRecord("d1", "blake3", b"compressed", b"t" * 33)
ENDED = OutcomeRecord("node_1", "d1", "abc")


@pytest.fixture
def store(tmp_path: Path) -> FileListStore:
    return FileListStore(tmp_path / "files")


def test_records_come_back_in_order_also_for_a_later_engine(store: FileListStore, tmp_path: Path) -> None:
    store.append("c1", ENDED)
    store.append("c1", LIST)
    assert store.load("c1") == [ENDED, LIST]
    assert FileListStore(tmp_path / "files").load("c1") == [ENDED, LIST]
    assert store.load("c2") == []
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "files" / "c1").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_record_ends_the_list(store: FileListStore, tmp_path: Path, cut: int) -> None:
    store.append("c1", ENDED)
    store.append("c1", LIST)
    path = tmp_path / "files" / "c1"
    os.truncate(path, path.stat().st_size - cut)
    assert store.load("c1") == [ENDED]


@pytest.mark.parametrize("content", [b"", b"something else", b"CastRay files 9\n\1\0\0\0x"])
def test_another_file_is_no_list(store: FileListStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "c1").write_bytes(content)
    assert store.load("c1") == []


def test_the_oldest_lists_are_dropped(
    store: FileListStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_list_store, "MAX_CASTS", 3)
    for number in range(5):
        store.append(f"c{number}", ENDED)
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["c2", "c3", "c4"]
    monkeypatch.setattr(file_list_store, "MAX_BYTES", 100)
    later = FileListStore(tmp_path / "files")
    later.append("c9", ENDED)
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["c9"]


def test_what_is_too_large_is_not_kept(store: FileListStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("c1", ENDED)
    monkeypatch.setattr(file_list_store, "MAX_CAST_BYTES", 90)
    store.append("c1", LIST)
    assert store.load("c1") == [ENDED]


def test_lists_of_unknown_casts_are_removed(store: FileListStore) -> None:
    for cast in ("c1", "c2"):
        store.append(cast, ENDED)
    store.retain(lambda casts: {"c2"})
    assert (store.load("c1"), store.load("c2")) == ([], [ENDED])
