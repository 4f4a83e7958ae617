"""A recipient in its own process, which tests can kill: it reads orders and writes reports as lines.

    python -m tests.workers.agent.transfer.recipient FOLDER NAME [die=N | stop=N | remove=N]

With `die=N` the process kills itself at the N-th rename, before it (`die=-N`) or after it; with `stop=N` it
suspends itself there; with `remove=N` it kills itself before it removes the N-th file that the source no
longer has.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from castray_desktop.core.protocol.nodes import agent_orders, json_codec
from castray_desktop.core.protocol.nodes.driver_protocol import PlaceAgent
from castray_desktop.workers.agent.transfer.delivery.prune import Pruner
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.transfer_service import TransferService


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    if len(sys.argv) > 3:
        verb, _, number = sys.argv[3].partition("=")
        {"die": die_at, "stop": stop_at, "remove": die_removing}[verb](int(number))
    first = json_codec.from_json(sys.stdin.buffer.readline(), agent_orders.Order)
    ready, lock = threading.Event(), threading.Lock()

    def changed(urgent: bool) -> None:
        ready.wait()
        with lock:
            for report in plane.drain_reports()[1]:
                sys.stdout.write(json_codec.to_json(report).decode() + "\n")
                sys.stdout.flush()

    inbox = str(folder / "inbox" / name)
    plane = TransferService(
        PlaceAgent(name, inbox, "127.0.0.1", engine="engine", keep=(first.cast,)),
        ConnectionFactory(name, "here", local_copy=False, address="127.0.0.1"),
        changed,
        PeerTiming(lost_after=5, grace=5),
    )
    plane.start()
    ready.set()
    plane.carry_out(first)
    for line in sys.stdin.buffer:
        plane.carry_out(json_codec.from_json(line, agent_orders.Order))
    plane.close()


def die_at(number: int, how: signal.Signals = signal.SIGKILL) -> None:
    rename, count = linux_calls.rename_without_replacing, 0

    def renamed(source: bytes, source_folder: int, target: bytes, target_folder: int) -> None:
        nonlocal count
        count += 1
        if count == -number:
            signal.pthread_kill(threading.get_ident(), how)
        try:
            rename(source, source_folder, target, target_folder)
        finally:
            if count == number:
                signal.pthread_kill(threading.get_ident(), how)

    linux_calls.rename_without_replacing = renamed


def stop_at(number: int) -> None:
    die_at(number, signal.SIGSTOP)


def die_removing(number: int) -> None:
    drop, count = Pruner._drop, 0

    def dropped(finder: Pruner, folder: int, name: bytes, *more: Any) -> bool:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return drop(finder, folder, name, *more)

    Pruner._drop = dropped  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
