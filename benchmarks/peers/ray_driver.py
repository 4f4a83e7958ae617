"""The driver of `benchmarks.peers.ray_store`: in the source's host, sends a file through the object store.

    python ray_driver.py HEAD ADDRESS [RECIPIENT...]

reads orders, one JSON object per line, and answers each with a word.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from pathlib import Path

import numpy
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

OBJECT = 4 << 20
IN_FLIGHT = 8


@ray.remote(num_cpus=0, max_concurrency=IN_FLIGHT)  # type: ignore[call-overload]
class Recipient:
    def open(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)

    def write(self, offset: int, data: numpy.ndarray) -> None:
        view = data.data
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written


def send(path: Path, recipients: list) -> None:  # type: ignore[type-arg]
    """Each recipient has at most `IN_FLIGHT` objects in flight; an object is put once for all."""
    on_their_way: list[deque] = [deque() for _ in recipients]  # type: ignore[type-arg]
    with path.open("rb", buffering=0) as file:
        offset = 0
        data = numpy.empty(OBJECT, numpy.uint8)  # `put` copies it
        while count := file.readinto(data.data):
            held = ray.put(data[:count])
            for recipient, waiting in zip(recipients, on_their_way, strict=True):
                if len(waiting) == IN_FLIGHT:
                    ray.get(waiting.popleft())
                waiting.append(recipient.write.remote(offset, held))
            offset += count
    ray.get([reference for waiting in on_their_way for reference in waiting])


def main() -> None:
    head, address, *others = sys.argv[1:]
    ray.init(address=head, _node_ip_address=address, log_to_driver=False, configure_logging=False)
    nodes = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
    recipients = [
        Recipient.options(  # type: ignore[attr-defined]
            scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[other], soft=False)
        ).remote()
        for other in others
    ]
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "open":
            paths = zip(recipients, order["paths"], strict=True)
            ray.get([recipient.open.remote(path) for recipient, path in paths])
            print("opened", flush=True)
        elif order["do"] == "send":
            send(Path(order["path"]), recipients)
            print("sent", flush=True)


if __name__ == "__main__":
    main()
