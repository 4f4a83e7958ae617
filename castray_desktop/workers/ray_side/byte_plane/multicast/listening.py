"""Listening to a group: datagrams become candidates, and the sender hears how many have come.

One thread for each delivery. It checks tags, copies, and reports; what the bytes are worth is decided by the
thread that has the upstream's connection.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from typing import Callable, Optional

from castray_desktop.core.layout import Layout
from castray_desktop.core.multicast import (
    HEADER_BYTES,
    HEADER_FORMAT,
    ZONE_BYTES,
    Keys,
    Report,
    listener_name,
    parse_header,
)
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.multicast.candidates import Candidates, Taken, Wanted
from castray_desktop.workers.ray_side.byte_plane.multicast.sockets import ListeningSocket, report_socket
from castray_desktop.workers.ray_side.protocol import MulticastGroup

log = logging.getLogger("castray.byte_plane")

HEARD_WITHIN = 0.6
"""Seconds until the first datagram; then this network does not carry them."""

SILENT_AFTER = 1.0
"""Seconds without one, after the first: the sender has gone, or a filter has come."""

FOLLOWS_WITHIN = 0.5
LEAST_SHARE = 0.5
JUDGED_FROM = 100
"""Over half a second and at least so many datagrams: whoever gets less than this share can't follow."""

REPORT_SECONDS = 0.02
REPORT_BURSTS = 16
WAIT_SECONDS = 0.02
LAST_REPORTS = 3
BUFFER_BYTES = 1 << 16


