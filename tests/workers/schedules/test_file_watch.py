"""Watched folders and files, with kernel notifications."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.workers.schedules import file_watch
from castray_desktop.workers.schedules.file_watch import FileWatch


class Seen:
    """The notifications of a watch."""

    def __init__(self) -> None:
        self.begun = 0
        self.paths: set[str] = set()
        self.error: Exception | None = None
        self._told = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def on_begun(self) -> None:
        self.begun += 1
        self._notify()

    def on_changed(self, paths: set[str]) -> None:
        self.paths |= paths
        self._notify()

    def on_lost(self, error: Exception) -> None:
        self.error = error
        self._notify()

    def _notify(self) -> None:
        async def tell() -> None:
            async with self._told:
                self._told.notify_all()

        task = asyncio.create_task(tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._told:
            await self._told.wait_for(condition)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "STEP_MS", 10)
    monkeypatch.setattr(file_watch, "CHECK_MS", 50)
    monkeypatch.setattr(file_watch, "GATHER_MS", 100)


class Eye:
    """A watch and its notifications."""

    def __init__(self, *paths: Path, exclude: tuple[str, ...] = ()) -> None:
        self.seen = Seen()
        seen = self.seen
        self.watch = FileWatch(
            map(str, paths), NamePatterns(exclude), seen.on_begun, seen.on_changed, seen.on_lost
        )


@pytest.fixture
async def eyes(quick: None) -> AsyncIterator[list[Eye]]:
    eyes: list[Eye] = []
    yield eyes
    for eye in eyes:
        await eye.watch.stop()


async def open_eye(eyes: list[Eye], *paths: Path, exclude: tuple[str, ...] = (), threads: int = 1) -> Seen:
    eye = Eye(*paths, exclude=exclude)
    eyes.append(eye)
    eye.watch.start()
    await eye.seen.until(lambda: eye.seen.begun == threads or eye.seen.error is not None)
    return eye.seen


async def test_a_thousand_files_in_folders_that_did_not_exist(eyes: list[Eye], tmp_path: Path) -> None:
    seen = await open_eye(eyes, tmp_path)
    folders = [tmp_path / f"folder {number}" for number in range(10)]
    first = {str(folder / "first") for folder in folders}
    async with asyncio.timeout(20):
        while not first <= seen.paths:  # changes before a new folder is watched are not reported
            for path in map(Path, first - seen.paths):
                path.parent.mkdir(exist_ok=True)
                path.write_text("x")
            await asyncio.sleep(0.01)
    expected = {str(folders[number % 10] / f"file {number}") for number in range(1000)}
    for path in expected:
        Path(path).write_text("x")
    await seen.until(lambda: expected <= seen.paths)
    assert seen.error is None


async def test_a_file_that_another_one_replaces(eyes: list[Eye], tmp_path: Path) -> None:
    file, beside = tmp_path / "model.bin", tmp_path / "model.bin.new"
    file.write_text("1")
    seen = await open_eye(eyes, file)
    for content in ("2", "3"):
        seen.paths.clear()
        beside.write_text(content)
        beside.replace(file)
        await seen.until(lambda: bool(seen.paths))
        assert seen.paths == {str(file)}


async def test_changes_of_excluded_files_are_ignored(eyes: list[Eye], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "cache" / "deep").mkdir(parents=True)
    seen = await open_eye(eyes, folder, exclude=("*.tmp", "cache/"))
    (folder / "a.tmp").write_text("x")
    (folder / "cache" / "deep" / "b").write_text("x")
    (folder / "c").write_text("x")
    await seen.until(lambda: bool(seen.paths))
    assert seen.paths == {str(folder / "c")}


async def test_files_and_folders_together(eyes: list[Eye], tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "elsewhere" / "file"
    folder.mkdir()
    file.parent.mkdir()
    seen = await open_eye(eyes, folder, file, threads=2)
    (folder / "a").write_text("x")
    file.write_text("x")
    await seen.until(lambda: len(seen.paths) == 2)


async def test_the_target_of_a_link_is_watched(eyes: list[Eye], tmp_path: Path) -> None:
    """A named link is sent as its target."""
    folder, file = tmp_path / "real" / "folder", tmp_path / "real" / "file"
    folder.mkdir(parents=True)
    file.write_text("1")
    (tmp_path / "links").mkdir()
    latest, model = tmp_path / "links" / "latest", tmp_path / "links" / "model"
    latest.symlink_to(folder)
    model.symlink_to(file)
    seen = await open_eye(eyes, latest, model, threads=2)
    (folder / "a").write_text("x")
    await seen.until(lambda: str(latest / "a") in seen.paths)
    seen.paths.clear()
    file.write_text("2")
    await seen.until(lambda: bool(seen.paths))
    seen.paths.clear()
    model.unlink()
    model.symlink_to(folder / "a")
    await seen.until(lambda: str(model) in seen.paths)


async def test_reading_is_no_change(eyes: list[Eye], tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    seen = await open_eye(eyes, tmp_path)
    assert (tmp_path / "a").read_text() == "x"
    (tmp_path / "b").write_text("x")
    await seen.until(lambda: bool(seen.paths))
    assert seen.paths == {str(tmp_path / "b")}


async def test_a_folder_that_another_one_replaces_is_lost(eyes: list[Eye], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    seen = await open_eye(eyes, folder)
    shutil.rmtree(folder)
    folder.mkdir()
    await seen.until(lambda: seen.error is not None)
    assert isinstance(seen.error, FileNotFoundError)


async def test_a_missing_path_fails_the_watch_at_once(eyes: list[Eye], tmp_path: Path) -> None:
    seen = await open_eye(eyes, tmp_path / "no" / "file")
    assert isinstance(seen.error, FileNotFoundError)


async def test_a_watch_limit_of_the_kernel_is_reported(
    eyes: list[Eye], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: str, **options: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(file_watch, "watch", refuse)
    seen = await open_eye(eyes, tmp_path)
    assert "limit" in str(seen.error)
