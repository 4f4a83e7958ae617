"""One window for each home: a second start passes its files to the first window and ends.

The window listens on a Unix socket beside the engine's. The second start sends one line of JSON; the
answer is `ok`.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import open_socket

ANSWER_SECONDS = 3.0
MAX_REQUEST_BYTES = 4 * 1024 * 1024
ACCEPTED = b"ok\n"


class HandoverRequest(msgspec.Struct, frozen=True):
    """The request of a second start: files and addresses for the send list, and perhaps another cluster."""

    files: tuple[str, ...] = ()
    cluster: str = ""


def instance_socket_path(paths: Paths) -> Path:
    """The socket path of this home's window."""
    return paths.socket.with_suffix(".window")


def hand_over(paths: Paths, handed: HandoverRequest) -> bool:
    """Pass the request to the window of this home; False if there is none or it does not answer."""
    with socket.socket(socket.AF_UNIX) as door, contextlib.suppress(OSError):
        paths.check()
        door.settimeout(ANSWER_SECONDS)
        door.connect(str(instance_socket_path(paths)))
        door.sendall(msgspec.json.encode(handed) + b"\n")
        return door.recv(16) == ACCEPTED
    return False


@dataclass
class SecondInstance:
    """The connection of a second start."""

    connection: socket.socket
    received: bytes = b""

    def read_request(self) -> HandoverRequest | None:
        """The request, once it is complete. Raises OSError or ValueError for an invalid one."""
        data = self.connection.recv(65536)
        self.received += data
        if len(self.received) > MAX_REQUEST_BYTES:
            raise ValueError("too much")
        if self.received.endswith(b"\n"):
            try:
                return msgspec.json.decode(self.received, type=HandoverRequest)
            except RecursionError as error:
                raise ValueError("it is nested too deeply") from error
        if not data:
            raise ValueError("it went away")
        return None

    def confirm(self) -> None:
        """Confirm the request."""
        with contextlib.suppress(OSError):
            self.connection.send(ACCEPTED)
        self.connection.close()


class InstanceListener:
    """The window's end of the socket. Nothing here blocks; `fileno` can be waited for."""

    def __init__(self, paths: Paths) -> None:
        """Raises OSError if the socket can't be opened."""
        paths.prepare()
        self._path = instance_socket_path(paths)
        self._socket = open_socket(self._path)  # no other window has answered there
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> SecondInstance | None:
        """Accept a connection."""
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return None
        connection.setblocking(False)
        return SecondInstance(connection)

    def close(self) -> None:
        """Stop accepting connections."""
        self._socket.close()
        self._path.unlink(missing_ok=True)
