"""A model of a multicast sender's network, in steps of a millisecond: one shared link with a queue, then a
link to each receiver, other flows on the shared link, losses, and receivers that pause for a moment.

Bytes flow in portions that record when and by which flow they were sent. Full queues drop new portions
(drop-tail).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from castray_desktop.core.multicast.congestion_control import MulticastCongestionControl
from castray_desktop.core.multicast.datagrams import ReceiverReport

STEP = 0.001
DATAGRAM = 1452
SEGMENT = 1448


@dataclass
class Portion:
    """Datagrams of one burst that travel together. `flow` 0 is the multicast, others are numbered."""

    flow: int
    count: float  # datagrams or segments
    last: int  # the sequence number after the last one
    sent_at: float


class Queue:
    """A FIFO queue that sends `rate` bytes per second, with room for `room` bytes."""

    def __init__(self, rate: float, room: float) -> None:
        self.rate = rate
        self.room = room
        self.length = 0.0  # bytes
        self.waiting: deque[Portion] = deque()
        self._credit = 0.0

    def arrive(self, portions: list[Portion], size: int) -> list[Portion]:
        """Drop the same share of every portion that arrives within one step."""
        total = sum(portion.count for portion in portions) * size
        room = self.room + self.rate * STEP - self.length
        kept = 1.0 if total <= room else max(0.0, room / total)
        dropped = []
        for portion in portions:
            if kept < 1:
                dropped.append(
                    Portion(portion.flow, portion.count * (1 - kept), portion.last, portion.sent_at)
                )
                portion.count *= kept
            self.length += portion.count * size
            self.waiting.append(portion)
        return dropped

    def serve(self, size: int) -> list[Portion]:
        """The portions that leave within one step."""
        self._credit = min(self._credit + self.rate * STEP, max(self.rate * STEP, self.length))
        done = []
        while self.waiting and self._credit > 0:
            portion = self.waiting[0]
            count = min(portion.count, self._credit / size)
            self._credit -= count * size
            self.length -= count * size
            if count >= portion.count - 1e-9:
                done.append(self.waiting.popleft())
            else:
                portion.count -= count
                done.append(
                    Portion(portion.flow, count, portion.last - round(portion.count), portion.sent_at)
                )
        if not self.waiting:
            self.length = self._credit = 0.0
        return done


class Flow(Protocol):
    """A competing flow on the shared link."""

    def send(self, now: float) -> float:
        """The number of segments that it sends in this step."""

    def acknowledged(self, now: float, count: float, round_trip: float) -> None:
        """This number of segments has arrived."""

    def lost(self, now: float, count: float) -> None:
        """This number of segments was dropped."""


class Cubic:
    """TCP with CUBIC (RFC 9438), with its Reno-friendly region and slow start, in segments."""

    def __init__(self, start: float = 0.0) -> None:
        self.start = start
        self.window = 10.0
        self.flying = 0.0
        self.most = 0.0
        self.threshold = inf
        self.cut_at = -inf
        self.friendly = 0.0
        self.round_trip = 0.01

    def send(self, now: float) -> float:
        if now < self.start:
            return 0.0
        count = max(0.0, self.window - self.flying)
        self.flying += count
        return count

    def acknowledged(self, now: float, count: float, round_trip: float) -> None:
        self.flying -= count
        self.round_trip = round_trip
        if self.window < self.threshold:
            self.window += count
            return
        self.friendly += 0.53 * count / self.window
        age = now - self.cut_at
        turn = (self.most * 0.3 / 0.4) ** (1 / 3)
        target = min(0.4 * (age + round_trip - turn) ** 3 + self.most, 1.5 * self.window)
        if target > self.window:
            self.window += (target - self.window) * count / self.window
        self.window = max(self.window, self.friendly)

    def lost(self, now: float, count: float) -> None:
        self.flying -= count
        if count and now - self.cut_at > self.round_trip:
            self.most = self.window
            self.window = self.threshold = self.friendly = max(4.0, 0.7 * self.window)
            self.cut_at = now


class Bbr:
    """TCP with BBR, version 1: a cycle of gains, at most two bandwidth-delay products in flight."""

    def __init__(self, start: float = 0.0, rate: float = 1e6) -> None:
        self.start = start
        self.flying = 0.0
        self.least = inf
        self.samples: deque[tuple[float, float]] = deque()
        self.came = 0.0
        self.sampled_at = start
        self.credit = 0.0
        self.rate = rate / SEGMENT
        self.full = 0
        self.starting = True

    def send(self, now: float) -> float:
        if now < self.start:
            return 0.0
        trip = self.least if self.least < inf else 0.01
        gain = 2.89 if self.starting else (1.25, 0.75, 1, 1, 1, 1, 1, 1)[int((now - self.start) / trip) % 8]
        self.credit = min(self.credit + self.rate * gain * STEP, self.rate * gain * 3 * STEP)
        most = (2.89 if self.starting else 2.0) * self.rate * trip + 3 * min(44.0, self.rate / 1024)
        room = max(4.0, most) - self.flying
        count = max(0.0, min(self.credit, room))
        self.credit -= count
        self.flying += count
        return count

    def acknowledged(self, now: float, count: float, round_trip: float) -> None:
        self.flying -= count
        self.least = min(self.least, round_trip)
        self.came += count
        if now - self.sampled_at >= max(self.least, 2 * STEP) - 1e-9:
            before = self.rate
            self.samples.append((now, self.came / (now - self.sampled_at)))
            while self.samples[0][0] < now - 10 * max(self.least, 2 * STEP):
                self.samples.popleft()
            self.rate = max(rate for _, rate in self.samples)
            self.came, self.sampled_at = 0.0, now
            self.full = 0 if self.rate > 1.25 * before else self.full + 1
            self.starting = self.starting and self.full < 3

    def lost(self, now: float, count: float) -> None:
        self.flying -= count


class Flood:
    """A flow without congestion control, at `rate` bytes per second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def send(self, now: float) -> float:
        return self.rate * STEP / SEGMENT

    def acknowledged(self, now: float, count: float, round_trip: float) -> None:
        pass

    def lost(self, now: float, count: float) -> None:
        pass


