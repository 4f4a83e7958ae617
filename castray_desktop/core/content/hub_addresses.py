"""Addresses of the Hugging Face hub: `hf://[datasets/|spaces/]OWNER/NAME[@REVISION][/PATH]`.

They are spelled as by fsspec's `HfFileSystem`: a revision that contains a slash is written with `%2F`, but
for `refs/pr/N` and `refs/convert/NAME`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

SCHEME = "hf://"
_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
_PART = re.compile(r"[\w.-]{1,96}", re.ASCII)
_REFERENCE = re.compile(r"refs/(?:convert/[\w.-]+|pr/\d+)(?=/|$)")


@dataclass(frozen=True)
class HubAddress:
    """What an address names."""

    kind: str  # model, dataset or space
    repository: str  # OWNER/NAME
    revision: str = ""  # a branch, tag or commit; empty: the default branch
    path: str = ""  # of a file or folder in it; empty: all of it

    def __str__(self) -> str:
        revision = self.revision
        if not _REFERENCE.fullmatch(revision):
            revision = quote(revision, safe="")
        at = f"@{revision}" if revision else ""
        return f"{SCHEME}{self.title}{at}{'/' if self.path else ''}{self.path}"

    @property
    def name(self) -> str:
        """The repository's name without its owner."""
        return self.repository.partition("/")[2]

    @property
    def cache_folder(self) -> str:
        """The repository's folder in a cache of `huggingface_hub`."""
        return f"{self.kind}s--{self.repository.replace('/', '--')}"

    @property
    def title(self) -> str:
        """The repository, as it is written after the scheme."""
        return self.repository if self.kind == "model" else f"{self.kind}s/{self.repository}"


def is_hub_address(text: str) -> bool:
    """Whether the text is meant as an address of the hub."""
    return text[: len(SCHEME)].lower() == SCHEME


def parse_hub_address(text: str) -> HubAddress:
    """Parse an address. Raises ValueError with the reason."""
    parts = text[len(SCHEME) :].strip("/").split("/")
    kind = _KINDS.get(parts[0])
    if kind is not None:
        parts = parts[1:]
    if len(parts) < 2:
        raise ValueError("a repository has an owner and a name")
    name, at, revision = parts[1].partition("@")
    below = "/".join(parts[2:])
    if at:
        rest = f"{revision}/{below}" if below else revision
        reference = _REFERENCE.match(rest)
        if reference is not None:
            revision, below = reference[0], rest[reference.end() :].lstrip("/")
        revision = unquote(revision)
        if not revision:
            raise ValueError("there is no revision after the @")
    for part in (parts[0], name):
        if not _PART.fullmatch(part) or part.strip(".-") != part or "--" in part or ".." in part:
            raise ValueError(f"{part!r} is not a valid name on the Hub")
    if any(part in ("", ".", "..") for part in below.split("/")) and below:
        raise ValueError("the path is incomplete")
    return HubAddress(kind or "model", f"{parts[0]}/{name}", revision, below)
