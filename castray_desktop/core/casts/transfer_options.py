"""The options that a user can choose for a cast, carried unchanged from the interfaces to the nodes.

Shipped to nodes: standard library only.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.content.hub_addresses import is_hub_address
from castray_desktop.core.content.urls import redacted_url
from castray_desktop.core.failures.kinds import CastRayError, FailureKind


class OnConflict(str, enum.Enum):
    """What to do if a file of the same name exists."""

    SKIP = "skip"  # an identical file is kept, a different one gets a free name
    RENAME = "rename"  # always a free name
    OVERWRITE = "overwrite"


class Links(str, enum.Enum):
    """How symbolic links are sent."""

    AUTO = "auto"  # those that were chosen or lead out of the parcel as what they point to, others as links
    KEEP = "keep"
    FOLLOW = "follow"


class TransportOption(str, enum.Enum):
    """Which transports a cast may use."""

    AUTO = "auto"
    DIRECT = "direct"  # direct connections only, in either direction
    RAY = "ray"  # through Ray only
    UDP = "udp"  # multicast; the relay chain delivers the rest


class Encryption(str, enum.Enum):
    """Whether the connections between machines are encrypted."""

    AUTO = "auto"  # wherever both ends can
    ALWAYS = "always"  # a recipient that can't fails
    NEVER = "never"


class Layout(str, enum.Enum):
    """How a repository of the Hugging Face hub is laid out at the recipients."""

    PLAIN = "plain"  # a folder with its files
    HF_CACHE = "hf-cache"  # as `huggingface_hub` keeps it in its cache: blobs, references, snapshots of links


@dataclass(frozen=True)
class TransferOptions:
    """How files are sent. Requests, checkpoints, schedules and the orders to agents hold one of these."""

    destination: str = ""  # absolute, may contain {node}; empty: each node's inbox
    on_conflict: OnConflict = OnConflict.SKIP
    links: Links = Links.AUTO
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()  # patterns of the files that alone are sent; none: all
    limit: int = 0  # bytes per second on every hop; 0: none
    transport: TransportOption = TransportOption.AUTO
    encrypt: Encryption = Encryption.AUTO
    await_offline: bool = False  # offline recipients are served when they come back
    remove_extra: bool = False  # with OVERWRITE: prune entries that a sent folder no longer has
    layout: Layout = Layout.PLAIN
    hook: str = ""  # command run on each recipient after its delivery, if allowed

    @property
    def patterns(self) -> NamePatterns:
        """Which names are sent."""
        return NamePatterns(self.exclude, self.include)

    def check(self, paths: Iterable[str]) -> None:
        """Refuse options that contradict each other, or what is sent. Raises CastRayError.

        Pruning requires `overwrite`: with other policies a recipient's `model (2).bin` would be removed.
        """
        if self.remove_extra and self.on_conflict is not OnConflict.OVERWRITE:
            raise CastRayError(FailureKind.REMOVE_EXTRA_REFUSED)
        if self.transport is TransportOption.UDP and self.encrypt is Encryption.ALWAYS:
            raise CastRayError(FailureKind.ENCRYPTED_MULTICAST)
        if self.layout is Layout.HF_CACHE:
            for path in paths:
                if not is_hub_address(path):
                    raise CastRayError(FailureKind.CACHE_LAYOUT_REFUSED, path=redacted_url(path))
            if self.on_conflict is OnConflict.RENAME:
                raise CastRayError(FailureKind.CACHE_LAYOUT_RENAMED)

    def settled(self) -> TransferOptions:
        """These options, with what follows from the layout.

        In a cache, what a branch or tag refers to is replaced by what it refers to now. Everything else is
        named by its contents.
        """
        if self.layout is Layout.HF_CACHE:
            return replace(self, on_conflict=OnConflict.OVERWRITE)
        return self

    def with_default_encryption(self, encrypt: Encryption) -> TransferOptions:
        """These options, with `encrypt` in place of AUTO."""
        return replace(self, encrypt=encrypt) if self.encrypt is Encryption.AUTO else self


def nest_options(stored: Any) -> Any:
    """A stored request or summary with its options in `options`; older versions had them beside the rest."""
    if "options" in stored:
        return stored
    names = {field.name for field in fields(TransferOptions)}
    options = {name: value for name, value in stored.items() if name in names}
    return {**{name: value for name, value in stored.items() if name not in names}, "options": options}