REST = 0.006  # average seconds in which another process has the sender's processor


@dataclass
class Receiver:
    """A receiver of the model with its own link. During `stops` it does not read; its socket overflows."""

    name: bytes
    link: Queue | None = None
    lose: float = 0.0  # at random
    every: float = 0.025  # seconds between reports
    stops: tuple[tuple[float, float], ...] = ()
    socket_bytes: float = 2e6
    socket: Queue | None = None  # the rate at which it reads, if it is slow
    gone_at: float = inf
    clock: float = 0.0  # offset of its clock
    drift: float = 1.0  # and its drift
    sequence: int = 0
    datagrams: float = 0.0
    arrived: float = 0.0  # the arrival time of the latest datagram
    pending: float = 0.0  # datagrams in the socket
    number: int = 0
    next_at: float = 0.0
    coming: deque[tuple[float, Portion]] = field(default_factory=deque)


class Network:
    """Runs congestion control against the model and records its behaviour."""

    def __init__(
        self,
        control: MulticastCongestionControl,
        receivers: list[Receiver],
        *,
        rate: float = 125e6,
        room: float = 2.5e6,
        delay: float = 0.0005,
        flows: tuple[Flow, ...] = (),
        limit: float = inf,
        socket_bytes: float = inf,
        rests: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.control = control
        self.receivers = receivers
        self.shared = Queue(rate, room)
        self.delay = delay
        self.flows = flows
        self.limit = limit
        self.socket_bytes = socket_bytes  # the sender waits while the queue holds more than this
        self.rests = rests  # the share of time in which the sender does not run
        self.random = random.Random(seed)
        self._run_again_at = 0.0
        self.now = 100.0
        self.start = self.now
        self.sequence = 0
        self.sent = 0.0  # bytes
        self.carried = [0.0] * (1 + len(flows))  # bytes that passed the shared link
        self.reports: deque[tuple[float, ReceiverReport]] = deque()
        self.answers: deque[tuple[float, Portion]] = deque()
        self.rates: list[float] = []  # the rate in each step
        self._credit = 0.0
        self._last_step = -1
        for receiver in receivers:
            receiver.next_at = self.now + self.random.random() * receiver.every

    @property
    def elapsed(self) -> float:
        return self.now - self.start

    def run(self, seconds: float) -> Network:
        until = self.elapsed + seconds
        while self.elapsed < until - 1e-9:
            self.step()
        return self

    def step(self) -> None:
        self.now += STEP
        arriving = []
        if portion := self._send():
            arriving.append(portion)
        for number, flow in enumerate(self.flows, 1):
            if count := flow.send(self.elapsed):
                arriving.append(Portion(number, count, 0, self.now))
        for portion in self.shared.arrive(arriving, DATAGRAM):
            if portion.flow:
                self.flows[portion.flow - 1].lost(self.elapsed, portion.count)
        for portion in self.shared.serve(DATAGRAM):
            self.carried[portion.flow] += portion.count * DATAGRAM
            if portion.flow:
                self.answers.append((self.now + 2 * self.delay, portion))
            else:
                for receiver in self.receivers:
                    receiver.coming.append((self.now + self.delay, portion))
        while self.answers and self.answers[0][0] <= self.now:
            _, portion = self.answers.popleft()
            round_trip = self.now - portion.sent_at + STEP
            self.flows[portion.flow - 1].acknowledged(self.elapsed, portion.count, round_trip)
        for receiver in self.receivers:
            self._receive(receiver)
        while self.reports and self.reports[0][0] <= self.now:
            self.control.record_report(self.now, self.reports.popleft()[1])
            self.control.update(self.now)
        self.rates.append(self.control.rate)

    def _send(self) -> Portion | None:
        earned = min(self.control.rate, self.limit) * STEP / DATAGRAM
        burst = self.control.burst_datagrams(DATAGRAM)
        self._credit = min(self._credit + earned, 4 * earned + burst)
        count = int(self._credit) // burst * burst
        if not count or self.shared.length > self.socket_bytes or self._is_resting():
            return None
        self._credit -= count
        self.control.record_burst(self.now, self.sequence, count, count * DATAGRAM)
        self.sequence += count
        self.sent += count * DATAGRAM
        return Portion(0, float(count), self.sequence, self.now)

    def _is_resting(self) -> bool:
        if self.rests and self.now >= self._run_again_at and self.random.random() < self.rests * STEP / REST:
            self._run_again_at = self.now + REST * (0.5 + self.random.random())
        return self.now < self._run_again_at

    def _receive(self, receiver: Receiver) -> None:
        simple = receiver.link is None and receiver.socket is None and not receiver.stops
        if simple and self.now < receiver.next_at:
            return  # arrived data is counted at the next report
        arrived, came_at = [], receiver.arrived
        while receiver.coming and receiver.coming[0][0] <= self.now:
            came_at, portion = receiver.coming.popleft()
            arrived.append(Portion(0, portion.count, portion.last, portion.sent_at))
        if receiver.link is not None:
            came_at = self.now
            receiver.link.arrive(arrived, DATAGRAM)
            arrived = receiver.link.serve(DATAGRAM)
        if receiver.socket is not None:
            came = [Portion(0, portion.count, portion.last, self.now) for portion in arrived]
            receiver.socket.arrive(came, DATAGRAM)
            arrived = receiver.socket.serve(DATAGRAM)
            came_at = arrived[-1].sent_at if arrived else receiver.arrived
        for portion in arrived:
            count = portion.count
            if receiver.lose:
                spread = (count * receiver.lose * (1 - receiver.lose)) ** 0.5
                count -= min(count, max(0.0, self.random.gauss(count * receiver.lose, spread)))
            room = inf if simple else receiver.socket_bytes / DATAGRAM - receiver.pending
            receiver.pending += min(count, room)
            if count and room > 0:
                receiver.sequence, receiver.arrived = portion.last, came_at
        elapsed = self.elapsed
        if elapsed > receiver.gone_at or any(begin <= elapsed < end for begin, end in receiver.stops):
            return
        receiver.datagrams += receiver.pending
        receiver.pending = 0.0
        if self.now >= receiver.next_at:
            receiver.next_at = self.now + receiver.every * (0.8 + 0.4 * self.random.random())
            receiver.number += 1
            came = int(receiver.datagrams)
            micros = int((receiver.arrived * receiver.drift + receiver.clock) * 1e6)
            report = ReceiverReport(
                receiver.name,
                receiver.number,
                False,
                receiver.sequence,
                came,
                came * DATAGRAM,
                micros,
                0,
                crowded=receiver.socket is not None and receiver.socket.length > receiver.socket.room / 2,
            )
            self.reports.append((self.now + self.delay, report))
