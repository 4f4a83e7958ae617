"""How a recipient and its upstream get a connection: either may dial, and Ray may carry it.

`core.ways` says what is tried when. Whoever is first wins; the other connection is closed.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import select
import socket
import threading
import time
from typing import Callable, NamedTuple, Optional

from castray_desktop.core import ways
from castray_desktop.core.handshake import Greeting, Role
from castray_desktop.core.wire import ProtocolError
from castray_desktop.workers.ray_side.byte_plane.channel import (
    Channel,
    Untrusted,
    begin_connecting,
    connect_local,
)
from castray_desktop.workers.ray_side.byte_plane.surroundings import Carry, Surroundings
from castray_desktop.workers.ray_side.protocol import Upstream
from castray_desktop.workers.ray_side.repeated import Repeated

log = logging.getLogger("castray.byte_plane")

CONNECT_SECONDS = 3.0
HANDSHAKE_SECONDS = 5.0
SILENCE_SECONDS = 5.0
SEND_SECONDS = 10.0
ASK_AGAIN_SECONDS = 1.0
RAY_AGAIN_SECONDS = 2.0


class Asked(NamedTuple):
    """How often a recipient has asked to be dialled, and by whom the last time."""

    times: int = 0
    upstream: str = ""


class Meeting:
    """One delivery's connections. Its thread calls `connect`; all else may come from any thread.

    `changed` is called when the upstream is to be asked (see `asked`), and when it has come.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        cast: str,
        secret: bytes,
        wanted: str,
        changed: Callable[[bool], None],
    ) -> None:
        ways.plan(wanted, ways.DIRECT)
        self.asked = Asked()
        self._around = surroundings
        self._cast = cast
        self._secret = secret
        self._wanted = wanted
        self._changed = changed
        self._lock = threading.Lock()
        self._wake: Optional[tuple[int, int]] = None
        self._closed = False
        self._expected = 0  # the epoch of the upstream that may come; 0: nobody
        self._come: Optional[Channel] = None
        self._using: Optional[Channel] = None  # in its handshake
        self._target: tuple[int, Optional[Upstream]] = (0, None)
        self._since = 0.0
        self._next_ask = 0.0
        self._next_ray = 0.0
        self._no_local_way = Repeated(log, logging.INFO, "no local way to %s")
        self._through = Repeated(log, logging.INFO, "cast %s: to %s through Ray")

    @property
    def has_come(self) -> bool:
        """Whether `connect` would find a connection that the upstream has made."""
        return self._come is not None

    def offer(self, channel: Channel, epoch: int) -> bool:
        """The upstream has dialled and proved itself. True: the channel is ours now."""
        with self._lock:
            if self._closed or epoch != self._expected or self._come is not None:
                return False
            self._come = channel
            self._write_wake()
        self._changed(False)
        return True

    def interrupt(self) -> None:
        """Have `connect` look at once whether it is still wanted."""
        with self._lock:
            self._write_wake()
            if self._using is not None:
                self._using.abort()

    def close(self) -> None:
        """Nothing is wanted any more. For the delivery's thread."""
        with self._lock:
            self._closed = True
            wake, self._wake = self._wake, None
            come, self._come = self._come, None
        for fd in wake or ():
            os.close(fd)
        if come is not None:
            come.close()

    def connect(self, epoch: int, upstream: Upstream, wanted: Callable[[], bool]) -> tuple[Channel, str]:
        """An authenticated channel and the name of its transport, which nothing was read from yet.

        Raises OSError or ProtocolError when there is none yet: pause, and call it again.
        """
        if self._target != (epoch, upstream):
            self._begin(epoch, upstream)
        if self._since == 0.0:
            self._since = time.monotonic()
        try:
            channel, way = self._connect(upstream, epoch, wanted)
        except (ProtocolError, Untrusted):
            self._since = 0.0  # it can be reached, but does not want us
            raise
        with self._lock:
            self._expected = 0
            late, self._come = self._come, None
        if late is not None:
            late.close()
        self._since = 0.0
        if way != ways.LOCAL:
            self._around.learn(upstream, way)
        channel.limit_silence(SILENCE_SECONDS, SEND_SECONDS)
        return channel, way

    def _begin(self, epoch: int, upstream: Upstream) -> None:
        self._target = epoch, upstream
        self._since = self._next_ask = self._next_ray = 0.0
        with self._lock:
            self._expected = 0
            late, self._come = self._come, None
            if self._wake is None:
                self._wake = _pipe()
        if late is not None:
            late.close()

    def _connect(self, upstream: Upstream, epoch: int, wanted: Callable[[], bool]) -> tuple[Channel, str]:
        plan = self._around.plan(upstream, self._wanted)
        if self._wanted != ways.RAY:
            channel = self._locally(upstream)
            if channel is not None:
                return self._prove(channel, epoch), ways.LOCAL
        with self._lock:
            self._expected = epoch
            come, self._come = self._come, None
        if come is not None:
            return come, ways.REVERSE
        now = time.monotonic()
        if self._around.carry is not None and now >= max(self._since + plan.ray_after, self._next_ray):
            if plan.dial_after != math.inf:  # then dialling is tried in between
                self._next_ray = now + RAY_AGAIN_SECONDS
            return self._through_ray(self._around.carry, upstream, epoch), ways.RAY
        if now < self._since + plan.dial_after:
            raise OSError(errno.EHOSTUNREACH, "there is no way through Ray to it")
        return self._dial(upstream, epoch, plan, wanted)

    def _locally(self, upstream: Upstream) -> Optional[Channel]:
        if not (self._around.local_copy and upstream.local_path and upstream.host == self._around.host):
            return None
        try:
            return connect_local(upstream.local_path, CONNECT_SECONDS)
        except OSError:  # another user's, or in another container: its port still works
            self._no_local_way.tell(upstream.node)
            return None

    def _through_ray(self, carry: Carry, upstream: Upstream, epoch: int) -> Channel:
        self._through.tell(self._cast, upstream.node)
        return self._prove(Channel(carry(upstream.node), local=False), epoch)

    def _dial(
        self, upstream: Upstream, epoch: int, plan: ways.Plan, wanted: Callable[[], bool]
    ) -> tuple[Channel, str]:
        """Dial, and ask to be dialled when that takes too long; what comes first."""
        try:
            sock = begin_connecting(self._around.reachable(upstream.address), upstream.port)
            try:
                come = self._await(sock, upstream, plan, wanted)
                if come is not None:
                    sock.close()
                    return come, ways.REVERSE
                channel = self._around.channel(sock, listening=False)
            except BaseException:
                sock.close()
                raise
            return self._prove(channel, epoch), ways.DIRECT
        except Untrusted:
            raise
        except OSError:
            if wanted():
                self._ask(upstream)
            raise

    def _await(
        self, sock: socket.socket, upstream: Upstream, plan: ways.Plan, wanted: Callable[[], bool]
    ) -> Optional[Channel]:
        """Wait for the dialling or for the upstream to come. Raises OSError, also when it is Ray's turn."""
        assert self._wake is not None
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        poll.register(self._wake[0], select.POLLIN)
        started = time.monotonic()
        until = started + CONNECT_SECONDS
        if self._around.carry is not None:
            until = min(until, max(self._since + plan.ray_after, self._next_ray, started))
        while True:
            now = time.monotonic()
            if now >= self._since + plan.ask_after:
                self._ask(upstream)
            events = [until, max(self._since + plan.ask_after, self._next_ask)]
            ready = dict(poll.poll(max(0.0, min(events) - now) * 1000 + 1))
            if self._wake[0] in ready:
                os.read(self._wake[0], 4096)
            with self._lock:
                come, self._come = self._come, None
            if come is not None:
                return come
            if not wanted():
                raise InterruptedError(errno.EINTR, "another upstream is wanted")
            if sock.fileno() in ready:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                return None
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def _ask(self, upstream: Upstream) -> None:
        """Tell the engine that the upstream should dial us; not too often."""
        now = time.monotonic()
        if now < self._next_ask:
            return
        self._next_ask = now + ASK_AGAIN_SECONDS
        self.asked = Asked(self.asked.times + 1, upstream.node)
        self._changed(True)

    def _prove(self, channel: Channel, epoch: int) -> Channel:
        """The handshake, which `interrupt` ends."""
        try:
            with self._lock:
                self._using = channel
            channel.dial(Greeting(Role.FETCH, self._cast, epoch), self._secret, HANDSHAKE_SECONDS)
        except BaseException:
            channel.close()
            raise
        finally:
            with self._lock:
                self._using = None
        return channel

    def _write_wake(self) -> None:
        if self._wake is not None:
            try:
                os.write(self._wake[1], b"x")
            except BlockingIOError:  # it will wake up in any case
                return


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing
