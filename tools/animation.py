"""Create one animated picture (WebP, lossless) from pictures of the same size.

python -m tools.animation OUT.webp MILLISECONDS FRAME...
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PySide6.QtGui import QImage

LAST_MS = 3000
"""How long the last frame is shown before the animation starts over."""


def animate(frames: Sequence[QImage], milliseconds: int) -> bytes:
    """The frames as a WebP that loops forever, each shown this long and the last one for three seconds."""
    pictures = [_picture(frame) for frame in frames]
    times = [milliseconds] * (len(frames) - 1) + [LAST_MS]
    out = io.BytesIO()
    pictures[0].save(
        out,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=times,
        loop=0,
        lossless=True,
        quality=100,  # of the compression; nothing is lost
        method=4,
    )
    return out.getvalue()


def _picture(frame: QImage) -> Image.Image:
    plain = frame.convertToFormat(QImage.Format.Format_RGBA8888)
    size = (plain.width(), plain.height())
    return Image.frombytes(
        "RGBA", size, bytes(plain.constBits()), "raw", "RGBA", plain.bytesPerLine()
    ).convert("RGB")


def main(out: str, milliseconds: str, *names: str) -> None:
    """Write the animation."""
    Path(out).write_bytes(animate([QImage(name) for name in names], int(milliseconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
