"""The window looks as it did: a few scenes against small pictures of them.

Fonts are drawn a little differently on every machine, so pictures are compared when they have been made
small, tile by tile. After a wanted change run `python -m tests.ui.test_pictures`, and look at what it writes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase, QImage
from PySide6.QtWidgets import QApplication

HERE = Path(__file__).parent
KNOWN = HERE / "pictures"
WIDTH, HEIGHT = 480, 300
TILES_ACROSS, TILES_DOWN = 16, 10
MOST_IN_A_TILE = 0.045  # mean difference of a tile, of 1
MOST = 0.015  # of the whole picture
SCENES = {
    1: ("empty-light", "busy-light", "busy-dark", "failed-light", "busy-light-zh", "multicast-many-light"),
    2: ("busy-light", "busy-dark-zh"),
}
PICTURES = [(scale, name) for scale, names in SCENES.items() for name in names]

Pixels = npt.NDArray[np.float32]


def take(folder: Path) -> None:
    """Take all pictures, each scale in a process of its own: it can't be changed within one."""
    for scale, names in SCENES.items():
        into = folder / f"x{scale}"
        into.mkdir()
        subprocess.run(
            [sys.executable, "-m", "tests.ui.scenes", str(into), *names],
            cwd=HERE.parent.parent,
            env=os.environ | {"QT_QPA_PLATFORM": "offscreen", "QT_SCALE_FACTOR": str(scale), "TZ": "UTC"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=100,
            check=True,
        )


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    take(folder)
    return folder


def small(image: QImage) -> QImage:
    ignore, smooth = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
    return image.scaled(WIDTH, HEIGHT, ignore, smooth).convertToFormat(QImage.Format.Format_RGB888)


def pixels(image: QImage) -> Pixels:
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).astype(np.float32) / 255


def differences(one: QImage, other: QImage) -> npt.NDArray[np.float32]:
    """The mean difference of each tile."""
    difference = np.abs(pixels(small(one)) - pixels(small(other))).mean(axis=2)
    tiles = difference.reshape(TILES_DOWN, HEIGHT // TILES_DOWN, TILES_ACROSS, WIDTH // TILES_ACROSS)
    return tiles.mean(axis=(1, 3)).astype(np.float32)


def speaks_chinese() -> bool:
    return bool(QFontDatabase.families(QFontDatabase.WritingSystem.SimplifiedChinese))


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("scale", "name"), PICTURES)
def test_the_window_looks_as_it_did(qapp: QApplication, taken: Path, scale: int, name: str) -> None:
    if name.endswith("-zh") and not speaks_chinese():
        pytest.skip("there is no Chinese font here")
    now = QImage(str(taken / f"x{scale}" / f"{name}.png"))
    assert now.width() == 1440 * scale
    found = differences(now, QImage(str(KNOWN / f"{name}-x{scale}.jpg")))
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    where = f"most in the tile at {column * 90}, {row * 90}: {found.max():.3f}; see {taken}"
    assert found.max() <= MOST_IN_A_TILE, where
    assert found.mean() <= MOST, where


def test_another_look_is_found(qapp: QApplication, taken: Path) -> None:
    busy = QImage(str(taken / "x1" / "busy-light.png"))
    for other in ("empty-light", "failed-light", "busy-dark"):
        assert differences(busy, QImage(str(taken / "x1" / f"{other}.png"))).max() > MOST_IN_A_TILE
    spoilt = busy.copy()
    for x in range(40, 330):  # as if the send button were not there
        for y in range(465, 505):
            spoilt.setPixelColor(x, y, Qt.GlobalColor.white)
    assert differences(busy, spoilt).max() > MOST_IN_A_TILE


def renew() -> None:
    """Write the pictures again."""
    application = QApplication.instance() or QApplication(["pictures", "-platform", "offscreen"])
    KNOWN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        take(Path(folder))
        for scale, name in PICTURES:
            picture = small(QImage(f"{folder}/x{scale}/{name}.png"))
            picture.save(str(KNOWN / f"{name}-x{scale}.jpg"), "JPG", 90)
    del application


if __name__ == "__main__":
    renew()
