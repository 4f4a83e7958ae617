"""The hashes of what an environment for a driver is installed from, for the versions of Ray that are known.

`driver_hashes.json` has the files of each Ray, and of one version of each package that any of them needs.
`python -m tools.driver_hashes` makes it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

FILE = Path(__file__).with_suffix(".json")
FAST_HASHES = ("blake3", "xxhash")


class KnownHashes(msgspec.Struct, frozen=True):
    """SHA-256 by Ray version and by requirement: "click==8.1.8 ; python_full_version < '3.10'"."""

    rays: dict[str, list[str]]
    packages: dict[str, list[str]]

    def for_ray(self, version: str) -> str | None:
        """Requirements of a Ray version and its dependencies, with hashes; None for an unknown version."""
        if version not in self.rays:
            return None
        ray = (f"ray[client]=={version}", self.rays[version])
        return _lines([ray, *self._packages(fast_hashes=False)])

    def for_fast_hashes(self) -> str:
        """The same for the packages with fast hashes."""
        return _lines(self._packages(fast_hashes=True))

    def _packages(self, *, fast_hashes: bool) -> Iterator[tuple[str, list[str]]]:
        for requirement, hashes in self.packages.items():
            if (requirement.partition("==")[0] in FAST_HASHES) is fast_hashes:
                yield requirement, hashes


@functools.cache
def known_hashes() -> KnownHashes:
    """Read the file."""
    return msgspec.json.decode(FILE.read_bytes(), type=KnownHashes)


def _lines(requirements: Iterable[tuple[str, list[str]]]) -> str:
    return "".join(
        f"{requirement} {' '.join(f'--hash=sha256:{digest}' for digest in hashes)}\n"
        for requirement, hashes in requirements
    )
