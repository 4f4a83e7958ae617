"""The plot as a picture, its numbers as a table, and both as files."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QSaveFile
from PySide6.QtGui import QPixmap

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.ui.nodes import natural_key
from castray_desktop.ui.rate_history import Window

PNG, CSV = "png", "csv"


def as_csv(window: Window, now: float) -> str:
    """One line for each step, in bytes per second; `now` is the POSIX time of the window's end."""
    names = sorted(window.nodes, key=natural_key)
    columns = [window.total, *(window.nodes[name] for name in names)]
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["time", "total", *names])
    for place, age in enumerate(window.age.tolist()):
        at = datetime.fromtimestamp(now - age, UTC).isoformat(timespec="milliseconds")
        rows.writerow([at, *(f"{column[place]:.0f}" for column in columns)])
    return text.getvalue()


def as_png(picture: QPixmap) -> bytes:
    """The bytes of a PNG file."""
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    picture.save(buffer, "PNG")
    return bytes(data.data())


def save_as(path: str, content: bytes) -> Failure | None:
    """Write a file, which has its name once it is whole; what went wrong, or None."""
    file = QSaveFile(path)
    if file.open(QIODevice.OpenModeFlag.WriteOnly):
        file.write(content)
        if file.commit():
            return None
    return Failure(FailureKind.FILE_NOT_WRITTEN, {"path": path, "reason": file.errorString()})
