"""A file system in memory with huge pages, for the sources and destinations of every tool alike.

With pages of 4 KiB, as /dev/shm has them, most of what a recipient costs here is the making of new pages:
0.32 s of a core for each GiB written, against 0.04 s with pages of 2 MiB. Where one machine is all hosts,
that would measure its memory rather than a relay.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def memory_disk(prefix: str) -> Iterator[Path]:
    """An empty folder on a tmpfs of its own, which is gone afterwards with all that is in it.

    Needs root. Without huge pages where the kernel has none. Raises CalledProcessError.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp") as name:
        mount(name)
        try:
            yield Path(name)
        finally:
            # Lazily: a process that was killed a moment ago may still hold a file.
            subprocess.run(["umount", "--lazy", name], check=True)


def mount(folder: str) -> None:
    """Raises CalledProcessError."""
    plain = ["mount", "-t", "tmpfs", "castray", folder, "-o", "size=90%,mode=700"]
    if subprocess.run([*plain, "-o", "huge=within_size"], stderr=subprocess.DEVNULL, check=False).returncode:
        subprocess.run(plain, check=True)
