"""Faults of processes and links on a `RayStage`: made, lasting for 20 s, and taken back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable

from benchmarks.laboratory.lab import Host
from tests.faults.fault_cells import Component, Fault
from tests.faults.ray_stage import RATE, RayStage

FAULT_SECONDS = 20.0
LOSS = 0.05
SLOW_SHARE = 100


def slow_rate(rate: str = RATE) -> str:
    """One hundredth of a rate, as `tc` writes it."""
    return f"{int(rate.removesuffix('mbit')) * 1000 // SLOW_SHARE}kbit"


def send_signal(processes: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes of this stage; those that have ended are passed over."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class StageFault:
    """One fault of one component. `victim` is the node that the component is, or runs on."""

    def __init__(
        self, stage: RayStage, component: Component, fault: Fault, victim: str, window: tuple[int, ...] = ()
    ) -> None:
        """`window` are the processes of the client that sends."""
        self._stage = stage
        self._component = component
        self._fault = fault
        self._host: Host = stage.host(victim)
        self.victim = victim
        self._window = window
        self._stopped: list[int] = []

    def processes(self) -> list[int]:
        """The component's processes. Raises RuntimeError if there are none."""
        stage = self._stage
        match self._component:
            case Component.ENGINE:
                found = stage.engine()
            case Component.WINDOW:
                found = list(self._window)
            case Component.DRIVER:
                found = stage.drivers()
            case Component.RAYLET:
                found = stage.ray_processes(self._host, b"raylet")
            case Component.HEAD:
                found = stage.ray_processes(self._host, b"gcs_server", b"raylet")
            case _:
                found = stage.agents(self.victim)
        if not found:
            raise RuntimeError(f"the {self._component} has no process")
        return found

    def make(self) -> None:
        """Make it."""
        lab = self._stage.lab
        match self._fault:
            case Fault.KILLED:
                send_signal(self.processes(), signal.SIGKILL)
            case Fault.SUSPENDED:
                self._stopped = self.processes()
                send_signal(self._stopped, signal.SIGSTOP)
            case Fault.CUT:
                lab.set_link(self._host, up=False)
            case Fault.SLOW_LINK:
                lab.set_rate(self._host, slow_rate())
            case Fault.LOSS:
                lab.set_loss(self._host, LOSS)
                lab.set_loss_behind(self._host, LOSS)
            case _:
                raise ValueError(f"{self._fault} is no fault of a process or a link")

    async def last(self) -> None:
        """Wait for its 20 s, if it is one that passes, and take it back."""
        if self._fault in (Fault.SUSPENDED, Fault.CUT, Fault.SLOW_LINK):
            await asyncio.sleep(FAULT_SECONDS)
            self.take_back()

    def take_back(self) -> None:
        """The link is as before, and what was stopped goes on. What was killed stays so."""
        send_signal(self._stopped, signal.SIGCONT)
        self._stopped = []
        lab = self._stage.lab
        match self._fault:
            case Fault.CUT:
                lab.set_link(self._host, up=True)
            case Fault.SLOW_LINK:
                lab.set_rate(self._host, RATE)
            case Fault.LOSS:
                lab.set_loss(self._host, 0.0)
                lab.set_loss_behind(self._host, 0.0)