class MulticastListener:
    """Takes one cast's datagrams until `stop`, or until it can't follow.

    `wake_fd` becomes readable when there is something to do for whoever checks and places.
    """

    def __init__(
        self,
        group: MulticastGroup,
        own: str,
        node: str,
        keys: Keys,
        layout: Layout,
        wanted: Wanted,
        paused: Callable[[], bool],
    ) -> None:
        """Joins the group. Raises OSError. `own` is this machine's address."""
        self.candidates = Candidates(layout, wanted)
        self.heard = False
        self.reason = ""  # why it has left, if not because it was told to
        self.group = group
        self._own = own
        self._name = listener_name(node)
        self._node = node
        self._keys = keys
        self._wanted = wanted
        self._pieces = layout.pieces
        self._paused = paused
        self._stopped = False
        self._socket = ListeningSocket(group, own)
        self._socket.wait_at_most(WAIT_SECONDS)
        self._reports: Optional[socket.socket] = None
        self._sender: tuple[str, int] = ("", 0)
        self._buffer = page_buffer(BUFFER_BYTES)
        self._views: dict[int, list[memoryview]] = {}
        self._structs: dict[tuple[int, int], struct.Struct] = {}
        self._tags: dict[tuple[int, int], bytes] = {}
        self._base = 0  # the first sequence that was heard
        self._next = 0  # the highest that was heard, plus one
        self._datagrams = 0
        self._payload = 0
        self._number = 0
        self._window: list[tuple[float, int, int]] = []  # time, sequence, datagrams
        self._ended = False
        self.wake_fd, self._waking = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._waking, False)
        self._thread = threading.Thread(target=self._run, name="castray-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def listening(self) -> bool:
        """Whether it takes datagrams still."""
        return not self._stopped

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: what lacks has to be asked for."""
        return self._ended or self._stopped

    def stop(self, reason: str = "") -> None:
        """Leave the group. From any thread."""
        if not self._stopped:
            self.reason = reason
            self._stopped = True

    def close(self) -> None:
        """Stop, wait for the thread, and free what it holds."""
        self.stop()
        self._thread.join()
        os.close(self.wake_fd)
        os.close(self._waking)

    def wake(self) -> None:
        """There is something to do."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._waking, b"x")

    def take_wake(self) -> None:
        """Have `wake_fd` wait for the next time."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 4096)

    # --- the thread

    def _run(self) -> None:
        started = last = reported = time.monotonic()
        bursts = 0
        try:
            while not self._stopped:
                came = self._take()
                now = time.monotonic()
                if self._paused():
                    started = last = now
                    self._window.clear()
                if came:
                    last = now
                    bursts += 1
                elif not self.heard and now - started > HEARD_WITHIN:
                    self.stop("nothing came to the group")
                elif self.heard and now - last > SILENT_AFTER:
                    self.stop("nothing comes to the group any more")
                if self.heard and (bursts >= REPORT_BURSTS or now - reported > REPORT_SECONDS):
                    self._report(False)
                    self._judge(now)
                    bursts, reported = 0, now
        except OSError as error:
            self.stop(error.strerror or str(error))
        except Exception:
            log.exception("listening on %s", self._node)
            self.stop("it failed")
        finally:
            self._leave()

    def _leave(self) -> None:
        if self.reason:
            log.info("%s leaves %s: %s", self._node, self.group.address, self.reason)
        self._socket.close()
        for _ in range(LAST_REPORTS):
            self._report(True)
        if self._reports is not None:
            self._reports.close()
        self.wake()

    def _judge(self, now: float) -> None:
        """Leave if less than half has come lately."""
        window = self._window
        window.append((now, self._next, self._datagrams))
        while len(window) > 2 and now - window[1][0] > FOLLOWS_WITHIN:
            window.pop(0)
        then, sequence, datagrams = window[0]
        sent = self._next - sequence
        judged = now - then >= FOLLOWS_WITHIN and sent >= JUDGED_FROM
        if judged and self._datagrams - datagrams < sent * LEAST_SHARE:
            self.stop("it can't follow")

    def _report(self, leaving: bool) -> None:
        """Tell the sender how it goes. What gets lost of these does no harm: the next one has everything."""
        if self._reports is None:
            return
        self._number += 1
        front = self.candidates.front[0]
        report = Report(
            self._name,
            self._number,
            leaving,
            max(self._next - self._base, 0),
            self._datagrams,
            self._payload,
            int(time.monotonic() * 1e6),
            self._wanted.next_wanted(min(front, self._pieces)),
            self._wanted.is_undecided(),
        )
        with contextlib.suppress(OSError):
            self._reports.send(self._keys.pack_report(report))

    # --- datagrams

    def _take(self) -> bool:
        """One call's datagrams. False: there were none of this cast for a while."""
        try:
            count, segment, where = self._socket.receive(self._buffer)
        except BlockingIOError:
            return False
        number = -(-count // segment) if segment else 0
        if number == 0 or count - (number - 1) * segment < HEADER_BYTES or segment < HEADER_BYTES:
            return False
        heads = self._heads(segment, number)
        tags, sequences, pieces, offsets = heads[0::4], heads[1::4], heads[2::4], heads[3::4]
        payload = segment - HEADER_BYTES
        first = offsets[0]
        straight = (
            (
                pieces[0] == pieces[-1]
                and pieces.count(pieces[0]) == number
                and offsets == tuple(range(first, first + number * payload, payload))
                and sequences == tuple(range(sequences[0], sequences[0] + number))
                and self._tagged(tags, pieces[0], offsets)
            )
            if payload
            else False
        )
        if straight:
            parts = self._parts(segment, number, count)
            self._accept(where, sequences[0], number, pieces[0], first, parts, count - number * HEADER_BYTES)
            return True
        came = False
        for at in range(number):
            tag, sequence, piece, offset = heads[at * 4 : at * 4 + 4]
            if tag == self._tag(piece, offset):
                view = self._buffer[at * segment + HEADER_BYTES : min((at + 1) * segment, count)]
                self._accept(where, sequence, 1 if len(view) else 0, piece, offset, [view], len(view))
                came = True
        return came

    def _tagged(self, tags: tuple[bytes, ...], piece: int, offsets: tuple[int, ...]) -> bool:
        first, last = self._tag(piece, offsets[0]), self._tag(piece, offsets[-1])
        if first == last:
            return tags.count(first) == len(tags)
        return all(tag == self._tag(piece, offset) for tag, offset in zip(tags, offsets))

    def _accept(
        self,
        where: tuple[str, int],
        sequence: int,
        number: int,
        piece: int,
        offset: int,
        parts: list[memoryview],
        length: int,
    ) -> None:
        """Datagrams that carry the cast's tag; none where the sender only says where it is."""
        if where[:2] != self._sender:
            self._meet(where, sequence)
        further = self.candidates.passed(piece, offset)
        taken = self.candidates.take(piece, offset, parts, length) if length else Taken.TAKEN
        self._next = max(self._next, sequence + number)
        if taken is not Taken.NO_ROOM:  # what there is no room for is lost, and the sender has to slow down
            self._datagrams += number
            self._payload += length
        if piece >= self._pieces and not self._ended:
            self._ended = further = True
        if further or taken is Taken.COMPLETED:
            self.wake()

    def _meet(self, where: tuple[str, int], sequence: int) -> None:
        """The first datagram of a sender: counts begin with it."""
        self.heard = True
        self._sender = where[0], where[1]
        self._base = self._next = sequence
        self._datagrams = self._payload = 0
        self._ended = False
        self._window.clear()
        if self._reports is not None:
            self._reports.close()
        self._reports = report_socket(self._own, where)

    def _tag(self, piece: int, offset: int) -> bytes:
        zone = piece, offset // ZONE_BYTES
        tag = self._tags.get(zone)
        if tag is None:
            if len(self._tags) > 256:
                self._tags.clear()
            tag = self._tags[zone] = self._keys.tag(piece, offset)
        return tag

    # --- views that are made once

    def _heads(self, segment: int, number: int) -> tuple:  # type: ignore[type-arg]
        """Tag, sequence, piece and offset of each datagram, one after the other."""
        if number == 1:
            return parse_header(self._buffer)
        layout = self._structs.get((segment, number))
        if layout is None:
            head = HEADER_FORMAT[1:]
            gap = f"{segment - HEADER_BYTES}x"
            layout = struct.Struct("!" + (head + gap) * (number - 1) + head)
            self._structs[segment, number] = layout
        return layout.unpack_from(self._buffer)

    def _parts(self, segment: int, number: int, count: int) -> list[memoryview]:
        """The payloads of `number` datagrams."""
        whole = self._views.get(segment)
        if whole is None:
            if len(self._views) > 8:
                self._views.clear()
            starts = range(0, len(self._buffer) - segment + 1, segment)
            whole = [self._buffer[start + HEADER_BYTES : start + segment] for start in starts]
            self._views[segment] = whole
        if count == number * segment:
            return whole[:number]
        last = (number - 1) * segment
        return [*whole[: number - 1], self._buffer[last + HEADER_BYTES : count]]
