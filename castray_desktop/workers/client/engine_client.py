"""The connection of a client to the engine, which it starts if none runs; reading frames, at both ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import MAX_FRAME_BYTES
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import open_private


async def read_body(reader: asyncio.StreamReader, limit: int = MAX_FRAME_BYTES) -> bytes:
    """Read the body of the next frame.

    Raises EOFError at the connection's end, ValueError for a frame of more than `limit` bytes.
    """
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > limit:
        raise ValueError(f"a frame of {length} bytes is too long")
    return await reader.readexactly(length)


ReplyType = TypeVar("ReplyType", bound=messages.Message)

ENGINE_START_SECONDS = 60.0
"""An engine that is stopping may hold the lock for a while, and on a busy machine one starts slowly. The
client notices at once if it fails.
"""

WELCOME_SECONDS = 5.0
CONNECT_SECONDS = 0.02
RETRY_SECONDS = 0.2
CLOSE_SECONDS = 1.0

# SO_PEERCRED begins with the process id; macOS has SOL_LOCAL and LOCAL_PEERPID, which Python does not name.
_PEER_PID = (socket.SOL_SOCKET, socket.SO_PEERCRED) if sys.platform == "linux" else (0, 2)


class EngineClient:
    """A connection to the engine.

    Created with `connect`. `welcome` is the last complete state. `request` sends a command and waits for its
    reply; `events` yields all other messages in order, until the connection ends.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, welcome: messages.Welcome
    ) -> None:
        self.welcome = welcome
        self._reader = reader
        self._writer = writer
        self._answers: dict[int, asyncio.Future[messages.Reply]] = {}
        self._events: asyncio.Queue[messages.Event | None] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._closed = False
        self._receiving = asyncio.create_task(self._receive(), name="engine client")

    @classmethod
    async def connect(cls, paths: Paths, kind: str, *, start: bool = True) -> EngineClient:
        """Connect to this home's engine; with `start`, start one if none runs.

        Raises CastRayError: ENGINE_UNREACHABLE when there is none, or it did not come up in time,
        ENGINE_VERSION when it speaks another version of the protocol, HOME_NEWER when none runs and a later
        version of the program has written the home.
        """
        try:
            paths.check()
        except OSError as error:
            raise _unreachable(str(error)) from error
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                return await cls._open(paths, kind)
        except TimeoutError:
            raise _unreachable("it does not respond") from None
        except OSError:
            if not start:
                raise _unreachable("no engine is running") from None
        try:
            async with asyncio.timeout(ENGINE_START_SECONDS):
                return await cls._start(paths, kind)
        except TimeoutError:
            raise _unreachable("it took too long") from None
        except OSError as error:
            raise _unreachable(str(error)) from error

    @classmethod
    async def _start(cls, paths: Paths, kind: str) -> EngineClient:
        """Start an engine and connect to it, or to another one that started first. Raises OSError."""
        process = await asyncio.to_thread(start_engine, paths)
        while True:
            with contextlib.suppress(OSError):
                client = await cls._open(paths, kind)
                started = client.welcome.pid == process.pid
                client.welcome = msgspec.structs.replace(client.welcome, started=started)
                return client
            status = process.poll()
            if status not in (None, 0):
                raise _unreachable(f"it failed, see the log in {paths.log}")
            await asyncio.sleep(CONNECT_SECONDS if status is None else RETRY_SECONDS)
            if status == 0:  # another engine serves this home; it may be stopping
                process = await asyncio.to_thread(start_engine, paths)

    @classmethod
    async def _open(cls, paths: Paths, kind: str) -> EngineClient:
        reader, writer = await asyncio.open_unix_connection(str(paths.socket))
        try:
            writer.write(messages.encode(messages.Hello(messages.PROTOCOL_VERSION, kind)))
            match await _read_message(reader):
                case messages.Welcome() as welcome:
                    return cls(reader, writer, welcome)
                case messages.Failed(failure):
                    raise CastRayError.of(failure)
                case _:
                    raise CastRayError(FailureKind.ENGINE_VERSION)
        except EOFError as error:
            writer.close()
            raise ConnectionError("the engine closed the connection") from error
        except ValueError as error:
            writer.close()
            raise CastRayError(FailureKind.ENGINE_VERSION) from error
        except BaseException:
            writer.close()
            raise

    async def request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        """Send a command and return its reply, which is of the type `expect`.

        Raises CastRayError with the engine's reason when the command could not be carried out, or
        ENGINE_UNREACHABLE when the connection ends first.
        """
        if self._closed:
            raise _unreachable("the connection was closed")
        number = next(self._numbers)
        future: asyncio.Future[messages.Reply] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            self._writer.write(_frame(messages.Request(number, command)))
            reply = await future
        finally:
            self._answers.pop(number, None)
        if isinstance(reply, messages.Failed):
            raise CastRayError.of(reply.failure)
        if not isinstance(reply, expect):
            raise CastRayError(FailureKind.INTERNAL, reason=f"unexpected reply {type(reply).__name__}")
        return reply

    async def events(self) -> AsyncIterator[messages.Event]:
        """All events since connecting, for one reader."""
        while (event := await self._events.get()) is not None:
            yield event
        self._events.put_nowait(None)  # for the next reader

    async def close(self) -> None:
        """Close the connection. Does nothing the second time."""
        self._receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._receiving
        self._writer.close()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    async def _receive(self) -> None:
        try:
            while True:
                message = await _read_message(self._reader)
                if isinstance(message, messages.Answer):
                    future = self._answers.get(message.number)
                    if future is not None and not future.done():
                        future.set_result(message.reply)
                elif not isinstance(message, messages.Failed):
                    if isinstance(message, messages.Welcome):
                        self.welcome = msgspec.structs.replace(message, started=self.welcome.started)
                    self._events.put_nowait(message)
        except (EOFError, OSError, ValueError):
            pass
        finally:
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._events.put_nowait(None)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(_unreachable("the engine has stopped"))


