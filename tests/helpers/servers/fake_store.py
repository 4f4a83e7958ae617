"""A store that exists in a test alone. Its links have a number, and expire as the test says."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources.address_resolver import AddressResolver
from castray_desktop.workers.sources.store_protocol import Waits

ADDRESS = "s3://bucket/model.bin"


class FakeStore:
    """Implements `Store`."""

    def __init__(self, *files: RemoteFile) -> None:
        self.files = files or (RemoteFile("model.bin", "", 1 << 30, '"v1"', address=ADDRESS),)
        self.seconds = 3600.0  # that links are valid
        self.most = 1000  # that get links at once
        self.host = "https://store.example"
        self.listed: list[str] = []
        self.renewals = 0
        self.failures: list[Failure] = []  # of the next renewals
        self.renewed = asyncio.Event()

    async def list_files(
        self, address: str, options: TransferOptions, waits: Waits
    ) -> tuple[RemoteFile, ...]:
        self.listed.append(address)
        return self.files

    async def with_links(self, files: Sequence[RemoteFile], waits: Waits) -> tuple[RemoteFile, ...]:
        self.renewals += 1
        self.renewed.set()
        if self.failures:
            raise CastRayError.of(self.failures.pop(0))
        return tuple(
            dataclasses.replace(
                file,
                url=f"{self.host}/{file.path}?signature=secret{self.renewals}",
                authorization="Bearer secret",
                expires=time.time() + self.seconds,
            )
            if number < self.most
            else file
            for number, file in enumerate(files)
        )

    @property
    def resolver(self) -> AddressResolver:
        """Resolves addresses of object stores by this store."""
        return AddressResolver({"s3": lambda: self, "hf": lambda: self})
