"""Files that stand at the destination, compared by their hashes with those that the source knows already."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from castray_desktop.workers.ray_side.byte_plane.digests import Hasher
from castray_desktop.workers.ray_side.byte_plane.hash_cache import FileKey, HashCache, hash_file
from castray_desktop.workers.ray_side.byte_plane.twins import Twins


def same_hash(
    twins: Twins,
    hashes: Sequence[bytes],
    cache: HashCache,
    algorithm: str,
    new_hasher: Callable[[], Hasher],
    went_on: Callable[[], None],
) -> dict[int, bool]:
    """The twins that have the hash of the file that comes; True for those in which a later write would show.

    What the cache does not know is read. `went_on` is called now and then, and may raise to end it.
    """
    keys: dict[int, FileKey] = {}
    for file, hash_ in enumerate(hashes):
        if hash_ and file in twins:
            try:
                keys[file] = FileKey.of(twins.systems.lstat(twins.place(file)))
            except OSError:
                continue
    now = time.time_ns()
    lasting = (
        key
        for file, key in keys.items()
        if key.is_settled(now, twins.systems.is_remote(key.device, twins.place(file)))
    )
    known = cache.find(algorithm, lasting)
    learned: dict[FileKey, bytes] = {}
    agreed: dict[int, bool] = {}
    for file, key in keys.items():
        mine, settled = known.get(key), True
        if mine is None:
            try:
                read, mine = hash_file(twins.place(file), new_hasher, went_on)
            except OSError:
                continue
            settled = read is not None
            if read is not None:
                learned[read] = mine
        if mine == hashes[file] and twins.is_unchanged(file):
            agreed[file] = settled
    cache.keep(algorithm, learned)
    return agreed