def _unreachable(reason: str) -> CastRayError:
    return CastRayError(FailureKind.ENGINE_UNREACHABLE, reason=reason)


def _frame(request: messages.Request) -> bytes:
    """Encode a request; raises CastRayError(NOT_SENDABLE) for a name that the protocol can't carry."""
    try:
        return messages.encode(request)
    except UnicodeEncodeError as error:
        raise CastRayError(
            FailureKind.NOT_SENDABLE, path=display_name(error.object), what="a name that is not UTF-8"
        ) from error
    except ValueError as error:
        raise CastRayError(FailureKind.INTERNAL, reason=str(error)) from error


async def _read_message(reader: asyncio.StreamReader) -> messages.FromEngine:
    return messages.decode_from_engine(await read_body(reader))


def engine_is_running(paths: Paths) -> bool:
    """Whether this home's engine runs, even if it is busy or stopping."""
    try:
        with paths.lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def end_other_engine(paths: Paths) -> None:
    """End an engine that speaks another version of the protocol, as StopEngine does. Raises OSError.

    It is the process at the other end of the socket: an engine of any version ends at SIGTERM.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(paths.socket))
        peer = int.from_bytes(connection.getsockopt(*_PEER_PID, 4), sys.byteorder)
    if not peer:  # it runs in another container; 0 would signal the processes of this one's group
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    os.kill(peer, signal.SIGTERM)


def start_engine(
    paths: Paths, spawn: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
) -> subprocess.Popen[bytes]:
    """Start an engine that outlives this process's terminal. Raises OSError, or CastRayError(HOME_NEWER)."""
    paths.prepare()
    environment = os.environ | {"CASTRAY_HOME": str(paths.home)}
    with open_private(paths.log / "engine-start.log", "wb") as output:
        return spawn(
            [sys.executable, "-m", "castray_desktop.workers.engine.process"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=paths.home,  # `-m` searches this folder, not the caller's, for modules
            env=environment,
        )
