"""One window for each home: a second start hands its files to the first window and ends.

The window listens on a Unix socket beside the engine's. A line of JSON goes in, `ok` comes back once it
has been taken.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from castray_desktop.workers.places import Places

ANSWER_SECONDS = 3.0
MOST_BYTES = 4 * 1024 * 1024
TAKEN = b"ok\n"


class Handed(msgspec.Struct, frozen=True):
    """What a second start wants: files on the send list, and perhaps another cluster."""

    files: tuple[str, ...] = ()
    cluster: str = ""


def door_path(places: Places) -> Path:
    """Where the window of this home listens."""
    return places.socket.with_suffix(".window")


def hand_over(places: Places, handed: Handed) -> bool:
    """Give it to the window of this home; False when there is none, or it does not answer."""
    with socket.socket(socket.AF_UNIX) as door, contextlib.suppress(OSError):
        places.check()
        door.settimeout(ANSWER_SECONDS)
        door.connect(str(door_path(places)))
        door.sendall(msgspec.json.encode(handed) + b"\n")
        return door.recv(16) == TAKEN
    return False


@dataclass
class Visitor:
    """A second start at the door, as far as it has spoken."""

    connection: socket.socket
    said: bytes = b""

    def listen(self) -> Handed | None:
        """What it wants, once it has said all of it. Raises OSError or ValueError for one that is none."""
        data = self.connection.recv(65536)
        self.said += data
        if len(self.said) > MOST_BYTES:
            raise ValueError("too much")
        if self.said.endswith(b"\n"):
            return msgspec.json.decode(self.said, type=Handed)
        if not data:
            raise ValueError("it went away")
        return None

    def thank(self) -> None:
        """It was taken."""
        with contextlib.suppress(OSError):
            self.connection.send(TAKEN)
        self.connection.close()


class Door:
    """The window's end. Nothing here blocks; `fileno` is for whoever waits."""

    def __init__(self, places: Places) -> None:
        """Raises OSError when nothing can be opened there."""
        places.prepare()
        self._path = door_path(places)
        self._path.unlink(missing_ok=True)  # of a window that was killed: nobody answered there
        self._socket = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)
        try:
            self._socket.bind(str(self._path))
        except OSError:
            self._socket.close()
            raise
        finally:
            os.umask(mask)
        self._socket.listen(8)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> Visitor | None:
        """Whoever has come."""
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return None
        connection.setblocking(False)
        return Visitor(connection)

    def close(self) -> None:
        """Nobody is let in any more."""
        self._socket.close()
        self._path.unlink(missing_ok=True)
