"""Receipts of deliveries: where each file was put, and its hash.

One file for each delivery, so that delivered files can be verified later.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Optional

from castray_desktop.core.content.file_names import node_file_name
from castray_desktop.core.content.manifest import EntryKind, FileResult, FileStatus, Manifest
from castray_desktop.core.protocol.nodes.agent_protocol import StartDelivery
from castray_desktop.workers.agent.transfer.store.staging import data_folder

MAX_RECEIPTS = 200
MAX_BYTES = 64 << 20
"""Limit for all receipts together; the latest one is kept in any case."""


class ReceiptItem(NamedTuple):
    """One file."""

    name: bytes  # relative to the parcel
    path: bytes  # absolute, where it was put
    size: int
    hash: bytes


class Receipt(NamedTuple):
    """One delivery."""

    algorithm: str
    items: list[ReceiptItem]


def receipt_items(
    manifest: Manifest, results: Sequence[FileResult], places: Mapping[bytes, bytes]
) -> Iterator[ReceiptItem]:
    """The committed files of a parcel. `places` says where, for a file or a folder above it."""
    known = dict(places)
    hashes: dict[bytes, tuple[int, bytes]] = {}
    number = 0
    for entry in manifest.entries:
        if entry.kind is EntryKind.FILE:
            result, number = results[number], number + 1
            if result.status is FileStatus.OK:
                hashes[entry.path] = entry.size, result.hash
        name = entry.target if entry.kind is EntryKind.HARDLINK else entry.path
        if name in hashes:
            yield ReceiptItem(entry.path, _place_of(entry.path, known), *hashes[name])


def _place_of(path: bytes, places: dict[bytes, bytes]) -> bytes:
    if path not in places:
        folder, _, name = path.rpartition(b"/")
        places[path] = _place_of(folder, places) + b"/" + name
    return places[path]


class Receipts:
    """The receipts of this user on this machine, for all nodes."""

    def __init__(self) -> None:
        self._folder = data_folder() / "receipts"

    def save(self, order: StartDelivery, node: str, items: Iterable[ReceiptItem]) -> None:
        """Save one, with the options of its order, and remove the oldest if there are too many.

        Raises OSError.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(order.cast, node)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            facts = {"algorithm": order.algorithms.file, "options": asdict(order.options)}
            file.write(json.dumps({"castray receipt": 1, **facts}) + "\n")
            for item in items:
                where = os.fsdecode(item.name), os.fsdecode(item.path)
                file.write(json.dumps([*where, item.size, item.hash.hex()]) + "\n")
        fresh.replace(path)
        self._prune(path)

    def find(self, cast: str, node: str) -> Optional[Receipt]:
        """The receipt of a delivery; None if there is none that can be read."""
        try:
            lines = self._path(cast, node).read_text("ascii").splitlines()
            return Receipt(str(json.loads(lines[0])["algorithm"]), list(_items(lines[1:])))
        except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            return None

    def _path(self, cast: str, node: str) -> Path:
        return self._folder / f"{cast}-{node_file_name(node)}.jsonl"

    def _prune(self, newest: Path) -> None:
        found = []
        for path in self._folder.glob("*.jsonl"):
            with contextlib.suppress(OSError):  # another agent may have removed it
                facts = path.stat()
                found.append((facts.st_mtime_ns, facts.st_size, path))
        count, size = 0, 0
        for _, its_size, path in sorted(found, reverse=True):
            count, size = count + 1, size + its_size
            if path != newest and (count > MAX_RECEIPTS or size > MAX_BYTES):
                with contextlib.suppress(OSError):
                    path.unlink()


def _items(lines: Iterable[str]) -> Iterator[ReceiptItem]:
    for line in lines:
        name, path, size, hash_ = json.loads(line)
        yield ReceiptItem(os.fsencode(name), os.fsencode(path), int(size), bytes.fromhex(hash_))
