"""An animation has all frames, unchanged, and their times."""

from __future__ import annotations

import io

from PIL import Image, ImageSequence
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication

from tools.animation import LAST_MS, animate


def frame(x: int) -> QImage:
    image = QImage(63, 48, QImage.Format.Format_RGB32)
    image.fill(QColor("white"))
    image.setPixelColor(x, 20, QColor(1, 2, 3))
    return image


def test_every_frame_is_shown_as_it_was(qapp: QApplication) -> None:
    paths = [8, 9, 40]
    with Image.open(io.BytesIO(animate([frame(x) for x in paths], 125))) as animation:
        assert animation.format == "WEBP"
        assert animation.info["loop"] == 0
        times = []
        for x, shown in zip(paths, ImageSequence.Iterator(animation), strict=True):
            dark = [
                (at, y)
                for at in range(63)
                for y in range(48)
                if shown.convert("RGB").getpixel((at, y)) != (255,) * 3
            ]
            assert dark == [(x, 20)]
            assert shown.convert("RGB").getpixel((x, 20)) == (1, 2, 3)
            times.append(shown.info["duration"])
    assert times == [125, 125, LAST_MS]
